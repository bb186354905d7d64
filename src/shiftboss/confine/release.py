"""Looks where a project's `current` leads, with the rights of the project's user."""

import os
from contextlib import suppress

from shiftboss.confine import kernel
from shiftboss.confine.program import drop_to


def look(inotify: int, link: str, user: str, uid: int, gid: int, groups: tuple[int, ...]) -> tuple[int, str]:
    """Watch the directory of a link, drop to the user for good, and return the watch and where the link leads.

    For a forked child: the path may hang (NFS), and root shall not follow the links of a project. The watch is -1
    if there can be none; the path is "" if the user cannot enter it. Raises StepError.
    """
    watch = _watch(inotify, os.path.dirname(link.rstrip("/"))) if inotify >= 0 else -1
    drop_to(user, uid, gid, groups)
    with suppress(OSError):
        os.chdir(link)
        return watch, os.getcwd()
    return watch, ""


def _watch(inotify: int, directory: str) -> int:
    """Watch a directory, or the nearest one above it that exists; return the watch, -1 for none."""
    try:
        return kernel.watch_directory(inotify, directory)
    except (FileNotFoundError, NotADirectoryError):
        above = _watch(inotify, os.path.dirname(directory))
    except OSError:
        return -1
    with suppress(OSError):  # it may have been made just before the one above was watched
        return kernel.watch_directory(inotify, directory)
    return above
