"""When schedules run next, by the rules of what runs them."""

from datetime import datetime
from zoneinfo import ZoneInfo

from shiftboss.core.cron import parse
from shiftboss.core.cron_times import times
from shiftboss.core.errors import UserError
from shiftboss.core.explanation import known_zone
from shiftboss.core.spec import Schedule
from shiftboss.host.ports import Clock

# backend -> the cron dialect that it speaks
DIALECTS = {"cron": "debian", "native": "native"}


def next_runs(schedule: Schedule, clock: Clock, count: int) -> tuple[datetime, ...]:
    """Return the next times of a schedule, in its zone; raise UserError for times or a zone that are none."""
    try:
        expression = parse(schedule.cron, DIALECTS.get(schedule.backend, "native"), schedule.address)
        return tuple(times(expression, clock.now(), zone_of(schedule, clock), count))
    except UserError as error:
        message = f"cannot tell when {schedule.address} runs: {error.message}"
        raise UserError(message, hint=error.hint or "See: shiftboss explain EXPR") from error


def zone_of(schedule: Schedule, clock: Clock) -> ZoneInfo:
    """Return the time zone that a schedule goes by; raise UserError if there is none of that name."""
    return known_zone(schedule.timezone) if schedule.timezone else clock.zone()
