"""Who starts what is due: keeper and engine, Debian's cron, cron with our launcher, yacron, and the yard stick.

Each is a Peer whose programs are started once, at `due`. One that starts on full minutes only has a `grain` of 60.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec
from tests.crond import TemporaryCron

from benchmarks.observe import now
from benchmarks.peers.contract import Peer, Program, debian_version, first_word_with_digit
from benchmarks.peers.limit import Limit
from benchmarks.peers.ours import PROJECT, SOURCE, Ours
from shiftboss.confine import cgroup, limits
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.schedule_entry import LANES, SCHEDULE, Options, Times
from shiftboss.core.wire.entry import Entry, with_revision
from shiftboss.core.wire.manifest import manifest_text

PROJECT_SCHEDULES = 500  # of one manifest, or of one file of cron's: both have a size that is too much
YACRON = "yacron/bin/yacron"
READY_SECONDS = 120


T = TypeVar("T")


def batched(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield parts of at most `size` rows."""
    return (rows[first : first + size] for first in range(0, len(rows), size))


class Scheduler(Peer):
    """A Peer with a time: `due`, in seconds since the epoch."""

    grain: ClassVar[int] = 60
    due: float = 0.0

    def when(self) -> str:
        """Return the cron expression of `due`, in five fields: so far ahead that nothing else of it is due today."""
        at = time.localtime(self.due)
        return f"{at.tm_min} {at.tm_hour} {at.tm_mday} {at.tm_mon} *"


class ScheduledLimit(Scheduler, Limit):
    """The yard stick knows no time: it starts everything at once when it is started."""

    def start(self) -> None:
        """Start it; it ends with the last of its programs."""
        self.roots.append(self.launch(self.tools / "limit", self.work / "table", "once"))


class Scheduled(Scheduler, Ours):
    """Keeper and engine with schedules instead of workers, in projects of at most 500."""

    grain = 1

    def configure(self) -> None:
        """Write a manifest for each project."""
        for number, programs in enumerate(batched(self.programs, PROJECT_SCHEDULES)):
            project = f"{PROJECT}{number}"
            named = [self.entry(each)._replace(address=f"{project}/{each.name}") for each in programs]
            path = self.work / f"state/manifest/{project}.json"
            path.write_text(manifest_text(project, tuple(map(with_revision, named))))
            path.chmod(0o600)

    def when(self) -> str:
        """Return the expression with its seconds."""
        return f"{time.localtime(self.due).tm_sec} {super().when()}"

    def entry(self, program: Program) -> Entry:
        """Return what the manifest says of a schedule."""
        entry = super().entry(program)
        options = msgspec.to_builtins(Options(Times(cron=self.when())))
        policy = entry.policy._replace(kind=SCHEDULE, processes=0, options=options)
        return entry._replace(policy=policy, processes_max=LANES)

    def until_ready(self) -> None:
        """Wait until the engine tells the last schedule's next time: by then it has taken in all of them."""
        last = (len(self.programs) - 1) // PROJECT_SCHEDULES
        address, end = f"{PROJECT}{last}/{self.programs[-1].name}", now() + READY_SECONDS
        while True:
            try:
                with self.client() as client:
                    if client.schedules(address).schedules[0].next:
                        return
            except ShiftbossError:
                if now() > end:
                    raise
            time.sleep(0.002)


class Cron(Scheduler):
    """Debian's cron, as it is. Needs root: a mount namespace with a cron.d of its own."""

    name = "cron"
    has_status = has_api = False
    _cron: TemporaryCron | None = None

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return the package's version."""
        return debian_version("cron") if shutil.which("cron") and os.geteuid() == 0 else None

    def command(self, program: Program) -> str:
        """Return what follows the user in a line."""
        return " ".join(program.argv)

    def configure(self) -> None:
        """Write cron.d before the daemon starts, so that it has read everything when the time comes."""
        lines = [f"{self.when()} root {self.command(program)}\n" for program in self.programs]
        (self.work / "cron.d").mkdir(mode=0o755)
        for number, some in enumerate(batched(lines, PROJECT_SCHEDULES)):
            (self.work / f"cron.d/jobs{number}").write_text("".join(some))

    def start(self) -> None:
        """Start the daemon."""
        self._cron = TemporaryCron(self.work)
        self._cron.start()
        self.roots.append(self._cron.pid)

    def end(self) -> None:
        """End the daemon and what it started."""
        if self._cron:
            self._cron.stop()
        super().end()


class CronWithLauncher(Cron):
    """The same through our launcher, which locks, logs and writes down what became of each run."""

    name = "cron with our launcher"

    def command(self, program: Program) -> str:
        """Return the call of the launcher."""
        launcher = f"{sys.executable} -I -S {SOURCE}/shiftboss/launcher/main.py"
        return f"{launcher} --orders {self.work}/orders --run {self.work}/spool {PROJECT}/{program.name}"

    def configure(self) -> None:
        """Write the orders, and cron's files."""
        ours = Ours(self.tools, self.work / "ours")
        entries = []
        for program in self.programs:
            entry = ours.entry(program)
            policy = entry.policy._replace(kind=SCHEDULE, options={"overlap": "skip", "timeout_seconds": 60})
            entries.append(with_revision(entry._replace(processes_max=1, policy=policy)))
        (self.work / "orders").mkdir()
        (self.work / f"orders/{PROJECT}.json").write_text(manifest_text(PROJECT, tuple(entries)))
        super().configure()

    def end(self) -> None:
        """End everything, and remove the cgroups that the launcher made."""
        super().end()
        tree = limits.open_tree(limits.LAUNCHER_TREE)
        for directory in tree.directories(PROJECT) if tree else ():
            cgroup.remove(directory)


class Yacron(Scheduler):
    """yacron, with the output of its jobs thrown away."""

    name = "yacron"
    has_status = has_api = False

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return what it says of itself."""
        if not (tools / YACRON).exists():
            return None
        done = subprocess.run([tools / YACRON, "--version"], capture_output=True, check=False)
        return first_word_with_digit(done.stdout.decode())

    def configure(self) -> None:
        """Write its file."""
        rows = ["defaults:\n  captureStdout: false\n  captureStderr: false\n  utc: false\njobs:\n"]
        for program in self.programs:
            words = "".join(f"      - {word}\n" for word in program.argv)
            rows.append(f'  - name: {program.name}\n    command:\n{words}    schedule: "{self.when()}"\n')
        (self.work / "jobs.yaml").write_text("".join(rows))

    def start(self) -> None:
        """Start it."""
        self.roots.append(self.launch(self.tools / YACRON, "-c", self.work / "jobs.yaml"))


SCHEDULERS: tuple[type[Scheduler], ...] = (ScheduledLimit, Scheduled, Cron, CronWithLauncher, Yacron)
