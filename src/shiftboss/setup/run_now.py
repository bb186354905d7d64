"""Running a schedule of cron now: the launcher is started as cron would start it, and seen to its end."""

from collections.abc import Callable

from shiftboss.backends.cron import run_command
from shiftboss.backends.launch_orders import launch_command, orders_directory
from shiftboss.core.errors import HostError, ShiftbossError
from shiftboss.core.facts import Finished, SpooledRun
from shiftboss.core.spec import Schedule, Site
from shiftboss.core.wire import read_manifest
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
        if line == _WAITS:
            return None
        if not line:
            raise self._refusal(self._to_its_end())
        return self._row(line)

    def ended(self, show: Callable[[str], None]) -> SpooledRun:
        """Wait for its end and return what became of it; `show` gets the lines that its log gets meanwhile."""
        while (finished := self._started.ended(_POLL_SECONDS)) is None:
            self._log.show(show)
        self._log.show(show, rest=True)
        lines = finished.stdout.splitlines()
        if not lines or lines[-1] == _WAITS:
            raise self._refusal(finished)
        return self._row(lines[-1])

    def _to_its_end(self) -> Finished:
        while (finished := self._started.ended(1.0)) is None:
            continue
        return finished

    def _row(self, line: str) -> SpooledRun:
        number = int(line.rpartition(" ")[2])
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
        self._file, self._rest = FollowedFile(path), b""

    def show(self, show: Callable[[str], None], *, rest: bool = False) -> None:
        """Show the lines that are complete, with `rest` also the beginning of the next one."""
        try:
            while data := self._file.read_new():
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    show(line.decode(errors="replace"))
        except ShiftbossError:
            return  # no log; what became of the run says so
        if rest and self._rest:
            show(self._rest.decode(errors="replace"))
