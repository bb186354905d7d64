"""A real cron daemon for tests, in a mount namespace of its own: it sees one cron.d, and no crontab of the machine."""

import os
import subprocess
from pathlib import Path
from types import TracebackType

from tests.waiting import wait_until

# A line that is due each minute runs within this time after its file is there; cron looks once a minute.
ONE_RUN_SECONDS = 65.0
_DEADLINE_SECONDS = 15.0
UNSHARE = ("unshare", "--mount", "--propagation", "private")
# Two crons would fight for /run/crond.pid, and the machine's own /etc/crontab would be run for real.
SCRIPT = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1730 tmpfs /var/spool/cron/crontabs
mount --bind "$1" /etc/cron.d
mount --bind "$2" /etc/crontab
exec setpriv --pdeathsig TERM cron -f -L 15
"""


class TemporaryCron:
    """A cron daemon (needs root) that reads `cron_dir`, and nothing else. Use it in a `with` block.

    `directory` must be root's and not writable for others; it is where `cron.d` is made. Jobs that run at the
    end run on: wait for them. The daemon ends with the thread that started it, too.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.cron_dir = self.directory / "cron.d"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() was not called"
        return self._process.pid

    def __enter__(self) -> "TemporaryCron":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and return when it runs; raise AssertionError with its own words if it does not."""
        self.cron_dir.mkdir(mode=0o755, exist_ok=True)
        os.utime(
            self.cron_dir, (0, 0)
        )  # cron compares whole seconds: what comes next must not look like this
        empty = self.directory / "crontab"
        empty.touch(0o644)
        with (self.directory / "cron.out").open("wb") as output:
            self._process = subprocess.Popen(
                [*UNSHARE, "sh", "-c", SCRIPT, "sh", str(self.cron_dir), str(empty)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_cron, _DEADLINE_SECONDS, what="the cron daemon")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the daemon by its pid, and wait for its end."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_cron(self) -> bool:
        assert self._process is not None
        output = (self.directory / "cron.out").read_text(errors="replace")
        assert self._process.poll() is None, f"cron does not run: {output}"
        return Path(f"/proc/{self.pid}/comm").read_text() == "cron\n"
