"""What became of the runs that cron started: a file of JSON lines for each schedule, root's alone.

`core/spool.py` reads them. A line tells the start of a run, its end, or of an occurrence that did not run; nothing
that a project's user can write has a say in it. Beside it lies the lock, which dies with the process that holds it.
"""

import errno
import fcntl
import os
import time

MAX_BYTES = 1 << 20  # then it becomes the one old file that is kept
_TAIL_BYTES = 1 << 17  # longer than any line
_PRIVATE_DIRECTORY, _PRIVATE_FILE = 0o700, 0o600
_POLL_SECONDS = 0.05
_FLAGS = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
Row = dict[str, "str | int | float"]


class Spool:
    """The file of one schedule, with its lock. Every method raises OSError."""

    def __init__(self, directory: str, project: str, unit: str) -> None:
        for place in (directory, f"{directory}/{project}"):
            os.makedirs(place, _PRIVATE_DIRECTORY, exist_ok=True)
        self._path = f"{directory}/{project}/{unit}"

    def add(self, row: Row) -> int:
        """Append a line, and return the number of the run that it is about: the next one if the row has none."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | _FLAGS, _PRIVATE_FILE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if not self._is_current(descriptor):
                    continue  # another one has just made it the old file
                run = row.get("run") or self._last_run(descriptor) + 1
                if os.fstat(descriptor).st_size > MAX_BYTES:
                    os.replace(self._path, f"{self._path}.1")
                    os.close(descriptor)
                    descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | _FLAGS, _PRIVATE_FILE)
                _append(descriptor, (_line({"run": run} | row) + "\n").encode())
                return int(run)
            finally:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            named = os.lstat(self._path)
        except FileNotFoundError:
            return False
        found = os.fstat(descriptor)
        return (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)

    def _last_run(self, descriptor: int) -> int:
        run = _last_run(_tail(descriptor))
        if run:
            return run
        try:
            old = os.open(f"{self._path}.1", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            return _last_run(_tail(old))
        finally:
            os.close(old)

    def lock(self, name: str = "lock") -> "Lock":
        """Return the lock of the schedule, or another one of it; not held yet."""
        return Lock(f"{self._path}.{name}")


class Lock:
    """A lock that the kernel gives back when its holder ends, however that happens; its file tells who holds it."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | _FLAGS, _PRIVATE_FILE)

    def take(self, seconds: float = 0.0) -> bool:
        """Take it; False if another one still holds it after so many seconds (negative: wait for ever)."""
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if seconds >= 0 and time.monotonic() >= end:
                    return False
                time.sleep(_POLL_SECONDS)
            else:
                return True

    def release(self) -> None:
        """Give it back."""
        os.close(self._descriptor)

    def write(self, numbers: "tuple[int, ...]") -> None:
        """Say who holds it."""
        text = " ".join(map(str, numbers)).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def read(self) -> "list[int]":
        """Return what its last holder said, nothing if that one has ended in order."""
        return [int(word) for word in os.pread(self._descriptor, 200, 0).split() if word.isdigit()]


def _append(descriptor: int, line: bytes) -> None:
    """Write a line, wholly or not at all; of one that a crash has cut off it is no part."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    if os.write(descriptor, line) < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _tail(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))


def _last_run(tail: bytes) -> int:
    """Return the greatest number of a run; a line that was cut off by a crash has perhaps none."""
    starts = (line.partition(b'{"run": ')[2].partition(b",")[0] for line in tail.splitlines())
    return max((int(word) for word in starts if word.isdigit()), default=0)


def _line(row: Row) -> str:
    """Return a row as JSON: the `json` module would cost as much as half of a start."""
    try:
        from _json import encode_basestring_ascii as quoted
    except ImportError:
        from json import dumps as quoted
    parts = (f"{quoted(key)}: {quoted(v) if isinstance(v, str) else repr(v)}" for key, v in row.items())
    return "{" + ", ".join(parts) + "}"
