"""Text of a system crontab, read by the rules of Debian's cron 3.0pl1-162 (what it does, not what it promises).

Every rule was seen on the real daemon or on `crontab -n`: the whole file is ignored for one bad line, one
unknown user or a missing last newline; a command may have 998 bytes; `%` ends the command. Whether the five
time fields make sense is not looked at here: `core.cron` knows.
"""

import re
from collections.abc import Collection, Iterator

from msgspec import Struct

from shiftboss.core.errors import UserError

MAX_COMMAND_BYTES = 998
MAX_VARIABLE_BYTES = 998  # of the whole line; an unquoted value would be cut without a word beyond 999
MAX_LINES = 10_000  # crontab(1) refuses more
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_JOB = re.compile(r"(?P<when>@[a-z]+|\S+(?:[ \t]+\S+){4})[ \t]+(?P<user>\S+)[ \t]+(?P<command>.*)", re.ASCII)
_VARIABLE = re.compile(
    r"""(?P<name>"[^"=]*"|'[^'=]*'|[^\s='"][^\s=]*)\s*=\s*(?P<value>"[^"]*"|'[^']*'|[^\s'"].*?)\s*""",
    re.ASCII,
)
_HINT = "Put the command into a script of the project and schedule that script."

Variables = tuple[tuple[str, str], ...]


class Job(Struct, frozen=True):
    """One job as cron would run it: `command` is what the shell gets, `stdin` what it can read."""

    when: str
    user: str
    command: str
    stdin: str
    environment: Variables


def is_crontab_name(name: str) -> bool:
    """Tell whether cron looks at a file of this name in its cron.d directory (cron(8), without -l)."""
    return _FILE_NAME.fullmatch(name) is not None


def read_crontab(text: str, users: Collection[str]) -> tuple[Job, ...]:
    """Return the jobs of a file in cron.d; raise UserError where cron would ignore the file or cut a line."""
    _check_whole(text)
    jobs: list[Job] = []
    environment: dict[str, str] = {}
    for number, line in _lines(text):
        variable = read_variable(line)
        if variable is not None:
            _limit(number, "variable", line, MAX_VARIABLE_BYTES)
            environment[variable[0]] = variable[1]
        else:
            jobs.append(_read_job(number, line, users, tuple(environment.items())))
    return tuple(jobs)


def read_variable(line: str) -> tuple[str, str] | None:
    """Return name and value of an environment line, None if cron would not take the line for one.

    A name or a value may be quoted as a whole, by ' or "; there is no escape, nothing is expanded.
    """
    found = _VARIABLE.fullmatch(line)
    if found is None:
        return None
    name, value = (_unquoted(found[part]) for part in ("name", "value"))
    return name, value


def split_percent(field: str) -> tuple[str, str]:
    r"""Return what the shell gets and what its standard input holds, from the command field of a line.

    The first unescaped `%` ends the command, each further one is a newline; `\%` is a percent sign. Debian's
    cron also turns `\\` into `\`, cronie does not (both seen in their `do_command.c` or in action).
    """
    command, _, stdin = _unescaped(field, stop="\0").partition("\0")
    return command, stdin


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] in "\"'" else text


def _unescaped(field: str, stop: str) -> str:
    out: list[str] = []
    characters = iter(field)
    for character in characters:
        if character == "\\":
            after = next(characters, "")
            out.append(after if after in {"%", "\\"} else character + after)
        elif character == "%":
            out.append(stop)
            stop = "\n"
        else:
            out.append(character)
    return "".join(out)


def _check_whole(text: str) -> None:
    found = re.search(r"[\r\x00]", text)
    if found:
        raise UserError(f"a crontab cannot hold the character {found.group()!r}", hint=_HINT)
    if not text.endswith("\n"):
        raise UserError(
            "the crontab has no newline at its end, so cron would ignore it",
            hint="End the last line with a newline.",
        )
    if text.count("\n") > MAX_LINES:
        raise UserError(
            f"the crontab has more than {MAX_LINES} lines", hint="Split the project into several."
        )


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.lstrip(" \t")
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _read_job(number: int, line: str, users: Collection[str], environment: Variables) -> Job:
    found = _JOB.fullmatch(line)
    if found is None or not found["command"]:
        raise UserError(
            f"line {number} of the crontab is no job, so cron would ignore the whole file",
            hint="A job has five time fields or a nickname, a user and a command.",
        )
    if found["user"] not in users:
        raise UserError(
            f"line {number} of the crontab names user {found['user']!r}, who does not exist, so cron would ignore the whole file",
            hint="Create the user, or name an existing one in the project file.",
        )
    _limit(number, "command", found["command"], MAX_COMMAND_BYTES)
    command, stdin = split_percent(found["command"])
    return Job(found["when"], found["user"], command, stdin, environment)


def _limit(number: int, what: str, text: str, limit: int) -> None:
    size = len(text.encode())
    if size > limit:
        raise UserError(
            f"the {what} on line {number} of the crontab has {size} bytes, cron takes {limit}", hint=_HINT
        )
