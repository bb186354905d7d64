"""Pipes: bytes are moved from a pipe to a file inside the kernel, or looked at while they stay in the pipe.

`splice(2)` takes bytes out of the pipe and puts them into the file in one call: at whatever moment this process
is killed, every byte is in one of the two. So bytes that are not in the file yet are left in the pipe, which the
keeper holds, and never in our memory.
"""

import array
import fcntl
import os
import select
import termios
import threading
from collections.abc import Callable
from functools import cache

SMALL = 64 * 1024
LARGE = 1024 * 1024
_PAGE = os.sysconf("SC_PAGESIZE")
# A write of a little more than half a page takes a page of its own, so a pipe may be full when it is half full.
_NEARLY_FULL = 0.4
_SOFT_LIMIT = "/proc/sys/fs/pipe-user-pages-soft"


class Pipe:
    """The read end of one process's output. It owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        # unique as long as anybody has the pipe open: the same pipe is known again by the next engine
        self.identity = os.fstat(descriptor).st_ino
        self.capacity = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
        self._count = array.array("i", [0])

    def unread(self) -> int:
        """Return how many bytes wait in it."""
        fcntl.ioctl(self.descriptor, termios.FIONREAD, self._count)
        return self._count[0]

    def is_nearly_full(self) -> bool:
        """Tell whether its writer may soon have to wait."""
        return self.unread() >= self.capacity * _NEARLY_FULL

    def move(self, file: int, offset: int, count: int) -> int:
        """Move at most `count` bytes into a file; 0: end of the pipe. Raises BlockingIOError if it is empty."""
        return os.splice(self.descriptor, file, count, None, offset, flags=os.SPLICE_F_NONBLOCK)

    def is_hung_up(self) -> bool:
        """Tell whether nobody can write to it any more; bytes may still wait."""
        poll = select.poll()
        poll.register(self.descriptor, 0)
        return bool(poll.poll(0))

    def take(self, count: int) -> bytes | None:
        """Read at most `count` bytes; empty: its end, None: nothing there."""
        try:
            return os.read(self.descriptor, count)
        except BlockingIOError:
            return None

    def discard(self, count: int) -> int:
        """Throw at most `count` bytes away and return how many there were."""
        return len(self.take(count) or b"")

    def resize(self, capacity: int) -> bool:
        """Give it another capacity; tell whether the kernel allowed it."""
        try:
            self.capacity = fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, capacity)
        except OSError:  # the user's budget is used up (EPERM), or more bytes wait than would fit (EBUSY)
            return False
        return True

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


class PipeBudget:
    """How many pages our pipes may take together: half of what one user may have in all pipes (pipe(7)).

    Threads may share it.

    Beyond that limit the kernel gives new pipes, of any program of this user, two pages only.
    """

    def __init__(self, soft_limit: int | None = None) -> None:
        limit = _soft_limit() if soft_limit is None else soft_limit
        self._left = limit // 2 if limit else 1 << 40
        self._lock = threading.Lock()

    def add(self, pipe: Pipe) -> None:
        """Count a pipe."""
        with self._lock:
            self._left -= pipe.capacity // _PAGE

    def remove(self, pipe: Pipe) -> None:
        """Count a pipe no more."""
        with self._lock:
            self._left += pipe.capacity // _PAGE

    def grow(self, pipe: Pipe) -> None:
        """Give a busy pipe more room, if there is any."""
        wanted = min(pipe.capacity * 4, LARGE)
        with self._lock:
            if wanted > pipe.capacity and self._left >= (wanted - pipe.capacity) // _PAGE:
                self._resize(pipe, wanted)

    def shrink(self, pipe: Pipe) -> None:
        """Take a quiet pipe's extra room back."""
        with self._lock:
            if pipe.capacity > SMALL:
                self._resize(pipe, SMALL)

    def _resize(self, pipe: Pipe, capacity: int) -> None:
        before = pipe.capacity
        if pipe.resize(capacity):
            self._left -= (pipe.capacity - before) // _PAGE


def _soft_limit() -> int:
    try:
        with open(_SOFT_LIMIT) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 16384  # the kernel's default


class Peephole:
    """Looks at the bytes of a pipe and leaves them there (`tee(2)`). `data` holds what was seen last."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._capacity = SMALL
        self.data = bytearray(SMALL)

    def look(self, pipe: Pipe, count: int) -> int:
        """Put at most `count` bytes from the front of the pipe into `data`; return how many, 0 at its end.

        Raises BlockingIOError if the pipe is empty but not at its end.
        """
        self._fit(pipe)
        seen = _tee(pipe.descriptor, self._write, min(count, self._capacity))
        if not seen:
            return 0
        if len(self.data) < seen:
            self.data = bytearray(self._capacity)
        return os.readv(self._read, [memoryview(self.data)[:seen]])

    def close(self) -> None:
        """Close its own pipe."""
        os.close(self._read)
        os.close(self._write)

    def _fit(self, pipe: Pipe) -> None:
        """Try to be as large as the pipe: each of its pages needs one of ours."""
        if pipe.capacity > self._capacity:
            try:
                self._capacity = fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, pipe.capacity)
            except OSError:
                return  # then it sees less at once


def _tee(source: int, target: int, count: int) -> int:
    import ctypes

    seen: int = _libc_tee()(source, target, count, os.SPLICE_F_NONBLOCK)
    if seen < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))  # Python makes EAGAIN a BlockingIOError
    return seen


@cache
def _libc_tee() -> Callable[[int, int, int, int], int]:
    """Return the C library's tee(2), which the os module does not have; loaded when the first log needs it."""
    import ctypes

    tee = ctypes.CDLL(None, use_errno=True).tee
    tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
    tee.restype = ctypes.c_ssize_t
    return tee
