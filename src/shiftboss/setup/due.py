"""When schedules run next, by the rules of what runs them."""

from datetime import datetime
from zoneinfo import ZoneInfo

from shiftboss.core.errors import UserError
from shiftboss.core.explanation import known_zone
from shiftboss.core.schedule_times import timing_of
from shiftboss.core.spec import Schedule
from shiftboss.core.timing import Timing, next_due
from shiftboss.host.ports import Clock

# backend -> the cron dialect that it speaks
DIALECTS = {"cron": "debian", "native": "native"}


def next_runs(schedule: Schedule, clock: Clock, count: int) -> tuple[datetime, ...]:
    """Return the next times of a schedule, in its zone; raise UserError for times or a zone that are none.

    What runs after another schedule has no times of its own.
    """
    zone, timing = _timing(schedule, clock)
    found: list[datetime] = []
    moment = next_due(timing, clock.now().timestamp())
    while moment is not None and len(found) < count:
        found.append(datetime.fromtimestamp(moment, zone))
        moment = next_due(timing, moment)
    return tuple(found)


def was_due(schedule: Schedule, clock: Clock, at: float) -> bool:
    """Tell whether a schedule was due in the minute of a time (seconds since the epoch); raises as `next_runs`."""
    _, timing = _timing(schedule, clock)
    minute = at - at % 60
    found = next_due(timing, minute - 1)
    return found is not None and found < minute + 60


def _timing(schedule: Schedule, clock: Clock) -> tuple[ZoneInfo, Timing]:
    try:
        zone = zone_of(schedule, clock)
        return zone, timing_of(schedule, zone, DIALECTS.get(schedule.backend, "native"))
    except UserError as error:
        message = f"cannot tell when {schedule.address} runs: {error.message}"
        raise UserError(message, hint=error.hint or "See: shiftboss explain EXPR") from error


def zone_of(schedule: Schedule, clock: Clock) -> ZoneInfo:
    """Return the time zone that a schedule goes by; raise UserError if there is none of that name."""
    return known_zone(schedule.timezone) if schedule.timezone else clock.zone()
