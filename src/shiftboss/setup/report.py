"""What runs, live: the rows of `status`, asked of backends and kernel at the moment of the question."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cached_property

from msgspec import Struct, field
from msgspec.structs import astuple, replace

from shiftboss.core.errors import ShiftbossError
from shiftboss.core.facts import EngineSchedule, SpooledRun, Usage
from shiftboss.core.limits import Ground, holdings, within
from shiftboss.core.spec import Limits, Schedule, Site, Worker
from shiftboss.core.staleness import is_deleted, runs_old_release
from shiftboss.core.status import ProcessStatus
from shiftboss.core.words import shown
from shiftboss.host.machine import Machine
from shiftboss.setup.doubles import SchedulerDoubles
from shiftboss.setup.live import live_workers
from shiftboss.setup.pauses import paused_by
from shiftboss.setup.spool import is_spooled, spooled_runs
from shiftboss.setup.units import Resolved


class LimitReport(Struct, frozen=True):
    """A limit of a worker and who holds it; `words`: what does not hold as wished, "" if all is well."""

    limit: str
    value: str
    held_by: str
    words: str


class WorkerReport(Struct, frozen=True):
    """A worker and its processes."""

    name: str
    preset: str
    backend: str
    command: str
    processes: tuple[ProcessStatus, ...]
    limits: tuple[LimitReport, ...] = ()


class LastRun(Struct, frozen=True):
    """The last run of a schedule; what a backend cannot tell is None (cron tells only when there was output)."""

    due: str | None = None
    started: str | None = None
    duration_seconds: float | None = None
    exit_status: int | None = None
    outcome: str | None = None


class ScheduleReport(Struct, frozen=True):
    """A schedule, when it runs next and when it ran last; times are ISO 8601 with offset.

    `state`: WAITING, RUNNING, PAUSED or HALTED, None where the backend cannot tell; `reason` says what is wrong.
    """

    name: str
    backend: str
    cron: str
    timezone: str
    command: str
    next: str | None
    last: LastRun | None
    state: str | None = None
    reason: str | None = None


class ProjectReport(Struct, frozen=True):
    """A project and everything that it runs; `from_release` are the names of what its release declares."""

    project: str
    user: str
    release: str | None
    workers: tuple[WorkerReport, ...] = ()
    schedules: tuple[ScheduleReport, ...] = ()
    from_release: tuple[str, ...] = ()


class Report(Struct, frozen=True):
    """All projects that were asked for, and what could not be found out."""

    projects: tuple[ProjectReport, ...]
    errors: tuple[ShiftbossError, ...] = field(default=())
    troubles: tuple[str, ...] = ()

    @property
    def as_desired(self) -> bool:
        """True if every worker process runs; one that was stopped by hand should run, too."""
        return not self.errors and all(
            process.state == "RUNNING"
            for project in self.projects
            for worker in project.workers
            for process in worker.processes
        )


def report(machine: Machine, site: Site, projects: Iterable[Resolved]) -> Report:
    """Return the live state of these projects; a backend that does not answer leaves its states None."""
    resolved = tuple(projects)
    workers = [unit for project in resolved for unit in project.units if isinstance(unit, Worker)]
    statuses, errors, troubles = _statuses(machine, site, workers)
    timed = any(unit.backend == "native" and isinstance(unit, Schedule) for p in resolved for unit in p.units)
    schedules = machine.engines.connect(site.api_socket).schedules() if timed else ()
    observer = _Observer(machine, site, statuses, {each.address: each for each in schedules})
    reports = tuple(observer.project(project) for project in resolved)
    doubles = SchedulerDoubles(machine, site)
    doubled = (note for project in resolved for note in doubles.of(project.units))
    return Report(reports, (*errors, *observer.errors), (*troubles, *doubled))


def with_usage(machine: Machine, site: Site, projects: Iterable[ProjectReport]) -> tuple[ProjectReport, ...]:
    """Return reports whose processes an engine told, with the memory and CPU that the kernel lets us see."""
    observer = _Observer(machine, site, {}, {})
    return tuple(
        replace(project, workers=tuple(observer.measured(worker) for worker in project.workers))
        for project in projects
    )


def _statuses(
    machine: Machine, site: Site, workers: Iterable[Worker]
) -> tuple[dict[str, tuple[ProcessStatus, ...]], list[ShiftbossError], tuple[str, ...]]:
    statuses: dict[str, tuple[ProcessStatus, ...]] = {}
    errors: list[ShiftbossError] = []
    troubles: list[str] = []
    groups: dict[str, list[Worker]] = {}
    for worker in workers:
        groups.setdefault(worker.backend, []).append(worker)
    for backend, group in groups.items():
        try:
            live = live_workers(machine, site, backend)
            statuses |= live.statuses(group, usage=True)
            troubles += live.troubles()
        except ShiftbossError as error:
            errors.append(error)
    return statuses, errors, tuple(troubles)


class _Observer:
    """Completes what the backend says with what the kernel knows."""

    def __init__(
        self,
        machine: Machine,
        site: Site,
        statuses: Mapping[str, tuple[ProcessStatus, ...]],
        timed: Mapping[str, EngineSchedule],
    ) -> None:
        self.machine, self.site = machine, site
        self.statuses, self.timed = statuses, timed
        self._grounds: dict[str, Ground] = {}
        self.errors: list[ShiftbossError] = []

    @cached_property
    def _zone(self) -> tzinfo:
        return self.machine.clock.zone()  # the time zones are not read where there is no schedule

    @cached_property
    def _usage(self) -> Mapping[int, Usage]:
        return (
            self.machine.processes.usage()
        )  # of all processes of the machine: not read where the backend knows it

    @cached_property
    def _children(self) -> Mapping[int, list[int]]:
        children: dict[int, list[int]] = {}
        for each in self._usage.values():
            children.setdefault(each.parent, []).append(each.pid)
        return children

    def project(self, resolved: Resolved) -> ProjectReport:
        project = resolved.project
        release = self.machine.files.real_path(project.current)
        root = self.machine.files.real_path(project.root) or project.root  # as the kernel shows directories
        return ProjectReport(
            project.name,
            project.account.name,
            release,
            tuple(self._worker(unit, root, release) for unit in resolved.units if isinstance(unit, Worker)),
            tuple(self._schedule(unit) for unit in resolved.units if isinstance(unit, Schedule)),
            tuple(unit.name for unit in resolved.units if unit.name in resolved.released),
        )

    def _worker(self, worker: Worker, root: str, release: str | None) -> WorkerReport:
        unknown = tuple(
            ProcessStatus(process=number, state=None) for number in range(1, worker.processes + 1)
        )
        processes = self.statuses.get(worker.address, unknown)
        return WorkerReport(
            worker.name,
            worker.preset,
            worker.backend,
            shown(worker.argv),
            tuple(self._completed(process, root, release) for process in processes),
            self._limits(worker),
        )

    def measured(self, worker: WorkerReport) -> WorkerReport:
        """Return a worker with what its processes use."""
        return replace(worker, processes=tuple(self._completed(p, "", None) for p in worker.processes))

    def _limits(self, worker: Worker) -> tuple[LimitReport, ...]:
        budget = worker.project.budget
        limits = within(worker.limits, budget)
        if limits == budget == Limits():
            return ()
        ground = self._ground_of(worker.backend)
        own = [LimitReport(*astuple(holding)) for holding in holdings(limits, ground)]
        shared = [LimitReport(*astuple(holding)) for holding in holdings(budget, ground)]
        return (*own, *(replace(limit, limit=f"budget {limit.limit}") for limit in shared))

    def _ground_of(self, backend: str) -> Ground:
        if backend not in self._grounds:
            live = live_workers(self.machine, self.site, backend)
            self._grounds[backend] = live.ground(self.machine.processes.ground())
        return self._grounds[backend]

    def _completed(self, process: ProcessStatus, root: str, release: str | None) -> ProcessStatus:
        pid = process.pid
        if not pid:
            return process
        if process.stale is None:  # the backend does not know
            directory = self.machine.processes.working_directory(pid)
            stale = runs_old_release(directory, root, release)
            process = replace(process, stale=stale, deleted=is_deleted(directory))
        if process.memory_bytes is None and pid in self._usage:
            process = replace(process, memory_bytes=self._memory(pid))
        if process.cpu_percent is None and pid in self._usage:
            process = replace(process, cpu_percent=self._usage[pid].cpu_percent)
        return process

    def _memory(self, pid: int) -> int:
        """Return the resident memory of a process and everything below it (npm and the node that it started)."""
        own = self._usage[pid].memory_bytes
        return own + sum(self._memory(child) for child in self._children.get(pid, ()))

    def _schedule(self, schedule: Schedule) -> ScheduleReport:
        if found := self.timed.get(schedule.address):
            zone = schedule.timezone or str(self._zone)
            return timed_report(found, schedule.times, zone, self._zone)
        return ScheduleReport(
            schedule.name,
            schedule.backend,
            schedule.times,
            schedule.timezone or str(self._zone),
            shown(schedule.argv),
            self._next(schedule),
            *(self._watched(schedule) if is_spooled(schedule) else (self._last(schedule),)),
        )

    def _watched(self, schedule: Schedule) -> tuple[LastRun | None, str | None, str | None]:
        """Return the last run, the state and what is wrong of a schedule that cron starts through the launcher."""
        try:
            runs = spooled_runs(self.machine, self.site, schedule)
            paused = paused_by(self.machine, self.site, schedule)
        except ShiftbossError:  # root's alone to read
            return self._last(schedule), None, None
        ended = next((run for run in reversed(runs) if run.outcome), None)
        is_bad = ended is not None and ended.outcome not in ("ran", "skipped")
        state = "RUNNING" if any(run.outcome is None for run in runs) else "WAITING"
        reason = (ended.reason or ended.outcome) if ended and is_bad else None
        last = _last_spooled(ended, self._zone) if ended else self._last(schedule)
        return (last, "PAUSED", f"paused by {paused}") if paused else (last, state, reason)

    def _next(self, schedule: Schedule) -> str | None:
        from shiftboss.setup.due import (
            next_runs,
        )  # time zones and cron: 7 ms, and many servers have no schedule

        try:
            runs = next_runs(schedule, self.machine.clock, 1)
        except ShiftbossError as error:
            self.errors.append(error)
            return None
        return runs[0].isoformat() if runs else None

    def _last(self, schedule: Schedule) -> LastRun | None:
        """Return the time of the last output: the only trace that a plain cron line leaves."""
        written = self.machine.files.modified(schedule.log_path)
        if written is None:
            return None
        moment = datetime.fromtimestamp(written, UTC).astimezone(self._zone)
        return LastRun(started=moment.isoformat(timespec="seconds"))


def timed_report(found: EngineSchedule, times: str, timezone: str, zone: tzinfo) -> ScheduleReport:
    """Report a schedule of our own engine; times are shown in `zone`."""
    state, reason = _state(found)
    return ScheduleReport(
        found.address.partition("/")[2],
        "native",
        times,
        timezone,
        shown(found.command),
        _iso(found.next, zone),
        _last_of(found, zone) if found.outcome else None,
        state,
        reason,
    )


def _last_of(found: EngineSchedule, zone: tzinfo) -> LastRun:
    began, duration = found.began, _duration(found.began, found.ended)
    return LastRun(_iso(found.due, zone), _iso(began, zone), duration, found.exit_status, found.outcome)


def _last_spooled(run: SpooledRun, zone: tzinfo) -> LastRun:
    duration = _duration(run.began, run.ended)
    return LastRun(_iso(run.due, zone), _iso(run.began, zone), duration, run.exit_status, run.outcome)


def _duration(began: float | None, ended: float | None) -> float | None:
    """Return how many seconds lie between, None where that is not known: the clock may have been set back."""
    return round(ended - began, 3) if began is not None and ended is not None and ended >= began else None


def _iso(moment: float | None, zone: tzinfo) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, zone).isoformat(timespec="seconds")


def _state(found: EngineSchedule) -> tuple[str, str | None]:
    """Return the state of a schedule, and what is wrong with it."""
    if found.trouble:
        return "HALTED", found.trouble
    if found.paused:
        return "PAUSED", f"paused by {found.paused}"
    bad = found.outcome not in (None, "ran", "skipped")
    return ("RUNNING" if found.running else "WAITING"), (found.reason or found.outcome) if bad else None
