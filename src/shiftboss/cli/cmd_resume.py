"""The command `shiftboss resume`."""

import click

from shiftboss.api.client import Client
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target, require_native_schedule


@click.command("resume", epilog="shiftboss resume myapp/backup")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Let schedules run again that were paused, or stopped because they started too often.

    Times that have passed meanwhile are not made up for. Backend native only.
    """
    session = open_session(ctx)
    for target in targets:
        require_native_schedule(session, target)
    with Client(session.site.api_socket) as client:
        client.resume(*targets)
    session.console.print(f"resumed {', '.join(targets)}")
