"""The command `shiftboss restart`."""

import click

from shiftboss.cli import guest
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target, selections
from shiftboss.setup import control


@click.command("restart", epilog="shiftboss restart myapp")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Restart the workers of a project, one worker or one process: after a deploy, they run the new release.

    Each finishes the job in hand first. Prints the old and the new pid once the new process stays up.
    """
    session = open_session(ctx)
    if session.is_guest:
        guest.restart(session, targets)
        return
    restarted = control.restart(session.machine, session.site, selections(session, targets), session.console)
    for process in restarted:
        session.console.print(f"{process.address}: pid {process.old_pid or '-'} -> {process.new_pid}")
