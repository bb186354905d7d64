"""Debian's own cron in simulated time: what it would start within a year is known in a minute."""

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tests.crond import SCRIPT, UNSHARE

_SHIM = Path(__file__).with_name("cron_shim.c")


def simulated_starts(
    directory: Path, lines: Sequence[str], zone: str, start: datetime, end: datetime, deadline: float
) -> list[Counter[int]]:
    """Return for each expression in `lines` the minutes (seconds since the epoch) in which cron starts it.

    The count is how many processes it starts in that minute. Needs root and gcc; `directory` must be root's
    and empty; `start` and `end` (aware) are whole minutes, both excluded. AssertionError if cron fails or
    needs longer than `deadline` seconds.
    """
    shim, notes, cron_dir, empty = (directory / name for name in ("shim.so", "notes", "cron.d", "crontab"))
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", shim, _SHIM, "-ldl"], check=True, timeout=60)
    cron_dir.mkdir(mode=0o755)
    empty.touch(0o644)
    rows = [f"{line} root {number}\n" for number, line in enumerate(lines)]
    (cron_dir / "year").write_text('MAILTO=""\n' + "".join(rows))
    (cron_dir / "year").chmod(0o644)
    environment = {
        "PATH": os.environ["PATH"],
        "TZ": zone,
        # awake just after a minute, cron waits for the next one
        "SIMULATED_START": str(int(start.timestamp()) + 1),
        "SIMULATED_END": str(int(end.timestamp())),
        "SIMULATED_NOTES": str(notes),
    }
    script = SCRIPT.replace(" cron -f", f" env LD_PRELOAD='{shim}' cron -f")
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", script, "sh", cron_dir, empty],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )
    assert done.returncode == 0, f"cron ended with {done.returncode}: {done.stderr}"
    found: list[Counter[int]] = [Counter() for _ in lines]
    for row in notes.read_text().splitlines():
        seconds, number = row.split()
        found[int(number)][int(seconds) // 60 * 60] += 1
    return found
