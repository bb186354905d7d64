"""Everything that can be said of a cron expression: words, next times, what its daemon would really do."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from shiftboss.core.cron import Finding, parse
from shiftboss.core.cron_dst import dst_notes
from shiftboss.core.cron_lint import lint
from shiftboss.core.cron_text import describe
from shiftboss.core.cron_times import times
from shiftboss.core.errors import UserError
from shiftboss.core.every import duration_text, next_instant, parse_duration
from shiftboss.core.spec import DstPolicy

_HASH = re.compile(r"(?<![A-Za-z])H(?![A-Za-z])")
_OF_THE_NAME = Finding(
    "hash",
    "H stands for a value that the name of the schedule decides: these times are an example, those of a schedule are told"
    " by shiftboss next",
    fatal=False,
)


class Explanation(Struct, frozen=True):
    """An expression explained; `error` says why it is not valid (or would never run), empty if it is fine."""

    text: str
    next: tuple[datetime, ...]
    lint: tuple[Finding, ...]
    error: str = ""

    @property
    def valid(self) -> bool:
        """Tell whether this expression may be written for its target."""
        return not self.error


def known_zone(name: str) -> ZoneInfo:
    """Return an IANA time zone; raise UserError if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            f"unknown time zone {name[:60]!r}", hint="Use an IANA name such as Europe/Riga or UTC."
        ) from None


def explain(
    text: str, dialect: str, zone: ZoneInfo, after: datetime, count: int, dst: DstPolicy = "debian"
) -> Explanation:
    """Return what `text` means to the cron called `dialect`, and its next `count` times after `after`.

    The dialect `native` reads intervals, too: `every 90s`.
    """
    if dialect == "native" and text.startswith("every "):
        return _explain_interval(text.removeprefix("every "), zone, after, count)
    try:
        expression = parse(text, dialect)
    except UserError as error:
        return Explanation("", (), (), f"{error.message}. {error.hint}".removesuffix(". "))
    findings = lint(text, dialect)
    fatal = [finding.message for finding in findings if finding.fatal]
    notes = tuple(
        Finding(f"dst-{note.kind}", note.message, fatal=False)
        for note in dst_notes(expression, zone, after, dst)
    )
    if _HASH.search(text):
        notes = (_OF_THE_NAME, *notes)
    return Explanation(
        describe(expression),
        tuple(times(expression, after, zone, count, dst)),
        (*findings, *notes),
        fatal[0] if fatal else "",
    )


def _explain_interval(text: str, zone: ZoneInfo, after: datetime, count: int) -> Explanation:
    try:
        seconds = parse_duration(text)
    except UserError as error:
        return Explanation("", (), (), f"{error.message}. {error.hint}".removesuffix(". "))
    moments, moment = [], after.timestamp()
    for _ in range(count):
        moment = next_instant(seconds, moment)
        moments.append(datetime.fromtimestamp(moment, zone))
    words = f"every {duration_text(seconds)}, counted from a Monday midnight in UTC"
    return Explanation(words, tuple(moments), ())
