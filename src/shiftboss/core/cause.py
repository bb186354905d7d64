"""Why a program did not come up: its own last words, read as an experienced administrator would."""

import re
from collections.abc import Callable, Sequence

# Each server has its own words for a port that is taken, with the number before or after them
_PORTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:EADDRINUSE|[Aa]ddress already in use)(?:: address already in use)?:? [\w.*\[\]:]*:(?P<port>\d{2,5})\b",
        r"[Aa]ddress already in use .{0,40}\bport (?P<port>\d{2,5})\b",  # Ruby
        r"Failed to listen on \S*:(?P<port>\d{2,5})\b",  # PHP
        r"bind on address \('[^']*', (?P<port>\d{2,5})\S*: address already in use",  # asyncio
        r"Connection in use: \('[^']*', (?P<port>\d{2,5})\)",  # gunicorn
        r"[Pp]ort (?P<port>\d{2,5}) is (?:already )?in use",  # Next.js
        r"listen tcp\d? \S*:(?P<port>\d{2,5}): bind: address already in use",  # Go
    )
)
_COMMANDS = tuple(
    re.compile(pattern)
    for pattern in (
        r"can't find command '(?P<command>[^']+)'",  # Supervisor
        r"(?<!\S)(?P<command>\S+): command not found",  # bash; begun inside of words it would cost their square
        r"sh: (?:\d+: )?(?:exec: )?(?P<command>\S+): not found",  # dash, busybox
        "env: [\u2018'\"]?(?P<command>[^\u2018\u2019'\":\\s]+)[\u2019'\"]?: No such file or directory",
    )
)
_SHOWN = 200

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

_RULES: tuple[Rule, ...] = (
    *((pattern, lambda m: f"port {m['port']} is taken") for pattern in _PORTS),
    (re.compile("EADDRINUSE|Address already in use", re.IGNORECASE), lambda _: "its port is taken"),
    *((pattern, lambda m: f"{m['command']}: command not found") for pattern in _COMMANDS),
    (
        re.compile("Could not open input file: (?P<file>.*)"),
        lambda m: f"{m['file'].strip()} is missing in the release",
    ),
    (
        re.compile("Cannot find module '(?P<module>[^']+)'"),
        lambda m: f"Node cannot find the module {m['module']}",
    ),
    (
        re.compile("No module named '?(?P<module>[\\w.]+)"),
        lambda m: f"Python cannot find the module {m['module']}",
    ),
    (
        re.compile('Class "?(?P<name>[\\w\\\\]+)"? not found'),
        lambda m: f"PHP cannot find the class {m['name']}",
    ),
    (
        re.compile('There are no commands defined|Command "[^"]*" is not defined'),
        lambda _: "artisan has no such command",
    ),
    (re.compile("Connection refused"), lambda _: "a server that it needs refuses the connection"),
    (re.compile("EACCES|[Pp]ermission denied"), lambda _: "permission denied for the project's user"),
    (re.compile("is not executable"), lambda _: "the program is not executable"),
)


def last_lines(output: bytes, count: int = 5) -> tuple[str, ...]:
    """Return the last lines with text in them, cut to a sensible width, without control characters."""
    lines = [_printable(line) for line in output.decode(errors="replace").splitlines()]
    return tuple([line for line in lines if line.strip()][-count:])


def likely_cause(texts: Sequence[str]) -> str:
    """Return the likely cause in plain words, an empty string if the texts do not tell one.

    The rules go from the telling to the vague; of two lines that fit one rule the later one wins.
    """
    for pattern, explain in _RULES:
        for text in reversed(texts):
            if found := pattern.search(text):
                return explain(found)
    return ""


def telling_lines(lines: Sequence[str], count: int = 5) -> tuple[str, ...]:
    """Return the lines worth showing: the last ones, and before them the line that tells the cause."""
    shown = tuple(lines[-count:])
    for pattern, _ in _RULES:
        for line in reversed(lines):
            if pattern.search(line):
                return shown if line in shown else (line, *shown[1:])
    return shown


def port_in(texts: Sequence[str]) -> int | None:
    """Return the TCP port that the texts call taken, None if they name none."""
    for text in reversed(texts):
        for pattern in _PORTS:
            if found := pattern.search(text):
                port = int(found["port"])
                return port if 0 < port < 65536 else None
    return None


def _printable(line: str) -> str:
    clean = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)
    return "".join(char if char.isprintable() else " " for char in clean).rstrip()[:_SHOWN]
