"""Workers on our own keeper and engine: one manifest for each project, and only what differs is touched."""

from collections.abc import Iterable

from msgspec.structs import replace

from shiftboss.backends.contract import Wanted
from shiftboss.backends.native_bounds import bound_notes
from shiftboss.backends.native_logs import native_log_queries, plan_native_logs
from shiftboss.backends.native_manifest import entries_of, entry_of, manifest_path, render, with_grants
from shiftboss.backends.native_spread import spread_queries, spread_where_it_can
from shiftboss.core.errors import UserError
from shiftboss.core.facts import (
    Answers,
    AskEngine,
    EngineFacts,
    EngineProcess,
    EngineUnit,
    FindGround,
    Query,
    ReadFile,
)
from shiftboss.core.limits import Ground, ground_of
from shiftboss.core.plan import Override, Plan, ReloadEngine, RemoveFile, StartProcess, WriteFile, merge
from shiftboss.core.schedule_entry import SCHEDULE, schedule_of
from shiftboss.core.spec import Schedule, Site, Unit, Worker
from shiftboss.core.wire.entry import Entry, fingerprint
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.core.wire.values import WireError

# environment variables may be secrets: only root and the keeper read it
_MODE = 0o600
# ended, and nothing but a request revives it
_DOWN = frozenset({"FATAL", "EXITED"})
# of a unit whose old manifest is not there any more
_LONGEST_STOP_SECONDS = 120.0


class NativeBackend:
    """The translator for our own engine."""

    name = "native"

    def holds(self, unit: Unit) -> bool:
        """Tell whether a unit belongs here."""
        return unit.backend == self.name

    def is_left_of(self, project: str, text: str) -> bool:
        """Tell whether a text that `queries` asked for is a file of ours for this project: a manifest always is."""
        return True

    def queries(self, wanted: Wanted) -> tuple[Query, ...]:
        """Name what `plan` must know: our manifest, the engine, the logs, what is inside of what is to be spread."""
        manifest = ReadFile(manifest_path(wanted.site, wanted.project.name))
        others = (*spread_queries(wanted.units), *native_log_queries(wanted, wanted.units))
        return (manifest, AskEngine(), FindGround(), *others)

    def plan(self, wanted: Wanted, answers: Answers, override: Override) -> Plan:
        """Return the actions that make the engine run exactly the wanted workers of this project."""
        _refuse_lone_followers(wanted.units)
        units, unspread = spread_where_it_can(wanted.units, answers)
        wanted = replace(wanted, units=units)
        logs = plan_native_logs(wanted, wanted.units, answers, override)
        if logs.conflicts:
            return logs
        before = answers[ReadFile(manifest_path(wanted.site, wanted.project.name))]
        assert before is None or isinstance(before, str)
        facts = answers[AskEngine()]
        assert facts is None or isinstance(facts, EngineFacts)
        entries = tuple(
            with_grants(wanted.project, entry)
            for unit in wanted.units
            for entry in _entries(unit, wanted.site)
        )
        file = _file(wanted, entries, before)
        difference = _Difference(wanted.project.name, entries, facts, before)
        difference.changes_file = bool(file.actions)
        ground = answers[FindGround()]
        assert isinstance(ground, Ground)
        ground = ground_of(ground, facts.controllers if facts else None)
        bounds = Plan(notes=bound_notes(wanted.units, entries, wanted.site, before, ground))
        return merge((logs, file, bounds, difference.plan(), Plan(notes=unspread)))


def _refuse_lone_followers(units: Iterable[Unit]) -> None:
    """Raise UserError for what would never run: only our engine tells when a schedule has succeeded."""
    known = {unit.address for unit in units}
    for unit in units:
        if isinstance(unit, Schedule) and unit.after and unit.after not in known:
            raise UserError(
                f"cannot schedule {unit.address} after {unit.after}: that one is not on our own engine, and nobody else"
                " tells when it has succeeded",
                hint=f'Set backend = "native" for {unit.after} too, or give {unit.address} times of its own.',
            )


def _entries(unit: Unit, site: Site) -> tuple[Entry, ...]:
    return (entry_of(unit, site),) if isinstance(unit, Worker) else entries_of(unit, site)


def _file(wanted: Wanted, entries: tuple[Entry, ...], before: str | None) -> Plan:
    name, path = wanted.project.name, manifest_path(wanted.site, wanted.project.name)
    if not entries:
        return Plan(actions=(RemoveFile(name, path, before),)) if before is not None else Plan()
    text = render(wanted.project, entries)
    return Plan() if text == before else Plan(actions=(WriteFile(name, path, text, before, _MODE),))


