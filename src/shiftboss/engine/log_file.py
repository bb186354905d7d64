"""One log: the file that is written, and its backups. What others do to the file meanwhile is respected.

Nothing here is remembered that the file does not tell: after a kill the size of the file is the truth.
Every method may raise OSError.
"""

import contextlib
import errno
import os
import stat

from shiftboss.core.rotation import LogLimits, shift
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.splice import Pipe
from shiftboss.engine.takeover_record import FileId

_MODE = 0o640
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait
_LOOK_SECONDS = 0.001  # logrotate compresses a file some milliseconds after it moved it away
_CREATE_SECONDS = (
    0.1  # who moved the file away has so long to make a new one: logrotate wants to do that itself
)


class MovedAwayError(BlockingIOError):
    """The file was moved away just now; try again soon."""


class LogFile:
    """The file `name` in a directory. `size` is where the next byte goes: splice(2) refuses O_APPEND."""

    __slots__ = (
        "_first",
        "_is_fresh",
        "_look_at",
        "_missing_since",
        "descriptor",
        "directory",
        "identity",
        "limits",
        "name",
        "rotations",
        "size",
    )

    def __init__(self, directory: LogDirectory, name: str, limits: LogLimits) -> None:
        self.directory, self.name, self.limits = directory, name, limits
        self.descriptor = -1
        self.size = 0
        self.identity: FileId = (0, 0)
        self.rotations = 0
        self._look_at = 0.0
        self._missing_since = 0.0
        self._first = b""
        self._is_fresh = False
        directory.files[name] = self

    @property
    def path(self) -> str:
        """The path of the file."""
        return f"{self.directory.path}/{self.name}"

    def check(self, now: float) -> bool:
        """Make ready to write; tell whether this is another file than at the last call.

        Raises MovedAwayError if it has to be asked again.
        """
        if self.descriptor < 0:
            self._open()
        elif now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look(now)
        else:
            self.size = os.lseek(
                self.descriptor, 0, os.SEEK_END
            )  # truncated: no hole; appended to: no overwriting
        was_fresh, self._is_fresh = self._is_fresh, False
        return was_fresh

    def move(self, pipe: Pipe, count: int) -> int:
        """Move at most `count` bytes from a pipe to the end; 0: end of the pipe. BlockingIOError: it is empty."""
        start = self.size
        moved = pipe.move(self.descriptor, start, count)
        self.size += moved
        self.directory.grown += moved
        if not start:
            self._first = self.read(0, 1)
        elif self._first != b"\0" == self.read(0, 1):
            self._close_hole(start)
        return moved

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end, or nothing."""
        written = os.pwrite(self.descriptor, data, self.size)
        if written < len(data):
            os.ftruncate(self.descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self.size += written

    def at_line_start(self) -> bool:
        """Tell whether the next byte begins a line."""
        return not self.size or os.pread(self.descriptor, 1, self.size - 1) == b"\n"

    def read(self, start: int, end: int) -> bytes:
        """Return bytes of the file."""
        return os.pread(self.descriptor, end - start, start)

    def rotate(self) -> None:
        """Make this file the first backup and open a new one. Killed at any point, it can be done again."""
        self._set_aside()
        self.close()
        self._open()
        self.rotations += 1

    def remove(self, generation: int) -> None:
        """Remove a backup; generation 0: all that was written so far."""
        if generation:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.name}.{generation}", dir_fd=self.directory.descriptor())
        else:
            self._unlink()
            self.close()
            self._open()

    def close(self) -> None:
        """Close the file. Never raises: what a network file system tells only now cannot be mended here."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1

    def _look(self, now: float) -> None:
        """See what others did: removed, renamed, truncated."""
        self.directory.check(now)
        facts = self._facts()
        if facts is None and now < self._create_from(now):
            self._look_at = now
            raise MovedAwayError
        if facts is None or (facts.st_dev, facts.st_ino) != self.identity:
            self.close()
            self._open()
            return
        self._missing_since = 0.0
        self.size = facts.st_size

    def _create_from(self, now: float) -> float:
        self._missing_since = self._missing_since or now
        return self._missing_since + _CREATE_SECONDS

    def _facts(self) -> os.stat_result | None:
        try:
            return os.stat(self.name, dir_fd=self.directory.descriptor(), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _open(self) -> None:
        try:
            descriptor = self._open_existing()
        except FileNotFoundError:
            try:
                descriptor = self._create()
            except FileNotFoundError:  # the directory was removed: what we hold is its ghost
                self.directory.close()
                descriptor = self._create()
        facts = os.fstat(descriptor)
        self.descriptor, self.size = descriptor, facts.st_size
        self.identity = (facts.st_dev, facts.st_ino)
        self._first, self._missing_since, self._is_fresh = self.read(0, 1), 0.0, True

    def _open_existing(self) -> int:
        """Open the file if it is ours to write; what is not is set aside, as a rotation would."""
        try:
            descriptor = os.open(self.name, _OPEN, dir_fd=self.directory.descriptor())
        except PermissionError:
            return self._replace()
        facts = os.fstat(descriptor)
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
            return descriptor
        os.close(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", self.path)
        return self._replace()  # a second name of somebody's file

    def _replace(self) -> int:
        facts = self._facts()
        if facts is not None and facts.st_size == 0:
            self._unlink()
        else:
            self._set_aside()
        return self._create()

    def _create(self) -> int:
        descriptor = os.open(
            self.name, _OPEN | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=self.directory.descriptor()
        )
        os.fchmod(descriptor, _MODE)  # whatever the umask
        return descriptor

    def _set_aside(self) -> None:
        steps = shift(self.directory.generations(self.name), self.limits.backups)
        parent = self.directory.descriptor()
        for generation in steps.removals:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part(generation), dir_fd=parent)
        for source, target in steps.moves:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._part(source), self._part(target), src_dir_fd=parent, dst_dir_fd=parent)

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.directory.descriptor())

    def _part(self, generation: int) -> str:
        return f"{self.name}.{generation}" if generation else self.name

    def _close_hole(self, start: int) -> None:
        """Mend a file that was truncated between our look and our write: keep only what begins at `start`."""
        name, parent = f".{self.name}.~", self.directory.descriptor()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        copy = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=parent)
        try:
            os.fchmod(copy, _MODE)
            os.lseek(self.descriptor, start, os.SEEK_SET)
            while os.sendfile(copy, self.descriptor, None, 1 << 20):
                pass
            os.rename(name, self.name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            os.close(copy)
        self.close()
        self._open()
