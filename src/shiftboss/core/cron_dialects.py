"""The dialects of cron as data: the six fields, the nicknames, and what each program does with a text."""

from typing import NamedTuple

from msgspec import Struct

from shiftboss.core.errors import UserError
from shiftboss.core.names import suggest


class Field(NamedTuple):
    """One field of an expression: its name in messages, its bounds, and the names that stand for numbers."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day of month", 1, 31)
MONTH = Field(
    "month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
)
WEEKDAY = Field("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
FIELDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)

REBOOT = "@reboot"
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The nicknames of crontab(5), lower case as every daemon wants them; @reboot is not a time."""


class Dialect(Struct, frozen=True):
    """What one cron makes of a text; `program` is its name in messages.

    Sources: for Debian's cron 3.0pl1-162 the answers of `crontab -n` and the starts of the daemon, for
    cronie 1.7 its entry.c.
    """

    name: str
    program: str
    field_counts: tuple[int, ...] = (5,)
    extensions: bool = False
    """L, W, # and H mean something."""
    refuses_reversed: bool = False
    """If not, a range such as 50-10 is taken silently and matches nothing."""
    checks_ends: bool = True
    """Both ends of a range must be legal values, even one that no step reaches (5-60/60)."""
    zero_ends_range: tuple[Field, ...] = ()
    """Fields in which x-0 is read as x-7, which makes sense for the day of week."""
    zero_ends_steps: bool = False
    """So is x-0/n."""
    skips_tail: bool = False
    """What follows a complete item is skipped silently up to the next field: 1#1 is 1."""
    wraps_numbers: bool = False
    """Numbers overflow like a C int: 4294967301 is 5."""
    bursts: bool = False
    """Fixed times that a clock change skips are all started at once, one process for each of them."""


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "native",
            "shiftboss",
            field_counts=(5, 6),
            extensions=True,
            refuses_reversed=True,
            zero_ends_range=(WEEKDAY,),
            zero_ends_steps=True,
        ),
        Dialect(
            "debian",
            "Debian's cron",
            skips_tail=True,
            wraps_numbers=True,
            bursts=True,
        ),
        Dialect(
            "cronie",
            "cronie",
            checks_ends=False,
            zero_ends_range=FIELDS,
            wraps_numbers=True,
            bursts=True,
        ),
    )
}


def find_dialect(name: str) -> Dialect:
    """Return the dialect called `native`, `debian` or `cronie`; raise UserError for another name."""
    if name not in DIALECTS:
        hint = f"The dialects are {', '.join(DIALECTS)}."
        raise UserError(f"{name!r} is not a cron dialect{suggest(name, DIALECTS)}", hint=hint)
    return DIALECTS[name]
