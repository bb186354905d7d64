"""When an expression is due: the next and the previous instant in a time zone, and what clock changes do.

The rules of daylight saving are those of Debian's cron (cron(8), and observed), except that one schedule
starts at most once at one instant:

- A fixed-time job (neither minute nor hour starts with `*`) whose time falls into a gap runs once, at the
  first instant after the gap, and never runs again in a repeated hour.
- A wildcard job follows the clock on the wall: what does not exist is left out, what comes twice runs twice.

Between two shifts of a zone all is plain arithmetic, so the search goes from shift to shift, not from minute
to minute. Every result is strictly later (earlier) in UTC than the instant it was asked for. Compare results
in UTC, too: datetimes of one zone compare by the clock on the wall, also where that goes back (PEP 495).
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from shiftboss.core.cron import Expression
from shiftboss.core.cron_calendar import FIRST_YEAR, LAST_YEAR, wall_at_or_after, wall_at_or_before
from shiftboss.core.cron_zones import Shift, last_shift, next_shift, offset_at, to_instant, to_zone
from shiftboss.core.spec import DstPolicy

__all__ = ["DstPolicy", "next_time", "previous_time", "times"]

_SECOND = timedelta(seconds=1)
_LONGEST_REPEAT = timedelta(days=2)  # the date line: Alaska lived through one day twice, in 1867


def next_time(
    expr: Expression, after: datetime, zone: ZoneInfo, dst: DstPolicy = "debian"
) -> datetime | None:
    """Return the first time that is strictly later than `after` (aware), in `zone`; None if there is none.

    There is none for @reboot, for what never matches, and beyond the year 9990.

    Raises:
        ValueError: `after` is naive.
    """
    now = to_instant(after).replace(microsecond=0)
    if expr.at_reboot or not FIRST_YEAR < now.year < LAST_YEAR:
        return None
    offset = offset_at(now, zone)
    low = now + offset + _SECOND
    if shift := last_shift(zone, now - _LONGEST_REPEAT, now):
        low = max(low, _first_wall(expr, shift))
    while (wall := wall_at_or_after(expr, low)) is not None:
        shift = next_shift(zone, now, wall - offset)
        if shift is None:
            return to_zone(wall - offset, zone)
        if _is_made_up(expr, shift, dst) and wall < shift.wall_after:
            return to_zone(shift.at, zone)
        now, offset, low = shift.at, shift.after, _first_wall(expr, shift)
    return None


def previous_time(
    expr: Expression, before: datetime, zone: ZoneInfo, dst: DstPolicy = "debian"
) -> datetime | None:
    """Return the last time that is strictly earlier than `before` (aware), in `zone`; None if there is none.

    Raises:
        ValueError: `before` is naive.
    """
    exact = to_instant(before)
    if expr.at_reboot or not FIRST_YEAR < exact.year < LAST_YEAR:
        return None
    now = exact.replace(microsecond=0)
    now = now if now < exact else now - _SECOND
    while (wall := wall_at_or_before(expr, now + (offset := offset_at(now, zone)))) is not None:
        shift = last_shift(zone, wall - offset - _LONGEST_REPEAT, now)
        if shift is None or wall >= _first_wall(expr, shift):
            return to_zone(wall - offset, zone)
        if _is_made_up(expr, shift, dst) and _matches_between(expr, shift.wall_before, shift.wall_after):
            return to_zone(shift.at, zone)
        now = shift.at - _SECOND
    return None


def times(
    expr: Expression, after: datetime, zone: ZoneInfo, count: int, dst: DstPolicy = "debian"
) -> tuple[datetime, ...]:
    """Return the next `count` times later than `after`; fewer if there are no more."""
    found: list[datetime] = []
    moment = next_time(expr, after, zone, dst) if count > 0 else None
    while moment is not None:
        found.append(moment)
        moment = next_time(expr, moment, zone, dst) if len(found) < count else None
    return tuple(found)


def _is_made_up(expr: Expression, shift: Shift, dst: DstPolicy) -> bool:
    """Return whether this job runs after the gap for a time that was in it."""
    return shift.is_gap and dst == "debian" and not expr.follows_wall_clock


def _first_wall(expr: Expression, shift: Shift) -> datetime:
    """Return the first wall-clock time that counts after a shift: fixed-time jobs do not see one twice."""
    return shift.wall_after if expr.follows_wall_clock else max(shift.wall_before, shift.wall_after)


def _matches_between(expr: Expression, start: datetime, end: datetime) -> bool:
    wall = wall_at_or_after(expr, start)
    return wall is not None and wall < end
