"""Lines of logs: which of them are new enough, told from the time at their beginning if there is one."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo

from shiftboss.core.errors import UserError

# [2026-11-23 20:00:00] …, 2026-11-23T20:00:00+00:00 …, 2026-11-23 20:00:00,123 …
_STAMP = re.compile(r"^\[?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)?")
_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d)(?:\s+ago)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_since(text: str, now: datetime) -> datetime:
    """Read `10m`, `2h`, `3d` (ago), `HH:MM` (the last time it was that) or an ISO time.

    Raises UserError if it is none of them.
    """
    try:
        if ago := _AGO.fullmatch(text.strip()):
            past = now.astimezone(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
            return past.astimezone(now.tzinfo)
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
            return _last_time(time.fromisoformat(text), now)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UserError(
            f"{text[:40]!r} is not a time", hint="Write 10m, 2h, 3d, 14:30 or 2026-11-23T14:30."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def _last_time(clock: time, now: datetime) -> datetime:
    """Return when a clock on the wall showed this last; in the night in which it goes back it may have done so twice."""
    days = (now.date(), now.date() - timedelta(days=1))
    found = [datetime.combine(day, clock.replace(fold=fold), now.tzinfo) for day in days for fold in (1, 0)]
    return next((moment for moment in found if moment.astimezone(UTC) <= now.astimezone(UTC)), found[-1])


_NOT_SHOWN = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x80-\x9f]")


def harmless(line: str) -> str:
    """Return a line as it may be sent to a terminal: colours stay, everything else that controls it goes."""
    return _NOT_SHOWN.sub("", line)


def stamp(line: str, zone: tzinfo | None) -> datetime | None:
    """Return the time at the beginning of a line (in `zone` if it names none), None if there is none."""
    found = _STAMP.match(line)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(found[1] + (found[2] or ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def last_of(lines: Sequence[str], count: int) -> Sequence[str]:
    """Return the last lines, at most `count`."""
    return lines[-count:] if count else ()


def lines_since(lines: Sequence[str], moment: datetime, timeless: int) -> Sequence[str]:
    """Return the lines from the first one that is not older; a line without a time belongs to the one before.

    If no line tells its time, the last `timeless` of them.
    """
    stamps = [stamp(line, moment.tzinfo) for line in lines]
    if not any(stamps):
        return last_of(lines, timeless)
    for number, found in enumerate(stamps):
        if found is not None and found >= moment:
            return lines[number:]
    return ()
