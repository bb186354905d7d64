"""The command `shiftboss next`."""

from datetime import datetime

import click

from shiftboss.cli.output import duration, print_json, table
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_project, units_of
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.spec import Schedule
from shiftboss.setup.due import next_runs


@click.command("next", epilog="shiftboss next myapp -n 5")
@click.argument("target", required=False, metavar="[PROJECT]", shell_complete=complete_project)
@click.option(
    "-n", "count", default=3, show_default=True, type=click.IntRange(1, 100), help="How many times of each."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, target: str | None, count: int, as_json: bool) -> int:
    """Show what runs next: the schedules of all projects (or one) in the order of their times."""
    session = open_session(ctx, json=as_json)
    projects, errors = units_of(session, target)
    schedules = [unit for _, units in projects for unit in units if isinstance(unit, Schedule)]
    due: list[tuple[datetime, Schedule]] = []
    for schedule in schedules:
        try:
            due += [(moment, schedule) for moment in next_runs(schedule, session.machine.clock, count)]
        except ShiftbossError as problem:
            errors.append(problem)
    due.sort(key=lambda item: (item[0], item[1].address))
    if as_json:
        print_json([{"target": s.address, "due": m.isoformat(), "command": " ".join(s.argv)} for m, s in due])
    else:
        _print(session, due)
    for error in errors:
        session.console.warn_of(error)
    return errors[0].exit_code if errors else 0


def _print(session: Session, due: list[tuple[datetime, Schedule]]) -> None:
    if not due:
        session.console.print("No schedule is set up. Add one: shiftboss cron PROJECT")
        return
    now = session.machine.clock.now()
    rows = [
        (f"{moment:%a %Y-%m-%d %H:%M}", f"in {duration((moment - now).total_seconds())}", s.address, s.times)
        for moment, s in due
    ]
    session.console.print(table(("TIME", "", "SCHEDULE", "CRON"), rows))
