"""What is left in log files: lines missing, doubled or torn. Pure but for reading the files."""

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

LINE = 80
_LINE = re.compile(rb"(\S+) (\d+) (\d{12}) x+")


class Damage(NamedTuple):
    """What is wrong with retained output; `last` is the number of its last line (-1: none)."""

    missing: int
    torn: int
    last: int


class Numbered(NamedTuple):
    """A whole line: who wrote it, and its number."""

    name: str
    pid: int
    number: int


def numbered(line: bytes) -> Numbered | None:
    """Return what a line says, None of a torn one."""
    found = _LINE.fullmatch(line) if len(line) == LINE - 1 else None
    return Numbered(found[1].decode(), int(found[2]), int(found[3])) if found else None


def damage(parts: Iterable[bytes]) -> Damage:
    """Return what is wrong with one writer's retained output; the parts may come in any order.

    Numbers that are missing before the first retained line were rotated away and do not count.
    """
    rows = b"".join(sorted(parts, key=_first_number)).split(b"\n")
    if not rows[-1]:
        rows.pop()
    lines = [numbered(row) for row in rows]
    numbers = [line.number for line in lines if line]
    missing = sum(abs(after - before - 1) for before, after in itertools.pairwise(numbers))
    return Damage(missing, len(lines) - len(numbers), numbers[-1] if numbers else -1)


def _first_number(part: bytes) -> int:
    for row in part[: 3 * LINE].split(b"\n"):
        if line := numbered(row):
            return line.number
    return 1 << 62


def last_number(paths: Sequence[Path]) -> int:
    """Return the greatest number at the end of any of these files, which may be rotated meanwhile; -1: none."""
    found = -1
    for path in paths:
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - LINE))
                line = numbered(file.read(LINE).rstrip(b"\n"))
        except OSError:
            continue
        found = max(found, line.number if line else -1)
    return found


def read_all(paths: Iterable[Path]) -> list[bytes]:
    """Return the content of files."""
    return [path.read_bytes() for path in paths]
