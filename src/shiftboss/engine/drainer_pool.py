"""Drainers, normally one. Where a disk hangs, its logs are left to the thread that hangs with it.

All other logs go to a new thread. The pipes of the hanging logs are kept from filling up meanwhile: their
oldest output is dropped and counted. A disk that is slow again and again gets a thread of its own as well.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

from shiftboss.engine.drainer import Drainer
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_stream import Stream, make_room
from shiftboss.engine.splice import Peephole, PipeBudget

log = logging.getLogger(__name__)

_STALL_SECONDS = 0.5
_RELIEF_SECONDS = 0.016
_MOST_DRAINERS = 8


class DrainerPool:
    """Knows which drainer serves which directory, and watches for one that hangs (only while output comes)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[[Stream], None]) -> None:
        self.budget = PipeBudget()
        self._loop, self._ended = loop, ended
        self._drainers: list[Drainer] = []
        self._homes: dict[LogDirectory, Drainer] = {}
        self._watched = False
        self._closed = False
        self._peephole: Peephole | None = None
        self._lock = threading.Lock()  # a directory is in one home at a time

    def add(self, stream: Stream) -> None:
        """Drain a pipe from now on; all logs in a directory are served by the same drainer."""
        self.budget.add(stream.pipe)
        with self._lock:
            self._home(stream.log.place).add(stream)

    def ask(self, directory: LogDirectory, request: Callable[[Drainer], None]) -> None:
        """Let the drainer that serves a directory call `request`, which may touch its logs, soon."""
        with self._lock:
            self._home(directory).ask(directory, request)

    def leave(self, directory: LogDirectory) -> None:
        """Close a directory in which no log is any more, once all that was asked about it is done."""
        with self._lock:
            if home := self._homes.pop(directory, None):
                home.ask(directory, lambda _: directory.close())

    def stalled_seconds(self, directory: LogDirectory) -> float:
        """Return for how long the disk of a directory has not answered, 0 if it does."""
        drainer = self._homes.get(directory)
        return _stalled(drainer) if drainer else 0.0

    async def close(self, timeout_seconds: float) -> None:
        """End all threads that do not hang."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(one.close, timeout_seconds) for one in self._drainers))
        if self._peephole:
            self._peephole.close()

    # ---- called by drainers

    def ended(self, stream: Stream) -> None:
        """A pipe was read to its end and is closed."""
        self._ended(stream)

    def slow(self, drainer: Drainer, directory: LogDirectory) -> None:
        """A disk was slow again and again: leave the drainer to it, if others are served by it as well."""
        with self._lock:
            others = self._others(drainer, directory)
            if others and len(self._drainers) < _MOST_DRAINERS:
                with drainer.guard:
                    self._move(drainer, others, self._add())

    def awake(self) -> None:
        """Output comes: watch."""
        if not self._watched and not self._closed:
            self._watched = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._loop.call_later, _STALL_SECONDS, self._watch)

    # ---- watching

    def _watch(self) -> None:
        if self._closed:
            return
        for drainer in list(self._drainers):
            if _stalled(drainer):
                self._relieve(drainer)
        idle = True
        for drainer in self._drainers:
            with drainer.guard:
                idle = idle and drainer.idle
                self._watched = not idle
        if self._watched:
            self._loop.call_later(_STALL_SECONDS, self._watch)

    # ---- relief

    def _relieve(self, drainer: Drainer) -> None:
        busy = drainer.busy
        if busy is None or drainer.thief is not None:
            return
        stuck = busy[0]
        log.warning(
            "%s does not answer",
            stuck.log.place.path,
            extra={"event": "log_disk_hangs", "entry": stuck.entry},
        )
        self._move_others(drainer, busy)
        with drainer.guard:
            if drainer.busy is busy:
                drainer.thief = threading.Thread(target=self._rob, args=(drainer, busy), daemon=True)
                drainer.thief.start()
        self._relieve_others(drainer, busy)

    def _move_others(self, drainer: Drainer, busy: tuple[Stream, float]) -> None:
        """Give all that is not on the hanging disk to another thread."""
        with self._lock:
            others = self._others(drainer, busy[0].log.place)
            if not others or len(self._drainers) >= _MOST_DRAINERS:
                return
            fresh = self._add()
            with drainer.guard:
                if drainer.busy is busy:
                    self._move(drainer, others, fresh)

    def _others(self, drainer: Drainer, directory: LogDirectory) -> set[LogDirectory]:
        """Return the directories served by a drainer that are on another disk, as far as is known."""
        return {
            place
            for place, home in self._homes.items()
            if home is drainer
            and place is not directory
            and not (directory.device and place.device == directory.device)
        }

    def _move(self, drainer: Drainer, places: set[LogDirectory], fresh: Drainer) -> None:
        moving = [stream for stream in drainer.streams.values() if stream.log.place in places]
        for stream in moving:
            drainer.give_away(stream)
            fresh.add(stream)
        drainer.give_requests(places, fresh)
        for place in places:
            self._homes[place] = fresh

    def _relieve_others(self, drainer: Drainer, busy: tuple[Stream, float]) -> None:
        """Again and again, while it lasts: keep the pipes from filling up whose disk hangs."""
        self._peephole = self._peephole or Peephole()
        with drainer.guard:
            if drainer.busy is not busy or self._closed:
                return
            for stream in drainer.streams.values():
                if stream is not busy[0]:
                    stream.stolen += make_room(stream, self._peephole, self.budget)
        self._loop.call_later(_RELIEF_SECONDS, self._relieve_others, drainer, busy)

    def _rob(self, drainer: Drainer, busy: tuple[Stream, float]) -> None:
        """The same for the one pipe that the hanging call has in its hands: this may hang as well."""
        peephole, stream = Peephole(), busy[0]
        while drainer.busy is busy and not self._closed:
            stream.stolen += make_room(stream, peephole, self.budget)
            time.sleep(_RELIEF_SECONDS)
        peephole.close()

    def _home(self, directory: LogDirectory) -> Drainer:
        drainer = self._homes.get(directory)
        if drainer is None:
            free = (one for one in reversed(self._drainers) if not _stalled(one))
            drainer = self._homes[directory] = next(free, None) or self._add()
        return drainer

    def _add(self) -> Drainer:
        drainer = Drainer(self)
        self._drainers.append(drainer)
        drainer.start()
        return drainer


def _stalled(drainer: Drainer) -> float:
    """Return for how many seconds a drainer has been hanging in the kernel, 0 if it is not."""
    busy = drainer.busy
    lasted = time.monotonic() - busy[1] if busy else 0.0
    return lasted if lasted > _STALL_SECONDS else 0.0
