"""The command `shiftboss pause`."""

import click

from shiftboss.cli.pausing import set_paused
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target


@click.command("pause", epilog="shiftboss pause myapp/backup")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Let schedules not run by themselves for now; what is due meanwhile is told as skipped.

    A run that lives goes on, and `shiftboss run` still works. It stays paused over reboots and `shiftboss apply`. On
    cron not for plain lines, as setup-cron writes them.
    """
    session = open_session(ctx)
    set_paused(session, targets, wanted=True)
    session.console.print(f"paused {', '.join(targets)}; again with: shiftboss resume {' '.join(targets)}")
