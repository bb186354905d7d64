"""Names and addresses: `myapp`, `myapp/queue`, `myapp/queue:2`, checked before they reach a path or a file."""

import re
from collections.abc import Iterable

from msgspec import Struct

from shiftboss.core.errors import UserError

# useradd(8) stops at 32 characters and a Unix user is made from a project's name
NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,26}"
_NAME = re.compile(NAME_PATTERN)
_SHOWN = 40


def check_name(name: str, what: str) -> str:
    """Return `name` if it is a legal name of a `what` ("project", "worker", …), else raise UserError."""
    if _NAME.fullmatch(name):
        return name
    if not name:
        raise UserError(f"the {what} name is empty", hint=_rule())
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}… ({len(name)} characters)"
    raise UserError(f"{shown!r} is not a {what} name", hint=_rule())


def _rule() -> str:
    return "A name has 1 to 27 characters: a-z, 0-9, - and _, and starts with a letter or a digit."


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` if something known is near `word`, else an empty string."""
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


class Target(Struct, frozen=True):
    """What a command is about: a project, one of its units, or one process (numbered from 1) of a worker."""

    project: str
    unit: str | None = None
    process: int | None = None

    def __str__(self) -> str:
        text = self.project
        if self.unit is not None:
            text += f"/{self.unit}"
        return text if self.process is None else f"{text}:{self.process}"


def parse_target(text: str) -> Target:
    """Read `project`, `project/unit` or `project/unit:process`; raise UserError if it is none of them."""
    path, colon, number = text.partition(":")
    project, slash, unit = path.partition("/")
    check_name(project, "project")
    if slash:
        check_name(unit, "worker or schedule")
    if not colon:
        return Target(project, unit if slash else None)
    if not slash or not (number.isascii() and number.isdigit()) or not 1 <= int(number[:6]) <= 9999:
        raise UserError(
            f"{text[:80]!r} is not a target",
            hint="Write myapp, myapp/queue or myapp/queue:2 (processes count from 1).",
        )
    return Target(project, unit, int(number))


def address(project: str, unit: str, process: int | None = None) -> str:
    """Return the address of a unit or of one of its processes, as users see it."""
    return str(Target(project, unit, process))
