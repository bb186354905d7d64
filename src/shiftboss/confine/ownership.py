"""Who may write what the keeper believes."""

import os
import stat


class NotOursError(ValueError):
    """Somebody else could have written there; the text says who, as the end of a sentence that names the path."""


def check_owner(status: os.stat_result) -> None:
    """Raise NotOursError unless only root and we can write there."""
    if status.st_uid not in (0, os.geteuid()):
        raise NotOursError(f"belongs to uid {status.st_uid}, not to uid {os.geteuid()}")
    if stat.S_ISLNK(status.st_mode) or status.st_mode & 0o022:
        raise NotOursError(f"can be written by others (mode {stat.S_IMODE(status.st_mode):o})")


def read_ours(path: str, limit: int) -> bytes:
    """Return the beginning of a regular file that only root and we can write; raise OSError, NotOursError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotOursError("is not a regular file")
        check_owner(status)
        return file.read(limit)
