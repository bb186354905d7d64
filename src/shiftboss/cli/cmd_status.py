"""The command `shiftboss status`."""

import click

from shiftboss.cli import guest
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.status_table import show
from shiftboss.cli.targets import complete_target, units_of
from shiftboss.core.errors import ShiftbossError
from shiftboss.setup.report import Report, report
from shiftboss.setup.units import Resolved

EXIT_NOT_AS_DESIRED = 3


@click.command("status", epilog="shiftboss status myapp --json")
@click.argument("target", required=False, metavar="[TARGET]", shell_complete=complete_target)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, target: str | None, as_json: bool) -> int:
    """Show what runs right now: all projects, one (myapp) or one unit (myapp/queue).

    Asked live of the backend and the kernel, never from memory. Exits with 3 if something that should run does
    not, with 1 if a backend does not answer.
    """
    session = open_session(ctx, json=as_json)
    found, errors = _look(session, target)
    show(session, found, as_json=as_json)
    for error in (*errors, *found.errors):
        session.console.warn_of(error)
    if errors or found.errors:
        return (*errors, *found.errors)[0].exit_code
    return 0 if found.as_desired else EXIT_NOT_AS_DESIRED


def _look(session: Session, target: str | None) -> tuple[Report, list[ShiftbossError]]:
    if session.is_guest:
        return guest.report(session, target), []
    projects, errors = units_of(session, target)
    resolved = [Resolved(r.project, units) for r, units in projects]
    return report(session.machine, session.site, resolved), errors
