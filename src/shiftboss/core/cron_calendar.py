"""The days and the wall-clock times that an expression matches: the calendar, without zones.

Wall-clock times are naive datetimes: what a clock on the wall shows. The calendar is Gregorian and goes from
FIRST_YEAR to LAST_YEAR, so that no time zone can move a result out of what datetime can hold.
"""

from datetime import date, datetime, time

from shiftboss.core.cron import Expression
from shiftboss.core.cron_fields import DayRule, LastDay, NearestWorkingDay

SUNDAY, SATURDAY = 0, 6
EVERY_WEEKDAY = 0b1111111
EVERY_DAY = (1 << 32) - 2
EVERY_HOUR = (1 << 24) - 1
EVERY_MINUTE = (1 << 60) - 1
FIRST_YEAR, LAST_YEAR = 10, 9990
_CYCLE_YEARS = 400  # after which dates fall on the same weekdays again
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIVE_WEEKS = 0b1_0000001_0000001_0000001_0000001


def days_of_month(expr: Expression, year: int, month: int) -> int:
    """Return the days of a month that match, as a bit set (bit 1 = the 1st)."""
    if not expr.months >> month & 1:
        return 0
    length, first = month_length(year, month), date(year, month, 1).isoweekday() % 7
    days = expr.days | _ruled(expr.day_rules, length, first)
    weekdays = _days_on(expr.weekdays, first) | _ruled(expr.weekday_rules, length, first)
    matching = days | weekdays if expr.either_day else days & weekdays
    return matching & (2 << length) - 2


def month_length(year: int, month: int) -> int:
    """Return how many days a month has."""
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _LENGTHS[month - 1] + leap


def _days_on(weekdays: int, first: int) -> int:
    """Return the days of a month that starts on weekday `first` and fall on one of `weekdays`."""
    week = (weekdays >> first | weekdays << 7 - first) & EVERY_WEEKDAY
    return week * _FIVE_WEEKS << 1


def _ruled(rules: tuple[DayRule, ...], length: int, first: int) -> int:
    bits = 0
    for rule in rules:
        day = _ruled_day(rule, length, first)
        if 1 <= day <= length:
            bits |= 1 << day
    return bits


def _ruled_day(rule: DayRule, length: int, first: int) -> int:
    """Return the day that a rule means in a month of this length and first weekday; it may lie outside."""
    if isinstance(rule, LastDay):
        day = length - rule.back
        return _nearest_working_day(day, length, first) if rule.working else day
    if isinstance(rule, NearestWorkingDay):
        return _nearest_working_day(rule.day, length, first)
    earliest = 1 + (rule.weekday - first) % 7
    if rule.nth:
        return earliest + 7 * (rule.nth - 1)
    return earliest + (length - earliest) // 7 * 7


def _nearest_working_day(day: int, length: int, first: int) -> int:
    """Return `day`, or the Friday or Monday next to it, or the other one where that is in another month."""
    if not 1 <= day <= length:
        return 0
    weekday = (first + day - 1) % 7
    if weekday == SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def wall_at_or_after(expr: Expression, wall: datetime) -> datetime | None:
    """Return the first matching wall-clock time that is not before `wall` (whole seconds), None if none is."""
    if not has_times(expr):
        return None
    if FIRST_YEAR <= wall.year <= LAST_YEAR and _matches_day(expr, wall):
        clock = _clock_from(expr, wall.hour, wall.minute, wall.second)
        if clock:
            return datetime.combine(wall, clock)
    day = _day_after(expr, wall)
    first = time(_lowest(expr.hours), _lowest(expr.minutes), _lowest(expr.seconds))
    return datetime.combine(day, first) if day else None


def wall_at_or_before(expr: Expression, wall: datetime) -> datetime | None:
    """Return the last matching wall-clock time that is not after `wall` (whole seconds), None if none is."""
    if not has_times(expr):
        return None
    if FIRST_YEAR <= wall.year <= LAST_YEAR and _matches_day(expr, wall):
        clock = _clock_until(expr, wall.hour, wall.minute, wall.second)
        if clock:
            return datetime.combine(wall, clock)
    day = _day_before(expr, wall)
    last = time(_highest(expr.hours), _highest(expr.minutes), _highest(expr.seconds))
    return datetime.combine(day, last) if day else None


def has_times(expr: Expression) -> bool:
    """Return whether there is a time of day that matches (Debian's cron takes ranges that are empty)."""
    return bool(expr.seconds and expr.minutes and expr.hours)


def matches(expr: Expression, wall: datetime) -> bool:
    """Return whether this wall-clock time matches (microseconds do not count)."""
    in_day = expr.hours >> wall.hour & expr.minutes >> wall.minute & expr.seconds >> wall.second & 1
    return bool(in_day) and _matches_day(expr, wall)


def _matches_day(expr: Expression, day: date) -> bool:
    return bool(days_of_month(expr, day.year, day.month) >> day.day & 1)


def _day_after(expr: Expression, day: date) -> date | None:
    later = days_of_month(expr, day.year, day.month) >> day.day + 1 << day.day + 1
    if later and FIRST_YEAR <= day.year <= LAST_YEAR:
        return date(day.year, day.month, _lowest(later))
    for year in range(max(day.year, FIRST_YEAR), min(day.year + _CYCLE_YEARS, LAST_YEAR) + 1):
        for month in range(day.month + 1 if year == day.year else 1, 13):
            if days := days_of_month(expr, year, month):
                return date(year, month, _lowest(days))
    return None


def _day_before(expr: Expression, day: date) -> date | None:
    earlier = days_of_month(expr, day.year, day.month) & (1 << day.day) - 1
    if earlier and FIRST_YEAR <= day.year <= LAST_YEAR:
        return date(day.year, day.month, _highest(earlier))
    for year in range(min(day.year, LAST_YEAR), max(day.year - _CYCLE_YEARS, FIRST_YEAR) - 1, -1):
        for month in range(day.month - 1 if year == day.year else 12, 0, -1):
            if days := days_of_month(expr, year, month):
                return date(year, month, _highest(days))
    return None


def _clock_from(expr: Expression, hour: int, minute: int, second: int) -> time | None:
    """Return the first matching time of day that is not before this one."""
    if expr.hours >> hour & 1:
        if expr.minutes >> minute & 1 and (seconds := expr.seconds >> second << second):
            return time(hour, minute, _lowest(seconds))
        if minutes := expr.minutes >> minute + 1 << minute + 1:
            return time(hour, _lowest(minutes), _lowest(expr.seconds))
    if hours := expr.hours >> hour + 1 << hour + 1:
        return time(_lowest(hours), _lowest(expr.minutes), _lowest(expr.seconds))
    return None


def _clock_until(expr: Expression, hour: int, minute: int, second: int) -> time | None:
    """Return the last matching time of day that is not after this one."""
    if expr.hours >> hour & 1:
        if expr.minutes >> minute & 1 and (seconds := expr.seconds & (2 << second) - 1):
            return time(hour, minute, _highest(seconds))
        if minutes := expr.minutes & (1 << minute) - 1:
            return time(hour, _highest(minutes), _highest(expr.seconds))
    if hours := expr.hours & (1 << hour) - 1:
        return time(_highest(hours), _highest(expr.minutes), _highest(expr.seconds))
    return None


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _highest(bits: int) -> int:
    return bits.bit_length() - 1
