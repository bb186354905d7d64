"""Pausing and resuming schedules, wherever they run."""

from collections.abc import Sequence

from shiftboss.api.client import Client
from shiftboss.cli.session import Session
from shiftboss.cli.spool_rows import launched_schedule, refuse_plain
from shiftboss.cli.targets import require_native_schedule, units_of
from shiftboss.core.errors import UserError
from shiftboss.core.names import parse_target
from shiftboss.core.spec import Schedule
from shiftboss.setup.pauses import pause
from shiftboss.setup.spool import spooled_of


def set_paused(session: Session, targets: Sequence[str], *, wanted: bool) -> None:
    """Pause schedules, or let them run again; raises UserError for a target that means none, before any is touched."""
    on_cron, on_engine = _parted(session, targets)
    if on_engine:
        with Client(session.site.api_socket) as client:
            _ = client.pause(*on_engine) if wanted else client.resume(*on_engine)
    if on_cron:
        with session.changing():
            pause(session.machine, session.site, on_cron, session.progress, wanted=wanted)


def _parted(session: Session, targets: Sequence[str]) -> tuple[list[Schedule], list[str]]:
    """Return the schedules that cron starts through the launcher, and the targets that the engine knows."""
    on_cron: dict[str, Schedule] = {}
    on_engine: list[str] = []
    for target in targets:
        found = _on_cron(session, target)
        on_cron |= {schedule.address: schedule for schedule in found}
        if not found:
            require_native_schedule(session, target)
            on_engine.append(target)
    return list(on_cron.values()), on_engine


def _on_cron(session: Session, target: str) -> list[Schedule]:
    if parse_target(target).unit is not None:
        schedule = launched_schedule(session, target)
        return [schedule] if schedule else []
    if session.is_guest or target not in session.catalog.entries:
        return []
    [(_, units)], _ = units_of(session, target)
    found = spooled_of(units)
    native = [unit for unit in units if isinstance(unit, Schedule) and unit.backend == "native"]
    if found and native:
        names = " ".join(unit.address for unit in (*found, *native))
        raise UserError(f"{target} has schedules on cron and on our own engine", hint=f"Name them: {names}")
    for unit in units if not found and not native else ():
        if isinstance(unit, Schedule):
            refuse_plain(unit)
    return found
