"""What the changes of the clocks do to one schedule: the dates of the next year, in plain words."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from shiftboss.core.cron import Expression
from shiftboss.core.cron_calendar import (
    EVERY_HOUR,
    EVERY_MINUTE,
    FIRST_YEAR,
    LAST_YEAR,
    matches,
    wall_at_or_after,
)
from shiftboss.core.cron_dialects import find_dialect
from shiftboss.core.cron_text import MONTH_NAMES, WEEKDAY_NAMES, listed
from shiftboss.core.cron_times import DstPolicy
from shiftboss.core.cron_zones import Shift, next_shift, to_instant, to_zone

_YEAR = timedelta(days=366)
_SECOND = timedelta(seconds=1)
_MOST_NAMED = 4  # as many times are named one by one


class DstNote(Struct, frozen=True):
    """A change of the clocks that touches a schedule: the instant `at` (aware, first one of the new offset)."""

    at: datetime
    kind: Literal["gap", "repeat"]
    message: str
    loses: bool = False
    """Whether a time of the schedule has no start of its own."""


def dst_notes(
    expr: Expression, zone: ZoneInfo, after: datetime, dst: DstPolicy = "debian"
) -> tuple[DstNote, ...]:
    """Return the clock changes within a year after `after` (aware) that touch this schedule, in order.

    A change touches it if a time of it does not exist or comes twice; schedules that go on at the same
    pace all the same (every minute, every hour) are not touched.
    """
    first = to_instant(after)
    if not FIRST_YEAR < first.year < LAST_YEAR:
        return ()
    return changes(expr, zone, after, (first + _YEAR).replace(tzinfo=UTC), dst)


def changes(
    expr: Expression, zone: ZoneInfo, after: datetime, until: datetime, dst: DstPolicy = "debian"
) -> tuple[DstNote, ...]:
    """Return the clock changes later than `after` and not later than `until` (aware) that touch this schedule."""
    notes = []
    for shift in _shifts(zone, to_instant(after), to_instant(until)):
        if not _goes_on(expr, shift) and (walls := _walls(expr, shift)):
            told = _gap_text(expr, walls, shift, dst) if shift.is_gap else _repeat_text(expr, walls, shift)
            kind: Literal["gap", "repeat"] = "gap" if shift.is_gap else "repeat"
            loses = _loses(expr, walls, shift, dst)
            notes.append(DstNote(to_zone(shift.at, zone), kind, told, loses))
    return tuple(notes)


def _loses(expr: Expression, walls: Sequence[datetime], shift: Shift, dst: DstPolicy) -> bool:
    """Return whether one of the `walls` is left out, or shares its start with another."""
    if not shift.is_gap:
        return not expr.follows_wall_clock
    if expr.follows_wall_clock or dst == "skip":
        return True
    return len(walls) + matches(expr, shift.wall_after) > 1


def _shifts(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[Shift]:
    if not FIRST_YEAR < after.year < LAST_YEAR:
        return
    while shift := next_shift(zone, after, until):
        yield shift
        after = shift.at


def _goes_on(expr: Expression, shift: Shift) -> bool:
    """Return whether the times before and after are the same, so that nobody waits shorter or longer."""
    minutes, rest = divmod(abs(shift.after - shift.before), timedelta(minutes=1))
    if rest or not expr.follows_wall_clock or expr.hours != EVERY_HOUR:
        return False
    turn = minutes % 60
    return (expr.minutes << turn | expr.minutes >> 60 - turn) & EVERY_MINUTE == expr.minutes


def _walls(expr: Expression, shift: Shift) -> list[datetime]:
    """Return the times of the schedule that do not exist or come twice."""
    start, end = sorted((shift.wall_before, shift.wall_after))
    walls = []
    while (wall := wall_at_or_after(expr, start)) and wall < end:
        walls.append(wall)
        start = wall + _SECOND
    return walls


def _gap_text(expr: Expression, walls: Sequence[datetime], shift: Shift, dst: DstPolicy) -> str:
    told = f"{_change(shift)}: {_times(walls)} {'does' if len(walls) == 1 else 'do'} not exist, "
    if expr.follows_wall_clock or dst == "skip":
        return told + ("and it does not run then" if len(walls) == 1 else "and these runs are left out")
    end = f"{shift.wall_after:%H:%M}"
    starts = len(walls) + matches(expr, shift.wall_after)
    if find_dialect(expr.dialect).bursts and starts > 1:
        return f"{told}and {find_dialect(expr.dialect).program} starts it {starts} times at once at {end}"
    if starts > 1:
        return f"{told}and one run at {end} stands for {'it' if len(walls) == 1 else 'them'}"
    return f"{told}and it runs at {end}"


def _repeat_text(expr: Expression, walls: Sequence[datetime], shift: Shift) -> str:
    told = f"{_change(shift)}: {_times(walls)} {'comes' if len(walls) == 1 else 'come'} twice, "
    return told + ("and it runs both times" if expr.follows_wall_clock else "and it runs the first time only")


def _change(shift: Shift) -> str:
    before, after = shift.wall_before, shift.wall_after
    day = (
        f"{WEEKDAY_NAMES[before.isoweekday() % 7]} {before.day} {MONTH_NAMES[before.month - 1]} {before.year}"
    )
    verb = "forward" if shift.is_gap else "back"
    target = f"{after:%H:%M}" if before.date() == after.date() else f"{after:%H:%M} on {after:%Y-%m-%d}"
    return f"on {day} the clock goes {verb} from {before:%H:%M} to {target}"


def _times(walls: Sequence[datetime]) -> str:
    if len(walls) > _MOST_NAMED:
        return f"{len(walls)} times from {walls[0]:%H:%M} to {walls[-1]:%H:%M}"
    return listed([f"{wall:%H:%M:%S}" if wall.second else f"{wall:%H:%M}" for wall in walls])
