"""Commands as words: a string is split as a shell would split it, but no shell runs it."""

import re
import shlex
from collections.abc import Sequence

from shiftboss.core.errors import UserError

SHELL = "/bin/sh"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTING = re.compile(r"['\"\\]")
_WORD = re.compile(r"[^ \t\r\n]+")
_SHELL_MEANT = ("|", ">", "<", "&&", ";", "$", "*")


def command_words(command: str | Sequence[str], *, shell: bool = False) -> tuple[str, ...]:
    """Return the argument vector of a command as a user wrote it.

    A list is taken as it is. A string is split into words; unquoted `| > < && ; $ *` in it are refused,
    because nothing would interpret them. With `shell` a string becomes `/bin/sh -c STRING`.
    Raises UserError for an empty command, control characters (newline, NUL…) or unbalanced quotes.
    """
    for word in [command] if isinstance(command, str) else command:
        _refuse_control_characters(word)
    if shell:
        line = command if isinstance(command, str) else shlex.join(command)
        _refuse_empty(line.split())
        return (SHELL, "-c", line)
    words = _split(command) if isinstance(command, str) else tuple(command)
    _refuse_empty(words)
    return words


def _refuse_empty(words: Sequence[str]) -> None:
    if not words or not words[0].strip():
        raise UserError(
            "the command is empty", hint="Put the command after --, for example -- php artisan thumbs:work"
        )


def _refuse_control_characters(word: str) -> None:
    found = _CONTROL.search(word)
    if found:
        raise UserError(
            f"the command contains a control character ({found.group()!r})",
            hint="Write the command on one line; put longer scripts into a file of the project.",
        )


def _split(text: str) -> tuple[str, ...]:
    _refuse_shell_syntax(text)
    if not _QUOTING.search(text):
        return tuple(_WORD.findall(text))  # as shlex does it, at a twentieth of the price
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"cannot split the command into words: {error}", hint="Close every quote.") from error


def _refuse_shell_syntax(text: str) -> None:
    """Refuse what only a shell would understand, unless it is quoted or escaped."""
    bare = _without_quoted(text)
    for mark in _SHELL_MEANT:
        if mark in bare:
            raise UserError(
                f"the command contains {mark} outside quotes, and no shell runs it",
                hint="Quote it if it is meant literally, or set shell = true to run the command by sh -c.",
            )


def _without_quoted(text: str) -> str:
    return re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", "", text)


def shown(argv: Sequence[str]) -> str:
    """Return an argument vector as a person would type it."""
    return shlex.join(argv)
