"""When a schedule is due, whatever says so: cron expression, interval, boot, or another schedule.

Instants are whole seconds since the epoch (UTC): the identity of an occurrence is its instant.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil, floor
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from shiftboss.core.cron import Expression, parse
from shiftboss.core.cron_dst import DstNote, changes
from shiftboss.core.cron_times import DstPolicy, next_time, previous_time
from shiftboss.core.errors import UserError
from shiftboss.core.every import duration_text, next_instant, parse_duration, previous_instant

# of a name that it does not find zoneinfo asks the package tzdata; an engine without root may not even look for that
NO_ZONE = (ZoneInfoNotFoundError, ValueError, OSError, ImportError)
_DAY = 86_400
_MOST_REMEMBERED = 4096


class CronTiming(Struct, frozen=True):
    """A cron expression in a time zone."""

    expression: Expression
    zone: ZoneInfo
    dst: DstPolicy = "debian"


class EveryTiming(Struct, frozen=True):
    """A regular interval of so many seconds, counted from `every.ANCHOR`."""

    seconds: int


class BootTiming(Struct, frozen=True):
    """Once after each boot of the machine."""


class AfterTiming(Struct, frozen=True):
    """After each success of another schedule (its address)."""

    address: str


class NoTiming(Struct, frozen=True):
    """Never by itself: only when somebody asks for it."""


Timing = CronTiming | EveryTiming | BootTiming | AfterTiming | NoTiming


def cron_timing(expression: Expression, zone: ZoneInfo, dst: DstPolicy = "debian") -> CronTiming | BootTiming:
    """Return the timing of an expression; @reboot is no time of the clock."""
    return BootTiming() if expression.at_reboot else CronTiming(expression, zone, dst)


def next_due(timing: Timing, after: float) -> int | None:
    """Return the first due instant strictly later than `after`; None if the clock never makes one due."""
    match timing:
        case CronTiming(expression, zone, dst):
            return _next_instant(expression, zone, dst, floor(after))
        case EveryTiming(seconds):
            return next_instant(seconds, after)
        case _:
            return None


@lru_cache(_MOST_REMEMBERED)
def _next_instant(expression: Expression, zone: ZoneInfo, dst: DstPolicy, after: int) -> int | None:
    """Return the next instant; remembered, as many schedules have the same times, and each asks several times."""
    found = next_time(expression, _moment(after), zone, dst)
    return None if found is None else int(found.timestamp())


def previous_due(timing: Timing, before: float) -> int | None:
    """Return the last due instant strictly earlier than `before`; None if there is none."""
    match timing:
        case CronTiming(expression, zone, dst):
            found = previous_time(expression, _moment(ceil(before)), zone, dst)
            return None if found is None else int(found.timestamp())
        case EveryTiming(seconds):
            return previous_instant(seconds, before)
        case _:
            return None


def _moment(seconds: float) -> datetime:
    """Return a moment; it has microseconds, so that a fraction just below a second would become that second."""
    return datetime.fromtimestamp(seconds, UTC)


def left_out(timing: Timing, after: float, until: float) -> tuple[DstNote, ...]:
    """Return the clock changes in (after, until] that take starts from this schedule, in plain words.

    Left out are wall-clock times that do not exist, those that come a second time and are not run again,
    and those for which one run stands together with another.
    """
    if not isinstance(timing, CronTiming):
        return ()
    found = changes(timing.expression, timing.zone, _moment(after), _moment(until), timing.dst)
    return tuple(note for note in found if note.loses)


def is_daily_or_rarer(timing: Timing) -> bool:
    """Tell whether it is due at most once a day."""
    match timing:
        case CronTiming(expression):
            fields = (expression.seconds, expression.minutes, expression.hours)
            return all(bits.bit_count() <= 1 for bits in fields)
        case EveryTiming(seconds):
            return seconds >= _DAY
        case _:
            return True


def follows_clock(timing: Timing) -> bool:
    """Tell whether it goes on at its pace when the clock is set back: wildcard jobs (cron(8)) and intervals."""
    match timing:
        case CronTiming(expression):
            return expression.follows_wall_clock
        case EveryTiming():
            return True
        case _:
            return False


def has_seconds(timing: Timing) -> bool:
    """Tell whether it is due at other moments than full minutes."""
    match timing:
        case CronTiming(expression):
            return expression.seconds != 1
        case EveryTiming(seconds):
            return seconds % 60 != 0
        case _:
            return False


def shortest_seconds(timing: Timing) -> int:
    """Return a lower bound of the seconds between two due instants (clock changes apart)."""
    match timing:
        case CronTiming(expression):
            for bits, unit, size in (
                (expression.seconds, 1, 60),
                (expression.minutes, 60, 60),
                (expression.hours, 3600, 24),
            ):
                if bits.bit_count() > 1:
                    return _narrowest(bits, size) * unit
            return _DAY
        case EveryTiming(seconds):
            return seconds
        case _:
            return 1


def _narrowest(bits: int, size: int) -> int:
    values = [value for value in range(size) if bits >> value & 1]
    return min(
        (after - before) % size for before, after in zip(values, [*values[1:], values[0]], strict=True)
    )


@lru_cache(_MOST_REMEMBERED)
def timing_text(timing: Timing) -> str:
    """Return the timing as a user would write it; two timings that differ have different texts."""
    match timing:
        case CronTiming(expression, zone, dst):
            rest = "" if dst == "debian" else f", dst {dst}"
            return f"{expression.text} ({zone.key}{rest})"
        case EveryTiming(seconds):
            return f"every {duration_text(seconds)}"
        case BootTiming():
            return "@reboot"
        case AfterTiming(address):
            return f"after {address}"
        case NoTiming():
            return "by hand"


_CRON_TEXT = re.compile(r"(?P<cron>.+) \((?P<zone>[^(), ]+)(?:, dst (?P<dst>debian|skip))?\)")


def timing_of_text(text: str, key: str) -> Timing | None:
    """Return the times that `timing_text` has written, for the schedule of address `key`; None for what tells no times."""
    try:
        if text.startswith("every "):
            return EveryTiming(
                parse_duration(re.sub(r"([0-9]+ [dhms])[a-z]*", r"\1", text.removeprefix("every ")))
            )
        if found := _CRON_TEXT.fullmatch(text):
            dst: DstPolicy = "skip" if found["dst"] == "skip" else "debian"
            return cron_timing(parse(found["cron"], "native", key), ZoneInfo(found["zone"]), dst)
    except (UserError, *NO_ZONE):
        return None  # written by another version, or the zone is lost
    return None
