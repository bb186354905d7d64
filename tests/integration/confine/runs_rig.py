"""A schedule in one of two projects, started through the launcher as cron starts it, and what is told of its runs."""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confine_rig import DEADLINE, World, world

from shiftboss.backends.paused_file import paused_text
from shiftboss.core import run_policy
from shiftboss.core.facts import Launcher, SpooledRun
from shiftboss.core.spec import Schedule
from shiftboss.core.spool import read_spool
from shiftboss.core.wire.entry import Policy, StopTerms
from shiftboss.launcher.run import started

UNIT = "job"


class Cron:
    """Starts a schedule as cron does, and reads what became of it."""

    def __init__(self, made: World, **confinement: Any) -> None:
        self.made, self.confinement = made, confinement
        self.spool = made.top / "spool"
        self.logs = made.top / "own-logs"
        self.logs.mkdir()
        self.log = self.logs / f"{UNIT}.log"
        self.log.touch()
        os.chown(self.log, made.mine.account.uid, made.mine.account.gid)
        self.started: list[subprocess.Popen[bytes]] = []

    def order(
        self, *argv: str, overlap: str = "skip", timeout: int = 0, stop: float = 5.0, keep: int = 0
    ) -> None:
        """Say what is to run, confined as this cron is (`confinement`: limits and isolation)."""
        options = {"overlap": overlap, "timeout_seconds": timeout, "keeps_output": keep}
        policy = Policy(kind="schedule", log_path=str(self.log), options=options)
        entry = self.made.confined(*argv, unit=UNIT, **self.confinement)
        self.made.order(entry._replace(stop=StopTerms(wait_seconds=stop), policy=policy))

    def pause(self, who: str, unit: str = UNIT) -> None:
        """Pause it, as `shiftboss pause` does."""
        name = self.made.mine.name
        path = self.made.top / "orders" / f"{name}.paused"
        path.write_text(paused_text(name, {unit: who} if who else {}))

    def start(self, asked: str = "", before: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
        """Start it as cron does, or as `shiftboss run` does for a user."""
        *command, _ = self.made.command(before=before)
        command += ["--run", str(self.spool), *(["--asked", asked] if asked else [])]
        command += [f"{self.made.mine.name}/{UNIT}"]
        self.started.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
        return self.started[-1]

    def run(self) -> SpooledRun:
        """Run it to its end; return what is told of it."""
        process = self.start()
        out, _ = process.communicate(timeout=DEADLINE)
        assert (process.returncode, out) == (0, b"")
        return self.rows()[-1]

    def rows(self, *, inside: bool = False) -> tuple[SpooledRun, ...]:
        path = self.spool / self.made.mine.name / UNIT
        text = path.read_text() if path.exists() else ""
        schedule = Schedule(
            self.made.mine,
            UNIT,
            "custom",
            "cron",
            "* * * * *",
            ("x",),
            policy=run_policy.Policy(asks_inside=inside),
        )
        return read_spool(text, schedule, lives)

    def outcomes(self) -> list[str | None]:
        return [row.outcome for row in self.rows()]

    def programs(self, word: str) -> list[int]:
        """Return the pids of my user's programs with a word in their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if word.encode() in path.read_bytes() and path.stat().st_uid == self.made.mine.account.uid:
                    found.append(int(path.parts[2]))
            except OSError:
                continue
        return found


def lives(launcher: Launcher) -> bool:
    return started(launcher.pid) == launcher.since


@contextlib.contextmanager
def cron_runs(confinement: dict[str, Any] | None = None, **budget: Any) -> Iterator[Cron]:
    """Give a world with a schedule; what it started is ended afterwards."""
    with world(**budget) as made:
        cron = Cron(made, **(confinement or {}))
        try:
            yield cron
        finally:
            for process in cron.started:
                with process:  # closes its pipe, and waits
                    process.kill()


def is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
