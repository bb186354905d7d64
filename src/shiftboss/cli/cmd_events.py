"""The command `shiftboss events`."""

import sys

import click

from shiftboss.api.client import Client
from shiftboss.cli.event_lines import event_line, failed, row
from shiftboss.cli.output import json_text
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target


@click.command("events", epilog="shiftboss events -f myapp")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("-f", "--follow", is_flag=True, default=True, hidden=True, help="What it always does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...], follow: bool, as_json: bool) -> None:
    """Show what happens on the backend native, as it happens, until you stop it (Ctrl-C).

    What happened before is in: shiftboss history
    """
    session = open_session(ctx)
    zone = session.machine.clock.zone()
    with Client(session.site.api_socket) as client:
        for event in client.events(*targets):
            if as_json:
                click.echo(json_text(row(event, zone)))
            else:
                session.console.print(event_line(event, zone), colour="red" if failed(event) else None)
            sys.stdout.flush()
