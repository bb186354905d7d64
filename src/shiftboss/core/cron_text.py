"""A cron expression in plain English, made from what it matches and not from how it is written."""

from collections.abc import Sequence
from datetime import date, datetime, time
from itertools import pairwise

from shiftboss.core.cron import Expression
from shiftboss.core.cron_calendar import EVERY_DAY, EVERY_WEEKDAY, month_length, wall_at_or_after
from shiftboss.core.cron_fields import DayRule, LastDay, NearestWorkingDay

WEEKDAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_ORDINAL_ENDINGS = {1: "st", 2: "nd", 3: "rd"}  # codespell:ignore nd
_NTH_WORDS = ("last", "first", "second", "third", "fourth", "fifth")
_MONDAY_FIRST = (1, 2, 3, 4, 5, 6, 0)
_SOME_LEAP_YEAR = datetime.combine(date(2000, 1, 1), time())
_MOST_TIMES = 6  # as many times of day are named one by one


def describe(expr: Expression) -> str:
    """Return in plain English when `expr` runs: `at 02:30 on Monday to Friday`. Never raises."""
    if expr.at_reboot:
        return "once after each start of the machine"
    if reason := never_reason(expr):
        return f"never runs: {reason}"
    if names_either_day(expr):
        time_text = _time_text(expr)
        return f"{day_text(expr)}{', ' if time_text.startswith('every') else ' '}{time_text}"
    return f"{_time_text(expr)} {day_text(expr)}".rstrip()


def never_reason(expr: Expression) -> str:
    """Return why `expr` matches no time at all, an empty string if it matches one (or is @reboot)."""
    if expr.at_reboot:
        return ""
    fields = {"second": expr.seconds, "minute": expr.minutes, "hour": expr.hours, "month": expr.months}
    for name, bits in fields.items():
        if not bits:
            return f"no {name} matches"
    return "" if wall_at_or_after(expr, _SOME_LEAP_YEAR) else _no_date(expr)


def _no_date(expr: Expression) -> str:
    """Say why no date matches: a day that the months do not have, or two conditions that never meet."""
    if not (expr.weekdays or expr.weekday_rules):
        return "no day of week matches"
    if not (expr.days or expr.day_rules):
        return "no day of month matches"
    months = values(expr.months)
    nearest = [rule.day for rule in expr.day_rules if isinstance(rule, NearestWorkingDay)]
    first = min([*values(expr.days), *nearest], default=0)
    if first > max(month_length(_SOME_LEAP_YEAR.year, month) for month in months):
        have = "has" if len(months) == 1 else "have"
        return f"{_month_list(months)} {have} no {ordinal(first)}"
    return "no date matches"


# The day: "on the 1st of every month", "every Monday in May", "on the 1st or every Monday"


def day_text(expr: Expression) -> str:
    """Return on which days `expr` runs, an empty string for every day."""
    every_weekday = expr.weekdays == EVERY_WEEKDAY
    every_day = expr.days == EVERY_DAY
    if (every_day or every_weekday) if expr.either_day else (every_day and every_weekday):
        return _in_months(expr)
    if expr.either_day:
        return f"{_date_text(expr, of='')} or {_weekday_text(expr, of='')}{_in_months(expr, before=' ')}"
    if every_weekday:
        return _date_text(expr, of=_of_months(expr)) + _leap_years_only(expr)
    if every_day:
        of_months = bool(expr.weekday_rules)
        text = _weekday_text(expr, of=_of_months(expr) if of_months else "")
        return text if of_months else text + _in_months(expr, before=" ")
    return f"{_date_text(expr, of=_of_months(expr))}, if it is {_weekday_condition(expr)}"


def names_either_day(expr: Expression) -> bool:
    """Return whether a day of month *or* a day of week decides, and each of them alone says less."""
    whole = expr.days == EVERY_DAY or expr.weekdays == EVERY_WEEKDAY
    return expr.either_day and not whole


def _date_text(expr: Expression, of: str) -> str:
    parts = [] if not expr.days else [_day_list(values(expr.days))]
    parts += [_rule_text(rule) for rule in expr.day_rules]
    return f"on {listed(parts)}{of}"


def _day_list(days: Sequence[int]) -> str:
    if (step := _step(days)) > 1 and days[0] <= step and days[-1] + step > 31:
        return f"every {ordinal(step)} day from the {ordinal(days[0])}"
    return f"the {_spans([ordinal(day) for day in days], days)}"


def _weekday_text(expr: Expression, of: str) -> str:
    parts = [_rule_text(rule) for rule in expr.weekday_rules]
    days = [day for day in _MONDAY_FIRST if expr.weekdays >> day & 1]
    names = _spans([WEEKDAY_NAMES[day] for day in days], [_MONDAY_FIRST.index(day) for day in days])
    if parts:
        return f"on {listed([*([f'every {names}'] if names else []), *parts])}{of}"
    return f"on {names}" if " to " in names else f"every {names}"


def _weekday_condition(expr: Expression) -> str:
    days = [f"a {WEEKDAY_NAMES[day]}" for day in _MONDAY_FIRST if expr.weekdays >> day & 1]
    return listed([*days, *(_rule_text(rule) for rule in expr.weekday_rules)], "or")


def _rule_text(rule: DayRule) -> str:
    if isinstance(rule, NearestWorkingDay):
        return f"the working day nearest the {ordinal(rule.day)}"
    if not isinstance(rule, LastDay):
        return f"the {_NTH_WORDS[rule.nth]} {WEEKDAY_NAMES[rule.weekday]}"
    if not rule.back:
        return "the last working day" if rule.working else "the last day"
    days = "the day before the last" if rule.back == 1 else f"the {ordinal(rule.back)} day before the last"
    return f"the working day nearest {days}" if rule.working else days


