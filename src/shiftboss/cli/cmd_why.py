"""The command `shiftboss why`."""

from datetime import datetime

import click

from shiftboss.api.calls import Occurrence, Occurrences, ScheduleStatus
from shiftboss.api.client import Client
from shiftboss.cli.occurrence_lines import explained, failed
from shiftboss.cli.occurrence_lines import row as occurrence_row
from shiftboss.cli.output import duration, print_json
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.spool_rows import spooled_rows, spooled_schedules
from shiftboss.cli.targets import complete_target, require_native_schedule
from shiftboss.core.errors import UserError
from shiftboss.core.log_lines import parse_since
from shiftboss.core.spec import Schedule
from shiftboss.setup.spool import was_rewritten

_SHOWN = 20


@click.command("why", epilog="shiftboss why myapp/backup 02:00")
@click.argument("target", metavar="PROJECT/SCHEDULE", shell_complete=complete_target)
@click.argument("time", required=False, metavar="[TIME]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, target: str, time: str | None, as_json: bool) -> None:
    """Tell what became of an occurrence and why: the last one, or those of the minute of TIME.

    TIME: 14:30 (today, or yesterday if that is still to come), 2026-11-23T14:30, 2h (ago).
    """
    session = open_session(ctx, json=as_json)
    clock = session.machine.clock
    zone, now = clock.zone(), clock.now()
    at = parse_since(time, now).timestamp() if time else 0.0
    if schedules := spooled_schedules(session, [target]):
        rows, following = _on_cron(session, _only(schedules, target), at)
    else:
        require_native_schedule(session, target)
        rows, following = _on_engine(session, target, at)
    if as_json:
        print_json([occurrence_row(each, zone) for each in rows])
        return
    for each in rows:
        for line in explained(each, zone):
            session.console.print(line, colour="red" if failed(each) and line.endswith(".") else None)
    if not rows:
        session.console.print(_nothing(target, at, now))
    session.console.print(following)


def _only(schedules: list[Schedule], target: str) -> Schedule:
    """Return the one schedule that is meant."""
    _require_one(target, [schedule.address for schedule in schedules])
    return schedules[0]


def _require_one(target: str, addresses: list[str]) -> None:
    """Raise UserError for a target that means several schedules."""
    if len(addresses) > 1:
        raise UserError(f"{target} has several schedules", hint=f"Name it: shiftboss why {addresses[0]}")


def _on_cron(session: Session, schedule: Schedule, at: float) -> tuple[list[Occurrence], str]:
    """Return what cron did at a time, and what comes next."""
    from shiftboss.setup.due import next_runs, was_due
    from shiftboss.setup.pauses import paused_by

    rows = spooled_rows(session, schedule)
    minute = at - at % 60
    found = [row for row in rows if minute <= row.due < minute + 60] if at else rows[-1:]
    is_over = minute + 60 <= session.machine.clock.now().timestamp()
    if at and not found and is_over and rows and was_due(schedule, session.machine.clock, at):
        found = [_not_started(session, schedule, at)] if at > rows[0].due else []
    if who := paused_by(session.machine, session.site, schedule):
        return found, _paused(schedule.address, who)
    runs = next_runs(schedule, session.machine.clock, 1)
    if not runs:
        return found, f"The clock makes it never due ({schedule.times})."
    return found, _next(runs[0], session.machine.clock.now(), schedule.times)


def _not_started(session: Session, schedule: Schedule, at: float) -> Occurrence:
    due = int(at - at % 60)
    reason = "cron did not start it: the daemon or the server was down"
    if was_rewritten(session.machine, session.site, schedule, at):
        reason += ", or it had other times then"
    return Occurrence(schedule.address, 0, due, due, outcome="missed", reason=reason)


def _on_engine(session: Session, target: str, at: float) -> tuple[list[Occurrence], str]:
    with Client(session.site.api_socket) as client:
        found = client.schedules(target).schedules
        _require_one(target, [each.address for each in found])
        return _rows(client, target, at), _following(found[0], session.machine.clock.now())


def _rows(client: Client, target: str, at: float) -> list[Occurrence]:
    """Return the occurrences of the minute of a time, oldest first; without a time the latest of all."""
    if not at:
        return list(client.occurrences(Occurrences(targets=(target,), limit=1)).occurrences)
    query = Occurrences(targets=(target,), since=at - at % 60, until=at - at % 60 + 59, limit=_SHOWN)
    return list(reversed(client.occurrences(query).occurrences))


def _nothing(target: str, at: float, now: datetime) -> str:
    if not at:
        return f"{target} was never due yet."
    shown = f"{datetime.fromtimestamp(at, now.tzinfo):%Y-%m-%d %H:%M}"
    if at > now.timestamp():
        return f"{shown} is still to come."
    return f"{target} was not due at {shown}, or that is no longer remembered."


def _following(status: ScheduleStatus, now: datetime) -> str:
    """Return what comes next, and what is in its way."""
    if status.halted:
        return f"It is stopped ({status.halted}); once that is mended: shiftboss resume {status.address}"
    if status.paused:
        return _paused(status.address, status.paused)
    if status.next is None:
        return f"The clock makes it never due ({status.when})."
    return _next(datetime.fromtimestamp(status.next, now.tzinfo), now, status.when)


def _paused(address: str, who: str) -> str:
    return f"It is paused by {who}; again with: shiftboss resume {address}"


def _next(at: datetime, now: datetime, when: str) -> str:
    wait = at.timestamp() - now.timestamp()  # times of one zone are subtracted as the wall shows them
    return f"Next: {at:%Y-%m-%d %H:%M:%S}, in {duration(wait)} ({when})."
