"""Cron expressions: a text, read as one cron reads it, becomes an expression of frozen bit sets.

No date, zone or clock in here: see `cron_calendar` (which days and times match), `cron_times` (next and
previous instants), `cron_lint` (what a daemon would really do) and `cron_text` (plain English).
"""

import re
from dataclasses import dataclass, field

from shiftboss.core.cron_dialects import FIELDS, NICKNAMES, REBOOT, WEEKDAY, Dialect, find_dialect
from shiftboss.core.cron_fields import DayRule, Finding, Values, read_field
from shiftboss.core.errors import UserError
from shiftboss.core.names import suggest

__all__ = ["Expression", "Finding", "parse"]

_LONGEST = 1000  # crontab(1) refuses longer lines
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TIME_ZONE = re.compile(r"(CRON_)?TZ=")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: a bit set for each field (bit n = value n matches; Sunday is bit 0 only).

    A day matches if both day fields match, with `either_day` if one of them does. `follows_wall_clock` tells
    the wildcard jobs of cron(8) from the fixed-time ones; it matters when clocks are changed. `findings`
    are what the parser found odd; `cron_lint.lint` knows more.
    """

    text: str
    dialect: str
    seconds: int = 1
    minutes: int = 0
    hours: int = 0
    days: int = 0
    months: int = 0
    weekdays: int = 0
    day_rules: tuple[DayRule, ...] = ()
    weekday_rules: tuple[DayRule, ...] = ()
    either_day: bool = False
    follows_wall_clock: bool = False
    at_reboot: bool = False
    findings: tuple[Finding, ...] = field(default=(), compare=False)


def parse(text: str, dialect: str = "native", key: str = "") -> Expression:
    """Return `text` as the cron called `dialect` (`native`, `debian` or `cronie`) reads it.

    For a daemon this is what it really does, which is not always what the text says: ask `cron_lint.lint`
    before you write one. `key` (the address of the schedule) decides the values of `H`.

    Raises:
        UserError: that cron refuses the text; or it would take it, but it has no meaning outside of it
            (control characters; the random values of cronie's `~`).
    """
    rules = find_dialect(dialect)
    shown = _checked(text).strip(" \t")
    if shown == REBOOT:
        return Expression(shown, rules.name, at_reboot=True)
    words = _words(shown, rules)
    read = [read_field(word, field, rules, key) for field, word in zip(FIELDS, words, strict=True)]
    return _assemble(shown, rules, words, read)


def _checked(text: str) -> str:
    if found := _FORBIDDEN.search(text):
        hint = "Write it on one line, and save files with Unix line ends."
        raise UserError(f"the cron expression contains a control character ({found[0]!r})", hint=hint)
    if len(text) > _LONGEST:
        raise UserError(f"the cron expression is longer than {_LONGEST} characters")
    return text


def _words(text: str, dialect: Dialect) -> list[str]:
    """Return the texts of the six fields; without a field of seconds that is 0."""
    if _TIME_ZONE.match(text):
        hint = "Give the schedule a timezone of its own; crons that do not know it take it for a variable."
        raise UserError("a time zone is not part of a cron expression", hint=hint)
    words = re.split(r"[ \t]+", _spelled_out(text)) if text else []
    if len(words) not in dialect.field_counts:
        raise _wrong_count(len(words), dialect)
    return words if len(words) == len(FIELDS) else ["0", *words]


def _spelled_out(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text in NICKNAMES:
        return NICKNAMES[text]
    known = (*NICKNAMES, REBOOT)
    hint = f"There are {', '.join(known)}; every 5 minutes is */5 * * * *."
    raise UserError(f"{text!r} is not a nickname of a time{suggest(text.lower(), known)}", hint=hint)


def _wrong_count(count: int, dialect: Dialect) -> UserError:
    hint = "Write minute, hour, day of month, month, day of week: 30 2 * * 1-5 is 02:30 on Monday to Friday."
    if len(FIELDS) in dialect.field_counts:
        hint += " Six fields start with the second."
    expected = " or ".join(str(number) for number in dialect.field_counts)
    fields = "1 field" if count == 1 else f"{count} fields"
    return UserError(f"the cron expression has {fields}, but {dialect.program} takes {expected}", hint=hint)


def _assemble(text: str, dialect: Dialect, words: list[str], read: list[Values]) -> Expression:
    second, minute, hour, day, month, weekday = read
    # crontab(5) says "restricted", cron(8) says "wildcard": what counts for both is the first character
    starred = [word.startswith("*") for word in words]
    return Expression(
        text,
        dialect.name,
        seconds=second.bits,
        minutes=minute.bits,
        hours=hour.bits,
        days=day.bits,
        months=month.bits,
        weekdays=(weekday.bits | weekday.bits >> WEEKDAY.high) & ((1 << WEEKDAY.high) - 1),
        day_rules=day.rules,
        weekday_rules=weekday.rules,
        either_day=not (starred[3] or starred[5]),
        follows_wall_clock=starred[1] or starred[2],
        findings=tuple(finding for values in read for finding in values.findings),
    )
