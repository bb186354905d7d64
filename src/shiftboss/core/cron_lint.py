"""What a cron would accept and never run, or run otherwise than it reads: found before anything is written."""

import re
from collections.abc import Iterator

from shiftboss.core.cron import Expression, Finding, parse
from shiftboss.core.cron_calendar import EVERY_DAY, EVERY_WEEKDAY
from shiftboss.core.cron_dialects import find_dialect
from shiftboss.core.cron_text import day_text, names_either_day, never_reason
from shiftboss.core.errors import UserError

__all__ = ["Finding", "lint"]


def lint(text: str, dialect: str = "native") -> tuple[Finding, ...]:
    """Return what the cron called `dialect` would make of `text` that its writer may not expect.

    A fatal finding means that the text must not be written: it is refused (`invalid`), never runs
    (`never`), or runs at other times than it says. The others are notes. Fatal ones come first.

    Raises:
        UserError: there is no such dialect.
    """
    find_dialect(dialect)
    findings = list(_of_characters(text))
    findings += [f for f in _of_expression(text, dialect) if not (findings and f.code == "invalid")]
    return tuple(sorted(findings, key=lambda finding: not finding.fatal))


def _of_characters(text: str) -> Iterator[Finding]:
    if "\r" in text:
        yield Finding(
            "crlf", "Windows line ends: cron would hand the carriage return to the command", fatal=True
        )
    if found := re.search(r"[^\x00-\x7f]", text):
        yield Finding(
            "non-ascii", f"{found[0]!r} is not ASCII: cron does not read it as it looks", fatal=True
        )
    if re.match(r"\s*(CRON_)?TZ=", text):
        message = (
            "a time zone in front does nothing: Debian's cron takes the line for a variable and keeps its own"
            " zone; give the schedule a timezone"
        )
        yield Finding("time-zone", message, fatal=True)


def _of_expression(text: str, dialect: str) -> Iterator[Finding]:
    try:
        expr = parse(text, dialect)
    except UserError as error:
        message = f"{error.message} ({error.hint.rstrip('.')})" if error.hint else error.message
        yield Finding("invalid", message, fatal=True)
        return
    if expr.at_reboot:
        return
    yield from expr.findings
    if reason := never_reason(expr):
        yield Finding("never", f"this never runs: {reason}", fatal=True)
        return
    yield from _of_days(expr)


def _of_days(expr: Expression) -> Iterator[Finding]:
    """Tell how day of month and day of week go together (crontab(5), Note: "restricted")."""
    both = "day of month and day of week"
    if names_either_day(expr):
        message = f"{both} are both given, and one that matches is enough: {day_text(expr)}"
        yield Finding("either-day", message, fatal=False)
    elif expr.either_day:
        message = f"{both} are both given, and one of them always matches: this runs every day"
        yield Finding("every-day", message, fatal=False)
    elif expr.days != EVERY_DAY and expr.weekdays != EVERY_WEEKDAY:
        message = f"{both} must both match, because one of them starts with *: {day_text(expr)}"
        yield Finding("both-days", message, fatal=False)
