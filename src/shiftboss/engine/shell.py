"""The shell: performs what the loop decides, for real. Nothing here decides anything."""

import asyncio
import contextlib
import logging
import os
import random
import resource
import time
from collections.abc import Callable, Coroutine
from typing import Any

from shiftboss.api.calls import Event
from shiftboss.confine import usage
from shiftboss.core.agenda_values import Save
from shiftboss.core.clock_gap import Moment
from shiftboss.core.errors import HostError
from shiftboss.core.exit_reason import Starved
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.alarm import Alarm
from shiftboss.engine.capture import Capture
from shiftboss.engine.database import ProcessMemory, ScaleMemory
from shiftboss.engine.hub import Hub
from shiftboss.engine.keeper_link import KeeperLink, close_descriptor
from shiftboss.engine.listeners import listener_of
from shiftboss.engine.occurrences import Detail
from shiftboss.engine.run_output import RunOutput, log_of
from shiftboss.engine.shell_port import Key
from shiftboss.engine.store import Store
from shiftboss.engine.timers import Timers

log = logging.getLogger(__name__)

_SPARED_DESCRIPTORS = 64  # for clients, logs and the store: pipes do not take them all
_FINISH_PAUSES = (
    0.05,
    0.2,
    0.8,
    3.2,
)  # seconds; after the last the keeper may forget the pipe, we still have it
_TAIL_SECONDS = 2.0  # how long an exit waits for its last log lines


