"""Decisions about log files: where lines end, when a file is full, which old files go. No I/O.

A *line* here ends in a newline and is at most `LINE_LIMIT` bytes long with it; what is longer is cut into
pieces of `LINE_LIMIT` bytes, each followed by `CUT_MARK`. Generation 0 of a log is the file that is written,
`.1` the newest of its backups.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

LINE_LIMIT = 64 * 1024
CUT_MARK = b" [line cut by shiftboss]\n"
_NEVER = 1 << 62
_LEAST = 4096


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How large logs may grow: `max_bytes` a file (0: no rotation), `backups` old files beside it.

    `total_bytes` caps all logs in the same directory, which is one project's (0: no cap).
    """

    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5
    total_bytes: int = 0

    @property
    def full_at(self) -> int:
        """The size at which a file is rotated, never less than a page: each rotation costs some renames."""
        return max(self.max_bytes, _LEAST) if self.max_bytes > 0 else _NEVER


class Piece(NamedTuple):
    """So many bytes from the front; `cut`: they are part of a longer line and `CUT_MARK` must follow."""

    length: int
    cut: bool = False


def whole_lines(data: bytes | bytearray, length: int, limit: int = LINE_LIMIT) -> Piece:
    """Return how many of the first `length` bytes of `data` are whole lines.

    Where a longer line begins the piece ends; if it begins at the front, the piece is its first `limit`
    bytes. The result depends on the bytes alone, not on how they arrived.
    """
    start = 0
    while length - start >= limit:
        end = data.rfind(b"\n", start, start + limit)
        if end < 0:
            return Piece(start) if start else Piece(limit, cut=True)
        start = end + 1
    return Piece(max(start, data.rfind(b"\n", start, length) + 1))


class LineSplitter:
    """Turns the chunks of one stream into its lines; keeps at most one unfinished line of `LINE_LIMIT` bytes."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, without newlines; pieces of a cut line end in the mark."""
        data, lines = self._rest + chunk, []
        while (piece := whole_lines(data, len(data), self._limit)).length:
            if piece.cut:
                lines.append(data[: piece.length] + CUT_MARK[:-1])
            else:
                lines += data[: piece.length - 1].split(b"\n")
            data = data[piece.length :]
        self._rest = data
        return lines

    def flush(self) -> list[bytes]:
        """Return what was left without a newline at the end of the stream, as one line."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class Fit(NamedTuple):
    """So many bytes go into the present file; `full`: it is rotated then."""

    length: int
    full: bool


def fit(size: int, at_line_start: bool, ahead: bytes | bytearray, length: int, full_at: int) -> Fit:
    """Decide how much of what comes next (the first `length` bytes of `ahead`) a file of `size` bytes takes.

    A file is rotated between two lines, at or before `full_at`. A line that began in it may end in it, up to
    `LINE_LIMIT` bytes beyond `full_at`; one that is longer still is split there. Look `full_at - size +
    LINE_LIMIT` bytes ahead for a final answer; with less, the bytes that are there go in.
    """
    room = full_at - size
    if length <= room:
        return Fit(length, full=False)
    end = ahead.rfind(b"\n", 0, max(room, 0))
    if end >= 0:
        return Fit(end + 1, full=True)
    if at_line_start and size:
        return Fit(0, full=True)
    last = max(room + LINE_LIMIT, 0)
    end = ahead.find(b"\n", max(room, 0), min(last, length))
    if end >= 0:
        return Fit(end + 1, full=True)
    return Fit(length, full=False) if length < last else Fit(last, full=True)


class Shift(NamedTuple):
    """How a log is rotated: generations to remove, then (from, to) renames in this order.

    The first rename may replace the oldest backup.
    """

    removals: tuple[int, ...]
    moves: tuple[tuple[int, int], ...]


def shift(existing: Collection[int], backups: int) -> Shift:
    """Decide how the file (generation 0) becomes `.1`; `existing` are the generations of its backups.

    Nothing behind a gap moves: a rotation that was killed half way has left one, and doing it again must
    not push a backup out. Without backups the file itself is removed.
    """
    if backups < 1:
        return Shift((*sorted(set(existing) - {0}), 0), ())
    last = next((number for number in range(1, backups) if number not in existing), backups)
    removals = tuple(number for number in sorted(existing) if number > backups)
    return Shift(removals, tuple((number - 1, number) for number in range(last, 0, -1)))


class LogPart(NamedTuple):
    """One file of a log: its name without the generation, its generation, bytes, time of the last change."""

    name: str
    generation: int
    size: int
    changed: float


def over_total(parts: Iterable[LogPart], total_bytes: int) -> tuple[tuple[str, int], ...]:
    """Choose (name, generation) of what must go so that all parts together keep below `total_bytes`.

    Backups go first, the one unchanged for longest before the others; then files in use, the largest first.
    """
    parts = list(parts)
    excess = sum(part.size for part in parts) - total_bytes
    if total_bytes <= 0 or excess <= 0:
        return ()
    oldest = sorted((p for p in parts if p.generation), key=lambda p: (p.changed, -p.generation, p.name))
    largest = sorted((p for p in parts if not p.generation), key=lambda p: (-p.size, p.name))
    chosen: list[tuple[str, int]] = []
    for part in (*oldest, *largest):
        if excess <= 0:
            break
        if part.size:
            chosen.append((part.name, part.generation))
            excess -= part.size
    return tuple(chosen)


def lost_mark(lost_bytes: int, reason: str) -> bytes:
    """Return the line that stands in a log where output had to be dropped."""
    return f"[shiftboss: {lost_bytes} bytes of output dropped here: {reason}]\n".encode()