def _of_months(expr: Expression) -> str:
    months = values(expr.months)
    return " of every month" if len(months) == len(MONTH_NAMES) else f" of {_month_list(months)}"


def _in_months(expr: Expression, before: str = "") -> str:
    months = values(expr.months)
    return "" if len(months) == len(MONTH_NAMES) else f"{before}in {_month_list(months)}"


def _month_list(months: Sequence[int]) -> str:
    return _spans([MONTH_NAMES[month - 1] for month in months], months)


def _leap_years_only(expr: Expression) -> str:
    only_29 = expr.months == 1 << 2 and not expr.day_rules and expr.days & ((1 << 29) - 1) == 0
    return " (leap years only)" if only_29 else ""


# The time: "every 5 minutes", "at 02:00 and 14:00", "every hour from 09:00 to 17:00"


def _time_text(expr: Expression) -> str:
    clock = _clock_text(values(expr.hours), values(expr.minutes))
    seconds = values(expr.seconds)
    if seconds == [0]:
        return clock
    if len(seconds) == 1 and clock.startswith("at ") and "past" not in clock:
        return _times_text(values(expr.hours), values(expr.minutes), f":{seconds[0]:02}")
    text = _seconds_text(seconds)
    if clock == "every minute":
        return text if text.startswith("every") else f"{text} of every minute"
    return f"{text} for one minute, {clock}" if text.startswith("every") else f"{text}, {clock}"


def _seconds_text(seconds: Sequence[int]) -> str:
    if step := _round_step(seconds, 60):
        return _every(step, "second")
    if len(seconds) == 1:
        return f"at second {seconds[0]}"
    return f"at seconds {_spans([str(second) for second in seconds], seconds)}"


def _clock_text(hours: Sequence[int], minutes: Sequence[int]) -> str:
    if len(hours) == 24:
        return _minutes_text(minutes, "every hour")
    if len(minutes) == 1 and len(hours) > 2 and (text := _hours_text(hours, f"{minutes[0]:02}")):
        return text
    if len(hours) * len(minutes) <= _MOST_TIMES:
        return _times_text(hours, minutes)
    if (step := _round_step(minutes, 60)) and hours[-1] - hours[0] == len(hours) - 1:
        return f"{_every(step, 'minute')} from {hours[0]:02}:00 to {hours[-1]:02}:{minutes[-1]:02}"
    return _minutes_text(minutes, f"the hours {_spans([f'{hour:02}' for hour in hours], hours)}")


def _minutes_text(minutes: Sequence[int], hours: str) -> str:
    """Return minutes that are the same in each of `hours` ("every hour", "the hours 3 and 4")."""
    whole_day = hours == "every hour"
    if step := _round_step(minutes, 60):
        return _every(step, "minute") + ("" if whole_day else f" of {hours}")
    if minutes == [0] and whole_day:
        return "every hour"
    step = _step(minutes)
    if step == 1:
        return f"every minute from :{minutes[0]:02} to :{minutes[-1]:02} of {hours}"
    if step > 1 and minutes[0] == 0 and minutes[-1] + step > 59:
        return f"every {step} minutes from the start of {'each hour' if whole_day else hours}"
    past = "1 minute" if minutes == [1] else f"{_spans([str(m) for m in minutes], minutes)} minutes"
    return f"at {past} past {hours}"


def _hours_text(hours: Sequence[int], minute: str) -> str:
    """Return hours at regular intervals with one minute, an empty string if they are not regular."""
    if (step := _round_step(hours, 24)) and minute == "00":
        return _every(step, "hour")
    if step := _step(hours):
        return f"{_every(step, 'hour')} from {hours[0]:02}:{minute} to {hours[-1]:02}:{minute}"
    return ""


def _times_text(hours: Sequence[int], minutes: Sequence[int], second: str = "") -> str:
    return f"at {listed([f'{hour:02}:{minute:02}{second}' for hour in hours for minute in minutes])}"


# Words


def values(bits: int) -> list[int]:
    """Return the members of a bit set in ascending order."""
    return [value for value in range(bits.bit_length()) if bits >> value & 1]


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`."""
    if number // 10 % 10 == 1:
        return f"{number}th"
    return f"{number}{_ORDINAL_ENDINGS.get(number % 10, 'th')}"


def _every(step: int, unit: str) -> str:
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _step(numbers: Sequence[int]) -> int:
    """Return the common distance of three or more numbers (two can be a coincidence), else 0."""
    distances = {after - before for before, after in pairwise(numbers)}
    return distances.pop() if len(distances) == 1 and len(numbers) > 2 else 0


def _round_step(numbers: Sequence[int], size: int) -> int:
    """Return the step if numbers go all round a clock of `size` in even steps that start at 0, else 0."""
    step = size // len(numbers)
    return step if len(numbers) > 1 and list(numbers) == list(range(0, size, step)) else 0


def _spans(names: Sequence[str], numbers: Sequence[int]) -> str:
    """List names; three or more with consecutive numbers become `first to last`."""
    parts: list[str] = []
    start = 0
    for end in range(1, len(numbers) + 1):
        if end < len(numbers) and numbers[end] == numbers[end - 1] + 1:
            continue
        parts += [f"{names[start]} to {names[end - 1]}"] if end - start > 2 else names[start:end]
        start = end
    return listed(parts)


def listed(parts: Sequence[str], word: str = "and") -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
