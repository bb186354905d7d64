"""The command `shiftboss scale`."""

import click

from shiftboss.cli.cmd_setup import count, set_up
from shiftboss.cli.making import dry_run_option, json_option
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target, resolve_target
from shiftboss.core.errors import UserError
from shiftboss.core.names import parse_target
from shiftboss.core.spec import Worker
from shiftboss.setup.requests import WorkerRequest


@click.command("scale", epilog="shiftboss scale myapp/queue 4")
@click.argument("target", metavar="PROJECT/WORKER", shell_complete=complete_target)
@click.argument("number", metavar="N", callback=count)
@dry_run_option
@json_option
@click.pass_context
def command(ctx: click.Context, target: str, number: int, dry_run: bool, as_json: bool) -> None:
    """Set how many processes a worker has: edits `processes` in the project file and applies it.

    On the backend native the others run on; Supervisor restarts all processes of a worker.
    """
    session = open_session(ctx, json=as_json)
    parsed = parse_target(target)
    if parsed.unit is None or parsed.process is not None:
        raise UserError(f"{target} is not a worker", hint="Write PROJECT/WORKER, such as myapp/queue.")
    if not isinstance(resolve_target(session, parsed).unit(parsed.unit), Worker):
        raise UserError(f"{target} is a schedule: it has no processes", hint="See: shiftboss next")
    request = WorkerRequest(parsed.unit, processes=number, named=True)
    set_up(session, parsed.project, [request], dry_run=dry_run, as_json=as_json)
