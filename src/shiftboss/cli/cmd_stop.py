"""The command `shiftboss stop`."""

import click

from shiftboss.cli import guest
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target, selections
from shiftboss.setup import control


@click.command("stop", epilog="shiftboss stop myapp/queue:2")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.option("--keep", is_flag=True, help="Stay stopped after a reboot, too (backend native).")
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...], keep: bool) -> None:
    """Stop the workers of a project, one worker or one process, and wait until they are gone.

    Each gets its own signal and time to finish the job in hand. At the next boot they start again, unless they
    are to be kept stopped.
    """
    session = open_session(ctx)
    if session.is_guest:
        guest.stop(session, targets, keep=keep)
        return
    control.stop(session.machine, session.site, selections(session, targets), session.console, keep=keep)