class _Difference:
    """What the engine runs of a project against what it should run."""

    def __init__(
        self, project: str, entries: tuple[Entry, ...], facts: EngineFacts | None, before: str | None
    ) -> None:
        self._project = project
        self._entries = {entry.address: entry for entry in entries}
        self._runs = facts is not None
        self._units = {unit.address: unit for unit in (facts.units if facts else ()) if _is_of(unit, project)}
        self._before = _entries_before(project, before)
        self.changes_file = False

    def plan(self) -> Plan:
        """Return what the engine must be told, and what is as it should be."""
        differing = {name for name, entry in self._entries.items() if not self._goes_by(entry)}
        gone = {name for name, unit in self._units.items() if name not in self._entries and unit.processes}
        same = [name for name in self._entries if name not in differing]
        reload = self._reload(differing, gone) if differing or gone or self.changes_file else None
        starts = [start for name in same for start in _starts(self._units[name])]
        started = {start.target.partition(":")[0] for start in starts}
        return Plan(
            actions=(*([reload] if reload and self._matters(reload) else []), *starts),
            notes=tuple(note for name in same for note in _stopped(self._units[name])),
            untouched=tuple(name for name in same if name not in started and schedule_of(name) == name),
        )

    def _matters(self, reload: ReloadEngine) -> bool:
        """A manifest that is removed while no engine runs need not be told to anybody."""
        return self._runs or bool(reload.starts or reload.schedules)

    def _goes_by(self, entry: Entry) -> bool:
        unit = self._units.get(entry.address)
        return unit is not None and unit.fingerprint == fingerprint(entry)

    def _reload(self, differing: set[str], gone: set[str]) -> ReloadEngine:
        ends = [a for name in sorted(gone) for a in _addresses(self._units[name].processes, name)]
        restarts = [a for name in sorted(differing) for a in self._restarts(name)]
        surplus = [a for name in sorted(differing) for a in self._surplus(name)]
        waits = [self._stop_wait(name) for name in (*differing, *gone)]
        return ReloadEngine(
            self._project,
            starts=tuple(target for name in sorted(differing) for target in self._starts(name)),
            schedules=tuple(name for name in sorted(differing) if self._is_schedule(name)),
            restarts=tuple(sorted({*ends, *restarts, *surplus})),
            ends=tuple(sorted({*ends, *surplus})),
            stop_wait_seconds=max(waits, default=0) if ends or restarts or surplus else 0,
        )

    def _is_schedule(self, name: str) -> bool:
        return self._entries[name].policy.kind == SCHEDULE

    def _starts(self, name: str) -> Iterable[str]:
        """Return a new unit, or the processes that a known one gets in addition."""
        if name not in self._units:
            return (name,) if self._entries[name].policy.processes else ()
        known = {process.number for process in self._units[name].processes}
        wanted = range(1, self._count(name) + 1)
        return [f"{name}:{number}" for number in wanted if number not in known]

    def _restarts(self, name: str) -> Iterable[str]:
        unit = self._units.get(name)
        if unit is None or unit.revision == self._entries[name].revision:
            return ()
        return _addresses(unit.processes, name)

    def _surplus(self, name: str) -> Iterable[str]:
        unit, most = self._units.get(name), self._count(name)
        return _addresses((p for p in unit.processes if p.number > most), name) if unit else ()

    def _count(self, name: str) -> int:
        """Return how many processes there will be: a scale without the file holds until the file changes that."""
        entry, unit, before = self._entries[name], self._units.get(name), self._before.get(name)
        in_file = entry.policy.processes
        if unit is None or unit.override is None or before is None or before.policy.processes != in_file:
            return in_file
        return min(unit.override, entry.processes_max)

    def _stop_wait(self, name: str) -> float:
        """Return how long a unit may take to stop: as the manifest says by which it was started."""
        before = self._before.get(name)
        return before.stop.wait_seconds if before else _LONGEST_STOP_SECONDS


def _entries_before(project: str, text: str | None) -> dict[str, Entry]:
    """Return the entries of a manifest by address, none where it cannot be read."""
    try:
        return {entry.address: entry for entry in read_manifest((text or "").encode(), project)}
    except WireError:
        return {}


def _is_of(unit: EngineUnit, project: str) -> bool:
    return unit.address.partition("/")[0] == project


def _addresses(processes: Iterable[EngineProcess], name: str) -> list[str]:
    return [f"{name}:{process.number}" for process in processes if process.pid]


def _starts(unit: EngineUnit) -> list[StartProcess]:
    targets = [f"{unit.address}:{p.number}" for p in unit.processes if p.up and p.state in _DOWN]
    return [StartProcess(target, target, NativeBackend.name) for target in targets]


def _stopped(unit: EngineUnit) -> tuple[str, ...]:
    stopped = [process for process in unit.processes if not process.up]
    targets = (
        [unit.address]
        if len(stopped) == len(unit.processes)
        else [f"{unit.address}:{process.number}" for process in stopped]
    )
    return tuple(
        f"{target} is stopped by hand; start it with: shiftboss start {target}"
        for target in (targets if stopped else ())
    )
