"""Running a schedule of cron now: the launcher is started as cron would start it, and seen to its end."""

from collections.abc import Callable

from shiftboss.backends.cron import run_command
from shiftboss.backends.launch_orders import launch_command
from shiftboss.backends.launch_places import orders_directory
from shiftboss.core.errors import HostError, ShiftbossError
from shiftboss.core.facts import Finished, SpooledRun
from shiftboss.core.spec import Schedule, Site
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.host.machine import Machine
from shiftboss.setup.following import FollowedFile
from shiftboss.setup.spool import spooled_runs

_POLL_SECONDS = 0.1
_WAITS = "waits"


class RunNow:
    """One run that was asked for. It goes on when we end."""

    def __init__(self, machine: Machine, site: Site, schedule: Schedule) -> None:
        """Start it; raises HostError if it is not set up on cron, or cannot be started."""
        _require_orders(machine, site, schedule)
        self._machine, self._site, self._schedule = machine, site, schedule
        launch = launch_command(site, schedule.backend, machine.processes.launcher(as_root=True))
        command = run_command(site, launch, machine.accounts.own().name)
        self._log = _NewLines(schedule.log_path)
        self._started = machine.cron.start((*command, schedule.address), site.cron_dir)

    def began(self) -> SpooledRun | None:
        """Wait until it has begun, or was skipped; None: it waits for its turn. Raises HostError if it cannot run."""
        line = self._started.line()
        return None if line == _WAITS else self._row(self._number(line))

    def ended(self, show: Callable[[str], None]) -> SpooledRun:
        """Wait for its end and return what became of it; `show` gets the lines of its log as they come."""
        line = self._started.line()
        number = self._number(self._started.line() if line == _WAITS else line)
        while self._started.ended(_POLL_SECONDS) is None:
            self._log.show(number, show)
        self._log.show(number, show, rest=True)
        return self._row(number)

    def _number(self, line: str) -> int:
        if line:
            return int(line.rpartition(" ")[2])
        while (finished := self._started.ended(1.0)) is None:
            continue
        raise self._refusal(finished)

    def _row(self, number: int) -> SpooledRun:
        runs = spooled_runs(self._machine, self._site, self._schedule)
        found = next((run for run in runs if run.run == number), None)
        if found is None:
            words = (
                f"cannot tell what became of run {number} of {self._schedule.address}: nothing is remembered"
            )
            raise HostError(words, hint=f"See: shiftboss history {self._schedule.address}")
        return found

    def _refusal(self, finished: Finished) -> HostError:
        start = f"shiftboss-exec: {self._schedule.address}: "
        words = (
            finished.stderr.strip().removeprefix(start) or f"its launcher ended with status {finished.status}"
        )
        return HostError(f"cannot run {self._schedule.address}: {words}", hint="See: shiftboss doctor")


def _require_orders(machine: Machine, site: Site, schedule: Schedule) -> None:
    project = schedule.project.name
    text = machine.files.read(f"{orders_directory(site, schedule.backend)}/{project}.json")
    entries = read_manifest(text.encode(), project) if text else ()
    if schedule.address not in {entry.address for entry in entries}:
        raise HostError(
            f"cannot run {schedule.address}: it is not set up on cron yet",
            hint=f"Set it up: shiftboss apply {project}",
        )


class _NewLines:
    """What a log gets from now on, line by line."""

    def __init__(self, path: str) -> None:
        self._file, self._rest, self._is_inside = FollowedFile(path), b"", False

    def show(self, run: int, show: Callable[[str], None], *, rest: bool = False) -> None:
        """Show the complete lines since the first one of a run, with `rest` also the beginning of the next one."""
        try:
            while data := self._file.read_new():
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._show(run, line, show)
        except ShiftbossError:
            return  # no log; what became of the run says so
        if rest and self._rest:
            self._show(run, self._rest, show)

    def _show(self, run: int, line: bytes, show: Callable[[str], None]) -> None:
        self._is_inside = self._is_inside or line.startswith(f"--- run {run} of ".encode())
        if self._is_inside:  # before it there may be the end of another run
            show(line.decode(errors="replace"))
