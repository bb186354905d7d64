"""The command `shiftboss history`."""

import click

from shiftboss.api.calls import Event, History
from shiftboss.api.client import Client
from shiftboss.cli.event_lines import HISTORY_KINDS, event_line, failed, row
from shiftboss.cli.output import print_json
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target
from shiftboss.core.log_lines import parse_since

_PAGE = 1000


@click.command("history", epilog="shiftboss history myapp/queue --since 2h")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option(
    "-n", "--lines", default=30, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)
@click.option("--since", metavar="TIME", help="Only what is newer: 10m, 2h, 14:30, 2026-11-23T14:30.")
@click.option("--failed", "only_failed", is_flag=True, help="Only what went wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    lines: int,
    since: str | None,
    only_failed: bool,
    as_json: bool,
) -> None:
    """Show what happened: starts, ends with their reasons, changes of the configuration and who asked for what.

    The backend native keeps it, for 90 days; Supervisor and cron keep no history.
    """
    session = open_session(ctx, json=as_json)
    clock = session.machine.clock
    after = parse_since(since, clock.now()).timestamp() if since else 0.0
    with Client(session.site.api_socket) as client:
        events = _events(client, targets, after, lines, only_failed=only_failed)
    zone = clock.zone()
    if as_json:
        print_json([row(event, zone) for event in reversed(events)])
        return
    for event in reversed(events):
        session.console.print(event_line(event, zone), colour="red" if failed(event) else None)
    if not events:
        session.console.print("Nothing of that kind is remembered.")


def _events(
    client: Client, targets: tuple[str, ...], since: float, count: int, *, only_failed: bool
) -> list[Event]:
    """Return the newest events, newest first, page by page until there are enough."""
    found: list[Event] = []
    before = 0
    while len(found) < count:
        query = History(targets=targets, kinds=HISTORY_KINDS, since=since, before=before, limit=_PAGE)
        page = client.history(query).events
        found += [event for event in page if failed(event) or not only_failed]
        if len(page) < _PAGE:
            break
        before = page[-1].id
    return found[:count]
