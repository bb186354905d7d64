"""The command `shiftboss status`."""

from collections.abc import Iterable, Iterator

import click
from msgspec.structs import replace

from shiftboss.cli.output import print_json
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.status_table import document, show
from shiftboss.cli.targets import complete_target, units_of
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.spec import Schedule
from shiftboss.setup.report import Report, report
from shiftboss.setup.units import Resolved

EXIT_NOT_AS_DESIRED = 3


@click.command("status", epilog="shiftboss status myapp --json")
@click.argument("target", required=False, metavar="[TARGET]", shell_complete=complete_target)
@click.option(
    "-v", "--verbose", is_flag=True, help="Ask Laravel schedulers for the tasks inside, too (starts artisan)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, target: str | None, verbose: bool, as_json: bool) -> int:
    """Show what runs right now: all projects, one (myapp) or one unit (myapp/queue).

    Asked live of the backend and the kernel, never from memory. Exits with 3 if something that should run does
    not, with 1 if a backend does not answer.
    """
    session = open_session(ctx, json=as_json)
    found, schedules, errors = _look(session, target)
    if verbose:
        errors += _show_with_tasks(session, found, schedules, as_json=as_json)
    else:
        show(session, found, as_json=as_json)
    for error in (*errors, *found.errors):
        session.console.warn_of(error)
    if errors or found.errors:
        return (*errors, *found.errors)[0].exit_code
    return 0 if found.as_desired else EXIT_NOT_AS_DESIRED


def _show_with_tasks(
    session: Session, found: Report, schedules: list[Schedule], *, as_json: bool
) -> list[ShiftbossError]:
    """Show the tasks inside schedulers, too; return the errors of those that do not tell."""
    from shiftboss.cli.tasks_table import ask_for_tasks, print_tasks, tasks_as_json  # 5 % of a plain status

    inside, untold = ask_for_tasks(session, schedules)
    if as_json:
        print_json(document(found) | {"tasks_inside": tasks_as_json(inside)})
    else:
        show(session, found, as_json=as_json)
        print_tasks(session.console, inside)
    return untold


def _look(session: Session, target: str | None) -> tuple[Report, list[Schedule], list[ShiftbossError]]:
    """Return what runs, the schedules among it, and what could not be read."""
    if session.is_guest:
        from shiftboss.cli import guest

        return guest.report(session, target), [], []
    projects, errors = units_of(session, target)
    resolved = [Resolved(r.project, units, r.released) for r, units in projects]
    schedules = [unit for _, units in projects for unit in units if isinstance(unit, Schedule)]
    found = report(session.machine, session.site, resolved)
    return replace(found, troubles=(*found.troubles, *_waiting_offers(session, projects))), schedules, errors


def _waiting_offers(session: Session, projects: Iterable[tuple[Resolved, object]]) -> Iterator[str]:
    """Say of which projects the release declares something else than what is in force."""
    entries = {found.project.name: session.catalog.require(found.project.name) for found, _ in projects}
    offering = {name: entry for name, entry in entries.items() if entry.own.project.self_service}
    if not offering:
        return
    from shiftboss.setup.self_service import offer_trouble  # all that makes plans comes with it

    for name, entry in offering.items():
        trouble = offer_trouble(session.machine, session.site, name, entry)
        if trouble:
            yield trouble
