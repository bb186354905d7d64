"""The command `shiftboss scale`."""

import click

from shiftboss.cli.cmd_setup import count, set_up
from shiftboss.cli.making import dry_run_option, json_option
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.status_table import show
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

    On the backend native the others run on; Supervisor restarts all processes of a worker. Without root the file
    stays as it is: up to `scale_max` processes run until root says something else.
    """
    session = open_session(ctx, json=as_json)
    parsed = parse_target(target)
    if parsed.unit is None or parsed.process is not None:
        raise UserError(f"{target} is not a worker", hint="Write PROJECT/WORKER, such as myapp/queue.")
    if session.is_guest:
        from shiftboss.cli import guest

        guest.scale(session, target, number, dry_run=dry_run)
        if not dry_run:
            show(session, guest.report(session, target), as_json=as_json)
        return
    worker = resolve_target(session, parsed).unit(parsed.unit)
    if not isinstance(worker, Worker):
        raise UserError(f"{target} is a schedule: it has no processes", hint="See: shiftboss next")
    if not dry_run:
        _end_override(session, worker)
    request = WorkerRequest(parsed.unit, processes=number, named=True)
    set_up(session, parsed.project, [request], dry_run=dry_run, as_json=as_json)


def _end_override(session: Session, worker: Worker) -> None:
    """What root says holds: a number that somebody set without root is forgotten."""
    if worker.backend != "native":
        return
    engine = session.machine.engines.connect(session.site.api_socket)
    facts = engine.facts()
    units = facts.units if facts else ()
    if any(unit.address == worker.address and unit.override is not None for unit in units):
        engine.scale(worker.address, worker.processes)
