"""The command `shiftboss pause`."""

import click

from shiftboss.api.client import Client
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target, require_native_schedule


@click.command("pause", epilog="shiftboss pause myapp/backup")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Let schedules not run by themselves for now; what is due meanwhile is told as skipped.

    A run that lives goes on, and `shiftboss run` still works. It stays paused over reboots. Backend native only.
    """
    session = open_session(ctx)
    for target in targets:
        require_native_schedule(session, target)
    with Client(session.site.api_socket) as client:
        client.pause(*targets)
    session.console.print(f"paused {', '.join(targets)}; again with: shiftboss resume {' '.join(targets)}")
