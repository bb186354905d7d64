"""The command `shiftboss resume`."""

import click

from shiftboss.cli.pausing import set_paused
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target


@click.command("resume", epilog="shiftboss resume myapp/backup")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Let schedules run again that were paused, or stopped because they started too often.

    Times that have passed meanwhile are not made up for.
    """
    session = open_session(ctx)
    set_paused(session, targets, wanted=False)
    session.console.print(f"resumed {', '.join(targets)}")
