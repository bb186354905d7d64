"""The command `shiftboss history`."""

from datetime import tzinfo
from typing import Any

import click

from shiftboss.api.calls import Event, History, Occurrence, Occurrences
from shiftboss.api.client import Client
from shiftboss.cli import occurrence_lines
from shiftboss.cli.event_lines import HISTORY_KINDS, event_line, failed, row
from shiftboss.cli.output import print_json
from shiftboss.cli.session import open_session
from shiftboss.cli.spool_rows import spooled_rows, spooled_schedules
from shiftboss.cli.targets import complete_target
from shiftboss.core.log_lines import parse_since

_PAGE = 1000
_MOST_ROWS = 10_000


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
    """Show what happened: of workers starts and ends with their reasons, of schedules what became of each time.

    Also who asked for what, and changes of the configuration. The backend native keeps it, for 90 days (schedules:
    400 days, the last 5000 of each). Of schedules on cron the latest are kept, 2 MiB of each, but of plain lines (as
    setup-cron writes them) nothing; Supervisor keeps no history.
    """
    session = open_session(ctx, json=as_json)
    clock = session.machine.clock
    after = parse_since(since, clock.now()).timestamp() if since else 0.0
    outcomes = occurrence_lines.BAD if only_failed else ()
    on_cron = spooled_schedules(session, targets)
    found: list[Event | Occurrence] = [
        row
        for schedule in on_cron
        for row in spooled_rows(session, schedule)
        if max(row.due, row.ended or 0) >= after and (row.outcome in outcomes or not outcomes)
    ]
    if not on_cron or session.machine.files.stat(session.site.api_socket) is not None:
        with Client(session.site.api_socket) as client:
            found += _events(client, targets, after, lines, only_failed=only_failed)
            query = Occurrences(targets=targets, outcomes=outcomes, since=after, limit=min(lines, _MOST_ROWS))
            found += client.occurrences(query).occurrences
    zone = clock.zone()
    shown = sorted(found, key=_at)[-lines:]
    if as_json:
        print_json([_row(each, zone) for each in shown])
        return
    for each in shown:
        line, is_bad = _line(each, zone)
        session.console.print(line, colour="red" if is_bad else None)
    if not shown:
        session.console.print("Nothing of that kind is remembered.")


def _at(each: Event | Occurrence) -> float:
    return each.at if isinstance(each, Event) else each.ended or float(each.due)


def _row(each: Event | Occurrence, zone: tzinfo) -> dict[str, Any]:
    return row(each, zone) if isinstance(each, Event) else occurrence_lines.row(each, zone)


def _line(each: Event | Occurrence, zone: tzinfo) -> tuple[str, bool]:
    if isinstance(each, Event):
        return event_line(each, zone), failed(each)
    return occurrence_lines.occurrence_line(each, zone), occurrence_lines.failed(each)


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
