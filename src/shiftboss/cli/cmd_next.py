"""The command `shiftboss next`."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import click
from msgspec import Struct

from shiftboss.cli.output import duration, print_json, table
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_project, units_of
from shiftboss.cli.tasks_table import ask_for_tasks, times_of
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.laravel_list import tasks_due
from shiftboss.core.spec import Schedule
from shiftboss.setup.due import next_runs
from shiftboss.setup.pauses import paused_schedules

_NOBODY: Mapping[str, str] = {}


@click.command("next", epilog="shiftboss next myapp -n 5")
@click.argument("target", required=False, metavar="[PROJECT]", shell_complete=complete_project)
@click.option(
    "-n", "count", default=3, show_default=True, type=click.IntRange(1, 100), help="How many times of each."
)
@click.option("--tasks", is_flag=True, help="Ask Laravel schedulers for the tasks inside (starts artisan).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, target: str | None, count: int, tasks: bool, as_json: bool) -> int:
    """Show what runs next: the schedules of all projects (or one) in the order of their times.

    Without root the engine is asked, which tells the next time of each.
    """
    session = open_session(ctx, json=as_json)
    if session.is_guest:
        _show_guest(session, target, tasks=tasks, as_json=as_json)
        return 0
    projects, errors = units_of(session, target)
    schedules = [unit for _, units in projects for unit in units if isinstance(unit, Schedule)]
    due = _times(session, schedules, count, errors)
    paused = _paused(session, schedules, errors)
    inside, untold = ask_for_tasks(session, schedules if tasks else ())
    errors += untold
    rows = [Due(moment, s.address, s.times, " ".join(s.argv)) for moment, s in due]
    rows += [
        Due(moment, scheduler.schedule, times_of(task), task.name, task.name)
        for scheduler in inside
        for moment, task in tasks_due(scheduler.tasks)
    ]
    rows.sort(key=lambda row: (row.moment.timestamp(), row.address, row.task))
    if as_json:
        print_json([_as_json(row, paused) for row in rows])
    else:
        _print(session, rows, [(s.address, s.times) for s in schedules])
    for address, who in sorted(paused.items()):
        session.console.warn(
            f"{address} does not run: paused by {who}; again with: shiftboss resume {address}"
        )
    for scheduler in inside:
        for note in scheduler.notes:
            session.console.warn(f"{scheduler.schedule}: {note}")
    for error in errors:
        session.console.warn_of(error)
    return errors[0].exit_code if errors else 0


def _times(
    session: Session, schedules: Iterable[Schedule], count: int, errors: list[ShiftbossError]
) -> list[tuple[datetime, Schedule]]:
    due: list[tuple[datetime, Schedule]] = []
    for schedule in schedules:
        try:
            due += [(moment, schedule) for moment in next_runs(schedule, session.machine.clock, count)]
        except ShiftbossError as problem:
            errors.append(problem)
    return due


def _paused(
    session: Session, schedules: Iterable[Schedule], errors: list[ShiftbossError]
) -> Mapping[str, str]:
    try:
        return paused_schedules(session.machine, session.site, schedules)
    except ShiftbossError as problem:
        errors.append(problem)
        return _NOBODY


def _show_guest(session: Session, target: str | None, *, tasks: bool, as_json: bool) -> None:
    """Show what the engine tells its caller: it knows the next time of each schedule."""
    from shiftboss.cli import guest

    if tasks:
        session.refuse_guest()
    zone = session.machine.clock.zone()
    known = guest.schedules(session, target)
    rows = [
        Due(datetime.fromtimestamp(each.next, zone), each.address, each.when, " ".join(each.command))
        for each in known
        if each.next is not None
    ]
    rows.sort(key=lambda row: (row.moment.timestamp(), row.address))
    if as_json:
        print_json([_as_json(row) for row in rows])
    else:
        _print(session, rows, [(each.address, each.when) for each in known])


class Due(Struct, frozen=True):
    """One time at which a schedule, or a task inside it, is due."""

    moment: datetime
    address: str
    times: str
    command: str
    task: str = ""


def _as_json(row: Due, paused: Mapping[str, str] = _NOBODY) -> dict[str, str]:
    shown = {"target": row.address, "due": row.moment.isoformat(), "command": row.command}
    who = paused.get(row.address, "")
    return shown | ({"task": row.task} if row.task else {}) | ({"paused": who} if who else {})


def _nothing(known: Iterable[tuple[str, str]]) -> str:
    """Return why there are no times to show; `known`: what is set up, with its times."""
    names = ", ".join(f"{address} ({times})" for address, times in known)
    if names:
        return f"The clock makes nothing due: {names}"
    return "No schedule is set up. Add one: shiftboss cron PROJECT"


def _print(session: Session, rows: list[Due], known: Iterable[tuple[str, str]]) -> None:
    if not rows:
        session.console.print(_nothing(known))
        return
    now = session.machine.clock.now().timestamp()  # times of one zone are subtracted as the wall shows them
    zone = session.machine.clock.zone()
    lines = [
        (
            f"{row.moment.astimezone(zone) if row.task else row.moment:%a %Y-%m-%d %H:%M:%S}".removesuffix(
                ":00"
            ),
            f"in {duration(row.moment.timestamp() - now)}",
            f"{row.address}: {row.task}" if row.task else row.address,
            row.times,
        )
        for row in rows
    ]
    session.console.print(table(("TIME", "", "SCHEDULE", "CRON"), lines))
