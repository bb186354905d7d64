"""Occurrences that cron started, as rows beside those of our own engine."""

from collections.abc import Sequence

from shiftboss.api.calls import Occurrence
from shiftboss.cli.session import Session
from shiftboss.cli.targets import resolve_target, units_of
from shiftboss.core.errors import ShiftbossError, UserError
from shiftboss.core.facts import SpooledRun
from shiftboss.core.names import Target, parse_target
from shiftboss.core.spec import Schedule
from shiftboss.setup.spool import spooled_of, spooled_runs


def spooled_schedules(session: Session, targets: Sequence[str]) -> list[Schedule]:
    """Return the schedules among the targets (none: of all projects) that cron starts through the launcher."""
    if session.is_guest:
        return []
    found: list[Schedule] = []
    for target in targets or (None,):
        try:
            projects, _ = units_of(session, target)
        except ShiftbossError:
            continue  # the engine may remember what is not declared any more
        found += [schedule for _, units in projects for schedule in spooled_of(units)]
    return list({schedule.address: schedule for schedule in found}.values())


def launched_schedule(session: Session, text: str) -> Schedule | None:
    """Return the schedule of a target if cron starts it through the launcher.

    None for what the engine is to judge; raises UserError for a schedule of which cron keeps nothing in hand.
    """
    target = parse_target(text)
    entry = None if session.is_guest else session.catalog.entries.get(target.project)
    if entry is None or target.unit is None:
        return None
    if target.unit not in entry.tables.schedules:
        _refuse_unknown(session, target)
        return None
    unit = resolve_target(session, target).unit(target.unit)
    if not isinstance(unit, Schedule) or unit.backend != "cron":
        return None
    refuse_plain(unit)
    return unit


def refuse_plain(schedule: Schedule) -> None:
    """Raise UserError for a schedule whose runs cron starts by itself."""
    if schedule.plain:
        raise UserError(
            f"{schedule.address} is a plain line of cron, which cannot do that",
            hint=f"Let it go through our launcher: remove plain = true from [schedules.{schedule.name}] of"
            f" {schedule.project.name}, then: shiftboss apply {schedule.project.name}",
        )


def _refuse_unknown(session: Session, target: Target) -> None:
    """Raise UserError for what is no schedule, if there is no engine that could remember one."""
    if session.machine.files.stat(session.site.api_socket) is None:
        unit = resolve_target(session, target).unit(target.unit or "")
        raise UserError(f"{unit.address} is no schedule", hint="See what is scheduled with: shiftboss next")


def spooled_rows(session: Session, schedule: Schedule) -> list[Occurrence]:
    """Return what is remembered of a schedule, oldest first."""
    return [_row(schedule.address, run) for run in spooled_runs(session.machine, session.site, schedule)]


def _row(address: str, run: SpooledRun) -> Occurrence:
    return Occurrence(
        target=address,
        number=run.run,
        due=run.due,
        last=run.due,
        stage="" if run.outcome else "running",
        outcome=run.outcome,
        reason=run.reason,
        exit_status=run.exit_status,
        run=run.run if run.began is not None else 0,
        began=run.began,
        ended=run.ended,
        cause=run.cause,
        lateness=None if run.began is None or run.cause else round(run.began - run.due, 3),
        memory_bytes=run.memory_bytes,
        excerpt=run.output or None,
    )