class RealShell:
    """The `Shell` of a running engine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, capture: Capture, store: Store, hub: Hub) -> None:
        self._loop, self._capture, self._store, self._hub = loop, capture, store, hub
        self._link: KeeperLink | None = None
        self._timers: Timers | None = None
        self._alarm = Alarm(loop, self._rang)
        self._on_alarm: Callable[[], None] = lambda: None
        self._output = RunOutput(loop, capture)
        self._tasks: set[asyncio.Task[None]] = set()
        self.users: dict[int, str] = {}
        self._most_pipes = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARED_DESCRIPTORS
        self._uncaptured = 0
        self.on_room: Callable[[], None] = lambda: None
        self.api: tuple[int, str] | None = None
        self.is_lost = False
        self.on_ready = asyncio.Event()
        self.on_closing = asyncio.Event()
        self.on_end = asyncio.Event()

    @property
    def trouble(self) -> str:
        """What is wrong with output, "" if nothing is."""
        if not self._uncaptured:
            return ""
        return f"too many open files: the output of {self._uncaptured} runs is not read (raise the limit of open files)"

    def connect(self, link: KeeperLink, timers: Timers) -> None:
        """Take the parts that in their turn need the loop."""
        self._link, self._timers = link, timers

    # ---- time

    def now(self) -> float:  # noqa: D102 -- as in Shell, here and below
        return time.monotonic()

    def wall(self) -> float:  # noqa: D102
        return time.time()  # noqa: TID251 -- labels of events

    def moment(self) -> Moment:  # noqa: D102
        return Moment(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))  # noqa: TID251 -- schedules go by it

    def wake_at(self, wall: float, mono: float, then: Callable[[], None]) -> None:  # noqa: D102
        self._on_alarm = then
        self._alarm.set(wall, mono)

    def _rang(self) -> None:
        self._on_alarm()

    def jitter(self) -> float:  # noqa: D102
        return random.random()  # noqa: S311 -- spreads restarts, protects nothing

    def arm(self, key: Key, epoch: int, seconds: float) -> None:  # noqa: D102
        assert self._timers
        self._timers.arm(key, epoch, seconds)

    def cancel(self, key: Key) -> None:  # noqa: D102
        assert self._timers
        self._timers.cancel(key)

    def due_in(self, key: Key) -> float | None:  # noqa: D102
        assert self._timers
        return self._timers.due_in(key)

    def after(self, seconds: float, then: Callable[[], None]) -> Callable[[], None]:  # noqa: D102
        return self._loop.call_later(seconds, then).cancel

    def soon(self, then: Callable[[], None]) -> None:  # noqa: D102
        self._loop.call_soon(then)

    # ---- keeper

    def send(self, request: messages.Request) -> None:  # noqa: D102
        assert self._link
        self._link.send(request)

    def serve(self, descriptor: int, path: str) -> None:  # noqa: D102
        if self.api is None and descriptor >= 0:
            self.api = (descriptor, path)
        else:
            close_descriptor(descriptor)

    def close_descriptor(self, descriptor: int) -> None:  # noqa: D102
        close_descriptor(descriptor)

    # ---- output

    def attach(self, entry: Entry, process: int, run: int, descriptor: int) -> None:  # noqa: D102
        if descriptor >= self._most_pipes:
            close_descriptor(descriptor)
            self._uncaptured += 1
            return
        self._capture.attach(entry.address, process, run, descriptor, *log_of(entry))

    def finish(self, entry: Entry, process: int, run: int, then: Callable[[], None]) -> None:  # noqa: D102
        self._spawn(self._finish(entry.address, process, run, then))

    def begin_output(self, entry: Entry, lane: int, run: int, descriptor: int, line: str) -> None:  # noqa: D102
        if descriptor >= self._most_pipes:
            close_descriptor(descriptor)
            self._uncaptured += 1
            return
        self._output.begin(entry, lane, run, descriptor, line)

    def end_output(self, entry: Entry, lane: int, run: int, line: str) -> None:  # noqa: D102
        self._output.end(entry, lane, run, line)

    def tail_output(  # noqa: D102
        self, entry: Entry, lane: int, run: int, lines: int, then: Callable[[list[str]], None]
    ) -> None:
        self._output.tail(entry, lane, run, lines, then)

    def finish_output(self, entry: Entry, lane: int, run: int, then: Callable[[], None]) -> None:  # noqa: D102
        self._output.finish(entry, run, lambda: self._finish(entry.address, lane, run, then))

    def tail(self, entry: str, lines: int, then: Callable[[list[str]], None]) -> None:  # noqa: D102
        self._spawn(self._tail(entry, lines, then))

    def limits_changed(self, entries: list[Entry]) -> None:  # noqa: D102
        self.users = {0: "root", **{entry.uid: entry.user for entry in entries}}
        self._capture.reload({entry.address: log_of(entry) for entry in entries})

    async def _finish(self, entry: str, process: int, run: int, then: Callable[[], None]) -> None:
        for pause in _FINISH_PAUSES:
            if await self._capture.finish(entry, process, run):
                break
            await asyncio.sleep(pause)  # the disk is slow, or somebody outside has the pipe: look again
        then()
        if self._uncaptured:
            self._uncaptured = 0
            self.on_room()

    async def _tail(self, entry: str, lines: int, then: Callable[[list[str]], None]) -> None:
        try:
            found = await self._capture.tail(entry, lines, _TAIL_SECONDS)
        except HostError as error:
            log.warning("%s", error.message, extra={"event": "tail_failed", "unit": entry})
            found = []
        then(found)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._loop.call_exception_handler({"message": "a task failed", "exception": error, "task": task})

    # ---- memory and listeners

    def listener(self, port: int, then: Callable[[str], None]) -> None:  # noqa: D102
        self._spawn(self._listener(port, then))

    async def _listener(self, port: int, then: Callable[[str], None]) -> None:
        found = ""
        with contextlib.suppress(OSError, RuntimeError):  # no descriptor, or no thread, to be had just now
            found = await asyncio.to_thread(listener_of, port, self.users)
        then(found)

    def usage(self, pid: int, cgroup: str, groups: tuple[str, ...]) -> usage.Usage:  # noqa: D102
        return usage.usage_of(pid, cgroup, list(groups))

    def starved(self, groups: tuple[str, ...]) -> Starved | None:  # noqa: D102
        killed = usage.read_killed(list(groups))
        return Starved(*killed) if killed.times else None

    def is_deleted(self, path: str) -> bool | None:  # noqa: D102
        if "\\x" in path:  # it has a name that is no text, and this is not how it is spelt
            return None
        try:
            os.stat(path)
        except FileNotFoundError:
            return True
        except OSError:
            return None
        return False

    def record(self, event: Event, then: Callable[[], None] | None = None) -> None:  # noqa: D102
        self._store.record(event, then)

    def save(self, save: Save, details: list[Detail], then: Callable[[str], None]) -> None:  # noqa: D102
        self._store.save(save, details, then)

    def remember(self, key: Key, memory: ProcessMemory | None) -> None:  # noqa: D102
        self._store.remember(key, memory)

    def vanished(self, key: Key) -> None:  # noqa: D102
        self._store.vanished(key, self.wall())

    def remember_scale(self, entry: str, memory: ScaleMemory | None) -> None:  # noqa: D102
        self._store.remember_scale(entry, memory)

    def flush(self) -> None:  # noqa: D102
        self._store.flush()

    def publish(self, event: Event) -> None:  # noqa: D102
        self._hub.publish(event)

    # ---- beginning and end

    def ready(self) -> None:  # noqa: D102
        self._capture.settled()
        self.on_ready.set()

    def closing(self, *, is_lost: bool) -> None:  # noqa: D102
        self.is_lost = is_lost
        self.on_closing.set()

    def end(self) -> None:  # noqa: D102
        self.on_end.set()

    async def settle(self, seconds: float) -> None:
        """Wait until everything that was begun is done, at most so many seconds."""
        self._alarm.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        await self._output.settle(seconds)
