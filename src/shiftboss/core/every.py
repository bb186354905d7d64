"""Regular intervals: `every = "90s"`. The instants are counted from one fixed anchor, never from a start.

So next and previous are pure functions of the instant: no restart, no missed run and no clock step moves
them. The anchor is a Monday midnight in UTC: `1h` means each full hour, `1d` midnight UTC, `7d` Mondays.
"""

import re
from math import ceil, floor

from shiftboss.core.errors import UserError

ANCHOR = 345_600
"""Monday 1970-01-05 00:00 UTC, in seconds since the epoch."""
LONGEST_SECONDS = 366 * 86_400
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = "".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS)
_NAMES = (("d", "day"), ("h", "hour"), ("m", "minute"), ("s", "second"))


def parse_duration(text: str) -> int:
    """Return the seconds of `90s`, `5m`, `1h30m` or `2d`; largest unit first, each at most once.

    Raises:
        UserError: it is no such text, is 0, or is longer than a year.
    """
    words = text.replace(" ", "")
    found = re.fullmatch(_DURATION, words)
    hint = 'Write whole numbers with s, m, h or d, the largest first: "90s", "5m", "1h30m".'
    if not words or not found:
        raise UserError(f"{text[:40]!r} is not a length of time", hint=hint)
    seconds = sum(int(found[unit] or 0) * size for unit, size in _UNITS.items())
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise UserError(f"{text[:40]!r} is not between 1 second and 366 days", hint=hint)
    return seconds


def next_instant(seconds: int, after: float) -> int:
    """Return the first instant of this interval that is strictly later than `after` (seconds, UTC)."""
    return ANCHOR + ((floor(after) - ANCHOR) // seconds + 1) * seconds


def previous_instant(seconds: int, before: float) -> int:
    """Return the last instant of this interval that is strictly earlier than `before` (seconds, UTC)."""
    return ANCHOR + ((ceil(before) - 1 - ANCHOR) // seconds) * seconds


def duration_text(seconds: int) -> str:
    """Return an interval in words: `90 seconds`, `1 hour 30 minutes`, `1 day`."""
    if seconds < 120:
        return _counted(seconds, "second")
    parts, rest = [], seconds
    for unit, name in _NAMES:
        count, rest = divmod(rest, _UNITS[unit])
        parts += [_counted(count, name)] if count else []
    return " ".join(parts)


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
