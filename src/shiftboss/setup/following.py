"""Following a log while it grows, through truncation and rotation."""

import os

from shiftboss.host.files import opened, refused

CHUNK = 1 << 16
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_ROTATIONS = 100  # between two looks


class FollowedFile:
    """A file that grows. Gives what came since the last look, through rotations to `.1`, `.2`… and truncations."""

    def __init__(self, path: str) -> None:
        """Begin at the present end of the file, which may not exist yet."""
        self._path = path
        self._inode, self._offset = self._now()

    def before(self, most: int) -> bytes:
        """Return the end of what is in the file before the first `read_new`, at most so many bytes; raises HostError."""
        try:
            with opened(self._path, _FLAGS) as descriptor:
                if os.fstat(descriptor).st_ino != self._inode:  # rotated just now
                    return b""
                start = max(0, self._offset - most)
                return os.pread(descriptor, self._offset - start, start)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise refused("read", self._path, error) from error

    def read_new(self) -> bytes:
        """Return what was written since the last call, at most `CHUNK` bytes; raises HostError.

        As much as that: there may be more.
        """
        try:
            with opened(self._path, _FLAGS) as descriptor:
                return self._read(descriptor)
        except FileNotFoundError:
            return self._rest_of_rotated()
        except OSError as error:
            raise refused("read", self._path, error) from error

    def _read(self, descriptor: int) -> bytes:
        facts = os.fstat(descriptor)
        if facts.st_ino != self._inode and (rest := self._rest_of_rotated()):
            return rest
        if facts.st_ino != self._inode or facts.st_size < self._offset:
            self._inode, self._offset = facts.st_ino, 0
        data = os.pread(descriptor, CHUNK, self._offset)
        self._offset += len(data)
        return data

    def _rest_of_rotated(self) -> bytes:
        """Return what is left of the file that was followed, then of those that came after it, as rotated by now."""
        for number in range(self._generation(), 0, -1):
            try:
                with opened(f"{self._path}.{number}", _FLAGS) as descriptor:
                    inode = os.fstat(descriptor).st_ino
                    offset = self._offset if inode == self._inode else 0
                    data = os.pread(descriptor, CHUNK, offset)
            except OSError:  # removed or compressed meanwhile
                return b""
            if data:
                self._inode, self._offset = inode, offset + len(data)
                return data
        return b""

    def _generation(self) -> int:
        """Return the number of the backup that the followed file has become, 0 if it is none."""
        for number in range(1, _MOST_ROTATIONS if self._inode else 0):
            try:
                with opened(f"{self._path}.{number}", _FLAGS) as descriptor:
                    if os.fstat(descriptor).st_ino == self._inode:
                        return number
            except OSError:
                return 0
        return 0

    def _now(self) -> tuple[int, int]:
        try:
            with opened(self._path, _FLAGS) as descriptor:
                facts = os.fstat(descriptor)
        except OSError:
            return 0, 0
        return facts.st_ino, facts.st_size
