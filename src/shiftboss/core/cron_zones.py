"""When the clocks of a time zone are changed: the offsets of `zoneinfo`, found out as a table of shifts.

zoneinfo tells the offset at an instant, but not when it changes. So a year of a zone is probed once a day,
and a day with a change is halved until the second is found. A change that is taken back within the same
day is not seen; the tz database has none in this century.

Instants are naive datetimes in UTC in here, wall-clock times naive datetimes of the zone.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


class Shift(Struct, frozen=True):
    """A change of the clocks: at the instant `at` the offset from UTC goes from `before` to `after`."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def is_gap(self) -> bool:
        """Clocks go forward: the wall-clock times from `wall_before` up to `wall_after` do not exist."""
        return self.after > self.before

    @property
    def wall_before(self) -> datetime:
        """The wall-clock time that would have come at this instant."""
        return self.at + self.before

    @property
    def wall_after(self) -> datetime:
        """The wall-clock time that comes instead."""
        return self.at + self.after


def to_instant(moment: datetime) -> datetime:
    """Return an aware datetime as an instant; raise ValueError for a naive one, which is none."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone is no instant")
    return moment.astimezone(UTC).replace(tzinfo=None)


def to_zone(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return an instant as an aware datetime of the zone."""
    return zone.fromutc(instant.replace(tzinfo=zone))


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return what the zone adds to UTC at this instant."""
    return to_zone(instant, zone).utcoffset() or timedelta()


def next_shift(zone: ZoneInfo, after: datetime, until: datetime) -> Shift | None:
    """Return the first shift later than `after` and not later than `until`."""
    for year in range(after.year, until.year + 1):
        for shift in _shifts_of_year(zone, year):
            if after < shift.at <= until:
                return shift
    return None


def last_shift(zone: ZoneInfo, after: datetime, until: datetime) -> Shift | None:
    """Return the last shift later than `after` and not later than `until`."""
    for year in range(until.year, after.year - 1, -1):
        for shift in reversed(_shifts_of_year(zone, year)):
            if after < shift.at <= until:
                return shift
    return None


@lru_cache(maxsize=4096)
def _shifts_of_year(zone: ZoneInfo, year: int) -> tuple[Shift, ...]:
    """Return the shifts after the first instant of this year (UTC), up to that of the next one."""
    first, end = (to_instant(datetime(y, 1, 1, tzinfo=UTC)) for y in (year, year + 1))
    days = [first + n * _DAY for n in range((end - first).days + 1)]
    probes = [(day, offset_at(day, zone)) for day in days]
    return tuple(
        _locate(zone, before, after) for (before, old), (after, new) in pairwise(probes) if old != new
    )


def _locate(zone: ZoneInfo, low: datetime, high: datetime) -> Shift:
    """Return the shift between two instants with different offsets, by halving."""
    before = offset_at(low, zone)
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if offset_at(middle, zone) == before:
            low = middle
        else:
            high = middle
    return Shift(high, before, offset_at(high, zone))
