"""Where each project's `current` leads: watched without waking up, looked at with the project user's rights.

A child for each look: a directory of a project may hang (NFS) or be closed; the keeper must not wait for it.
"""

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from resource import struct_rusage
from typing import NamedTuple

from shiftboss.confine import kernel
from shiftboss.confine.birth import Nursery
from shiftboss.confine.loop import Loop, say
from shiftboss.confine.program import as_text, drop_to, restore_signals

# a deploy changes the link twice; a project that changes it all the time is not followed
_PAUSE_SECONDS = 0.02
_PATIENCE_SECONDS = 5.0
_MAX_RESULT = 64 * 1024


class Place(NamedTuple):
    """A link to a release, and the account that looks where it leads."""

    current: str
    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class Releases:
    """The release of every project that is followed; `changed` is called with a project's name."""

    def __init__(self, loop: Loop, nursery: Nursery, changed: Callable[[str], None]) -> None:
        self.paths: dict[str, str] = {}
        self._loop, self._nursery, self._changed = loop, nursery, changed
        self._places: dict[str, Place] = {}
        self._watched: dict[str, int] = {}
        self._due: dict[str, None] = {}
        self._looking = False
        self._inotify = -1
        try:
            self._inotify = kernel.open_inotify()
            loop.watch(self._inotify, self._on_event)
        except OSError as error:
            say(f"releases are seen at starts only: {error}")

    def follow(self, places: dict[str, Place]) -> None:
        """Follow these projects, and no others."""
        for project, place in places.items():
            before = self._places.get(project)
            if before is None or (before.current, before.uid) != (place.current, place.uid):
                self._due[project] = None
        for project in self._places.keys() - places.keys():
            self.paths.pop(project, None)
            self._watched.pop(project, None)
        self._places = places
        self._look()

    def _on_event(self, _: int) -> None:
        """Read what changed, then be deaf for a moment: it may be a project that changes things all the time."""
        for watch, mask, name in kernel.inotify_events(os.read(self._inotify, _MAX_RESULT)):
            following = [project for project, watched in self._watched.items() if watched == watch]
            if mask & kernel.IN_OVERFLOW:
                self._due |= dict.fromkeys(self._places)
            elif not following and not self._looking:
                kernel.unwatch(self._inotify, watch)
            self._due |= {project: None for project in following if self._matters(project, name)}
        self._loop.unwatch(self._inotify)
        self._loop.after(_PAUSE_SECONDS, self._listen)

    def _matters(self, project: str, name: str) -> bool:
        # the parent is watched, or (while that does not exist) a directory above it
        return not name or name in self._places[project].current.split("/")

    def _listen(self) -> None:
        self._loop.watch(self._inotify, self._on_event)
        self._look()

    def _look(self) -> None:
        """Look at one project that is due, unless a look is under way."""
        while self._due and not self._looking:
            project = next(iter(self._due))
            del self._due[project]
            if project in self._places:
                self._look_at(project, self._places[project])

    def _look_at(self, project: str, place: Place) -> None:
        result, told = os.pipe2(os.O_CLOEXEC)
        try:
            pid, _ = self._nursery.fork("")
            if pid == 0:
                _tell_release(self._inotify, place, told, self._nursery.restored)
        except OSError as error:
            say(f"cannot look at the release of {project}: {error.strerror}")
            os.close(result)
            return
        finally:
            os.close(told)
        self._looking = True
        self._loop.children[pid] = lambda status, usage: self._on_told(project, result, status, usage)
        self._loop.after(_PATIENCE_SECONDS, lambda: self._give_up(pid))

    def _give_up(self, pid: int) -> None:
        if pid in self._loop.children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._looking = False  # it may hang in the kernel for ever
            self._look()

    def _on_told(self, project: str, result: int, status: int, _: struct_rusage) -> None:
        with open(result, "rb") as file:
            raw = file.read(_MAX_RESULT)
        self._looking = False
        if status == 0 and project in self._places:
            watch, path = json.loads(raw)
            self._watched[project] = watch
            if self.paths.get(project) != path:
                self.paths[project] = path
                self._changed(project)
        self._look()


def _tell_release(inotify: int, place: Place, told: int, restored: tuple[int, ...]) -> None:
    """In the child; never returns."""
    try:
        restore_signals(restored)
        found = look(inotify, place)
        os.write(told, json.dumps(found).encode())
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 -- a child must end here whatever happens
        say(f"cannot look at {place.current}: {error}")
    os._exit(1)


def look(inotify: int, place: Place) -> tuple[int, str]:
    """Watch the directory of a link, drop to the user for good, and return the watch and where the link leads.

    For a forked child: the path may hang (NFS), and root shall not follow the links of a project. The watch is -1
    if there can be none; the path is "" if the user cannot enter it. Raises StepError.
    """
    watch = _watch(inotify, os.path.dirname(place.current.rstrip("/"))) if inotify >= 0 else -1
    drop_to(place.user, place.uid, place.gid, place.groups)
    with suppress(OSError):
        os.chdir(place.current)
        return watch, as_text(os.getcwdb())
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
