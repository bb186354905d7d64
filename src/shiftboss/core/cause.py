"""Why a program did not come up: its own last words, read as an experienced administrator would."""

import re
from collections.abc import Callable, Sequence

_PORT = re.compile(
    r"(?:EADDRINUSE|[Aa]ddress already in use|Failed to listen on)\D{0,60}?(?:[\d.:\[\]a-f*]*:)?(?P<port>\d{2,5})\b"
)
_COMMAND = re.compile(r"(?:can't find command '(?P<a>[^']+)'|(?P<b>\S+): (?:command )?not found)")
_SHOWN = 200

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

_RULES: tuple[Rule, ...] = (
    (_PORT, lambda m: f"port {m['port']} is taken"),
    (re.compile("EADDRINUSE|Address already in use", re.IGNORECASE), lambda _: "its port is taken"),
    (_COMMAND, lambda m: f"{m['a'] or m['b']}: command not found"),
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
    """Return the likely cause in plain words, an empty string if the texts do not tell one; later lines win."""
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
        if found := _PORT.search(text):
            port = int(found["port"])
            return port if 0 < port < 65536 else None
    return None


def _printable(line: str) -> str:
    clean = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)
    return "".join(char if char.isprintable() else " " for char in clean).rstrip()[:_SHOWN]
