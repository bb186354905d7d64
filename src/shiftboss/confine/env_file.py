"""A project's env file (`.env`): NAME=value lines, as dotenv libraries read them, without interpolation."""

import os
import re
import stat

MAX_BYTES = 256 * 1024
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def read(path: str) -> dict[str, str]:
    """Return the variables of a file, nothing if there is none; raise OSError (too long, no regular file)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hold us up
    except FileNotFoundError:
        return {}
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file")
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise OSError(0, f"it is longer than {MAX_BYTES} bytes")
    return parse(raw.decode("utf-8", "surrogateescape"))


def parse(text: str) -> dict[str, str]:
    """Return the variables of a text; lines that are none are passed over."""
    found = {}
    for line in text.lstrip("\ufeff").split("\n"):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match and "\0" not in match[2]:
            found[match[1]] = _value(match[2].strip())
    return found


def _value(text: str) -> str:
    if text[:1] == "'" and (end := text.find("'", 1)) > 0:
        return text[1:end]
    if text[:1] == '"' and (quoted := re.match(r'"((?:\\.|[^"\\])*)"', text)):
        return re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), quoted[1])
    return re.split(r"(?:^|\s+)#", text, maxsplit=1)[0].rstrip()
