"""Following a log while it grows, through truncation and rotation."""

import os

from shiftboss.host.files import opened, refused

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 16


class FollowedFile:
    """A file that grows. Gives what came since the last look; a rotated or truncated file is read from its start."""

    def __init__(self, path: str) -> None:
        """Begin at the present end of the file, which may not exist yet."""
        self._path = path
        self._inode, self._offset = self._now()

    def read_new(self) -> bytes:
        """Return what was written since the last call, at most 64 KiB; raises HostError."""
        try:
            with opened(self._path, _FLAGS) as descriptor:
                facts = os.fstat(descriptor)
                if facts.st_ino != self._inode or facts.st_size < self._offset:
                    self._inode, self._offset = facts.st_ino, 0
                data = os.pread(descriptor, _CHUNK, self._offset)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise refused("read", self._path, error) from error
        self._offset += len(data)
        return data

    def _now(self) -> tuple[int, int]:
        try:
            with opened(self._path, _FLAGS) as descriptor:
                facts = os.fstat(descriptor)
        except OSError:
            return 0, 0
        return facts.st_ino, facts.st_size
