"""What api clients may know: the status of everything, put together when it is asked for."""

from collections.abc import Iterable

from shiftboss.api.calls import ProcessStatus, ProcessUse, ProjectStatus, Status, UnitStatus
from shiftboss.core.lifecycle import RESTING, State, Wish
from shiftboss.engine.fleet import Fleet, Slot, Unit
from shiftboss.engine.shell_port import Shell
from shiftboss.version import VERSION


class StatusReport:
    """Puts a status together. Looks at the disk only for releases that processes still run though they are old."""

    def __init__(
        self, fleet: Fleet, shell: Shell, log_troubles: dict[str, str], *, with_use: bool = False
    ) -> None:
        self._fleet, self._shell, self._log_troubles = fleet, shell, log_troubles
        self._with_use = with_use
        self._now = shell.now()
        self._is_deleted: dict[str, bool | None] = {}

    def of(self, slots: Iterable[Slot], troubles: tuple[str, ...], timed: Iterable[Unit] = ()) -> Status:
        """Return the status of these processes (sorted), by project and unit, and of units without any (schedules)."""
        by_unit: dict[Unit, list[Slot]] = {unit: [] for unit in timed}
        for slot in slots:
            by_unit.setdefault(slot.unit, []).append(slot)
        projects: dict[str, list[UnitStatus]] = {}
        users: dict[str, str] = {}
        for unit, its_slots in by_unit.items():
            users.setdefault(unit.project, unit.entry.user)
            projects.setdefault(unit.project, []).append(self._unit(unit, its_slots))
        found = (self._project(name, users[name], units) for name, units in projects.items())
        return Status(version=VERSION, projects=tuple(found), troubles=troubles)

    def _project(self, name: str, user: str, units: list[UnitStatus]) -> ProjectStatus:
        release = self._fleet.releases.get(name, "")
        return ProjectStatus(name=name, user=user, release=release, units=tuple(units))

    def _unit(self, unit: Unit, slots: list[Slot]) -> UnitStatus:
        entry = unit.entry
        release = self._fleet.releases.get(unit.project, "")
        through_current = is_inside(entry.directory, entry.current)
        return UnitStatus(
            address=unit.address,
            fingerprint=unit.fingerprint,
            revision=entry.revision,
            kind=entry.policy.kind,
            preset=entry.policy.preset,
            user=entry.user,
            command=entry.argv,
            log=entry.policy.log_path,
            wanted=unit.wanted,
            override=unit.wanted if unit.scale else None,
            processes=tuple([self._process(slot, release if through_current else "") for slot in slots]),
            log_trouble=self._log_troubles.get(unit.address),
        )

    def _process(self, slot: Slot, current: str) -> ProcessStatus:
        process = slot.process
        lives = slot.pid is not None
        stale = lives and bool(current) and bool(slot.release) and not is_inside(slot.release, current)
        return ProcessStatus(
            process=slot.number,
            state=process.state.value,
            wish="up" if process.wish is Wish.UP else "down",
            run=process.run,
            pid=slot.pid,
            uptime_seconds=round(self._now - slot.started, 3) if lives else None,
            restarts=slot.restarts,
            failures=process.tally.failures + process.tally.brief,
            stale=stale,
            deleted=self._deleted(slot.release) if stale else False,
            release=slot.release or None if lives else None,
            reason=slot.reason or None,
            next_start_seconds=self._next_start(slot) if process.state in RESTING else None,
            notes=slot.notes if lives else (),
            use=self._use(slot, slot.pid) if self._with_use and slot.pid is not None else None,
        )

    def _use(self, slot: Slot, pid: int) -> ProcessUse:
        return ProcessUse(**self._shell.usage(pid, slot.cgroup, slot.groups)._asdict())

    def _next_start(self, slot: Slot) -> float | None:
        if slot.process.state not in (State.BACKOFF, State.WAITING):
            return None
        return self._shell.due_in(slot.key)

    def _deleted(self, release: str) -> bool | None:
        if release not in self._is_deleted:
            self._is_deleted[release] = self._shell.is_deleted(release)
        return self._is_deleted[release]


def is_inside(path: str, directory: str) -> bool:
    """Tell whether `path` is `directory` or below it, by their names."""
    return path == directory or path.startswith(f"{directory}/")
