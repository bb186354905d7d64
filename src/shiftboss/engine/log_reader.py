"""Reading logs: the last lines, also across backups, and following what is written."""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shiftboss.core.rotation import LineSplitter
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_stream import Stream

_BLOCK = 64 * 1024
_MOST_BYTES = 4 * 1024 * 1024  # of a log that are read for its last lines
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PENDING_BYTES = 1024 * 1024  # that a follower may have before it


class LogLine(NamedTuple):
    """A line of a log, without its newline; `process` 0: from before the log was followed.

    `lost`: so many lines before it did not wait for a slow reader.
    """

    entry: str
    process: int
    text: str
    lost: int = 0


def last_lines(directory: LogDirectory, name: str, count: int) -> tuple[list[str], bytes]:
    """Return the last `count` whole lines of a log and the unfinished line at its end. Raises OSError.

    Lines longer than 64 KiB come in pieces; not more than the last 4 MiB are read.
    """
    blocks: deque[bytes] = deque()
    seen, newlines = 0, 0
    for block in _backwards(directory, name):
        blocks.appendleft(block)
        seen += len(block)
        newlines += block.count(b"\n")
        if newlines > count or seen >= _MOST_BYTES:
            break
    return split_last(b"".join(blocks), count)


def split_last(data: bytes, count: int) -> tuple[list[str], bytes]:
    """Return the last `count` whole lines of `data` and what comes after the last newline."""
    splitter = LineSplitter()
    lines = splitter.feed(data)
    return [as_text(line) for line in lines[max(len(lines) - count, 0) :]], b"".join(splitter.flush())


def as_text(line: bytes) -> str:
    """Return a line as text, whatever bytes a program wrote."""
    return line.decode(errors="replace")


def _backwards(directory: LogDirectory, name: str) -> Iterator[bytes]:
    backups = [f"{name}.{number}" for number in sorted(directory.generations(name))]
    for part in (name, *filter(directory.has_file, backups)):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(part, _READ, dir_fd=directory.descriptor())
            try:
                yield from _blocks_backwards(descriptor)
            finally:
                os.close(descriptor)


def _blocks_backwards(descriptor: int) -> Iterator[bytes]:
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(end - _BLOCK, 0)
        yield os.pread(descriptor, end - start, start)
        end = start


class Follower:
    """An async iterator of the lines of one entry. A reader that is too slow misses lines and is told how many."""

    def __init__(self, entry: str, loop: asyncio.AbstractEventLoop) -> None:
        self.entry = entry
        self.closed = False
        self._loop, self._arrived = loop, asyncio.Event()
        self._lock = threading.Lock()
        self._lines: deque[LogLine] = deque()
        self._pending = self._lost = 0

    def offer(self, process: int, lines: Iterable[str]) -> None:
        """Take lines, from any thread; never waits."""
        with self._lock:
            was_empty = not self._lines
            for text in lines:
                self._take(process, text)
            wake = was_empty and bool(self._lines)
        if wake:
            self._wake()

    def close(self) -> None:
        """End the iteration."""
        self.closed = True
        self._wake()

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> LogLine:
        while not self._lines:
            if self.closed:
                raise StopAsyncIteration
            self._arrived.clear()
            if not self._lines and not self.closed:
                await self._arrived.wait()
        with self._lock:
            line = self._lines.popleft()
            self._pending -= len(line.text)
        return line

    def _take(self, process: int, text: str) -> None:
        if self._pending > _PENDING_BYTES or len(self._lines) > _PENDING_BYTES // 64:
            self._lost += 1
            return
        self._lines.append(LogLine(self.entry, process, text, self._lost))
        self._pending += len(text)
        self._lost = 0

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._arrived.set)


class Audience:
    """The followers of one log."""

    __slots__ = "_followers"

    def __init__(self) -> None:
        self._followers: list[Follower] = []

    def is_there(self) -> bool:
        """Tell whether anybody follows."""
        return bool(self._followers)

    def join(self, follower: Follower) -> None:
        """Take another follower, in the place of those that have left: a silent log shows nothing that would."""
        self._followers = [*(one for one in self._followers if not one.closed), follower]

    def show(self, stream: Stream, data: bytes) -> None:
        """Give the lines that `data` completes to those who follow its entry."""
        if stream.splitter is None:
            stream.splitter = LineSplitter()
        self._offer(stream, stream.splitter.feed(data))

    def finish(self, stream: Stream) -> None:
        """Give what a stream has left without a newline at its end, as a line."""
        if stream.splitter is not None:
            self._offer(stream, stream.splitter.flush())

    def _offer(self, stream: Stream, data: Iterable[bytes]) -> None:
        lines = [as_text(line) for line in data]
        self._followers = [follower for follower in self._followers if not follower.closed]
        for follower in self._followers:
            if follower.entry == stream.entry:
                follower.offer(stream.process, lines)
