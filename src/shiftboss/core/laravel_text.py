"""What artisan prints, made safe and bounded, and the name of a scheduled task in it.

All of it is a project's own output: it may hold anything, of any length, also what moves a terminal's cursor.
"""

import re

LONGEST_TEXT = 256 * 1024
"""So many characters of an output are looked at, the last ones; a failing task is told in a few dozen."""
_LONGEST_LINE = 4096
_LONGEST_NAME = 120

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,32}[A-Za-z]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|[@-_])")
_SUDO = re.compile(r"sudo -u \S{1,64} -- sh -c '(.*)'")
_FINISH = "schedule:finish"
_REDIRECTED = re.compile(r""" >>? (?:'[^']*'|"[^"]*"|\S+) 2>&1(?: &)?$""")
_ARTISAN = re.compile(
    r"""(?:(?:'[^']*php[^']*'|"[^"]*php[^"]*"|[^\s'"]*php[^\s'"]*) )?(?:'artisan'|"artisan"|artisan) (?=\S)"""
)
# what is looked at for them, from the end and from the beginning: no text may cost more than its length
_LONGEST_REDIRECTION = 300
_LONGEST_ARTISAN = 300


def lines_of(text: str) -> list[str]:
    """Return the last lines of an output without colours and controls; overlong lines are cut."""
    cleaned = _ESCAPE.sub("", text[-LONGEST_TEXT:]).replace("\r\n", "\n").replace("\r", "\n")
    return [line[:_LONGEST_LINE].rstrip() for line in _visible(cleaned).split("\n")]


def task_name(text: str) -> str:
    """Return the name of a task as people know it, from any way in which a version of Laravel shows its command.

    `'/usr/bin/php8.2' 'artisan' app:mail 1 > '/dev/null' 2>&1` is `app:mail 1`; other programs keep their words,
    a description stays as it is. One line of at most 120 characters.
    """
    words = _without_wrapping(" ".join(_visible(text[:_LONGEST_LINE]).split()))
    words = words[:-_LONGEST_REDIRECTION] + _REDIRECTED.sub("", words[-_LONGEST_REDIRECTION:])
    if (artisan := _ARTISAN.match(words, 0, _LONGEST_ARTISAN)) is not None:
        words = words[artisan.end() :]
    return words if len(words) <= _LONGEST_NAME else f"{words[: _LONGEST_NAME - 1]}…"


def is_background(text: str) -> bool:
    """Tell whether a command, as Laravel shows it, is one that goes on after `schedule:run` has ended."""
    return text.startswith("(") and _FINISH in text[:_LONGEST_LINE]


def _without_wrapping(words: str) -> str:
    """Take off what runs a command as another user, or in background (Scheduling/CommandBuilder.php)."""
    if (as_user := _SUDO.fullmatch(words)) is not None:
        words = as_user[1]
    if is_background(words):
        words = words[1:].partition(_FINISH)[0].rpartition(" ; ")[0] or words
    return words


def _visible(text: str) -> str:
    """Return a text that may be shown to root: no controls, nothing that cannot be seen or turns the writing around."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark == "\n" else " " for mark in text)
