"""The command `shiftboss start`."""

import click

from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target, selections
from shiftboss.setup import control


@click.command("start", epilog="shiftboss start myapp/queue")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Start the workers of a project (myapp), one worker (myapp/queue) or one process (myapp/queue:2).

    Waits until they stay up; a worker that was given up (FATAL) is revived by this.
    """
    session = open_session(ctx)
    if session.is_guest:
        from shiftboss.cli import guest

        guest.start(session, targets)
        return
    control.start(session.machine, session.site, selections(session, targets), session.console)
