"""The output of runs of schedules: captured like any other, between a line that begins and one that ends each run."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from functools import lru_cache

from shiftboss.core.errors import HostError
from shiftboss.core.rotation import LogLimits
from shiftboss.core.run_log import last_output_of
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.capture import Capture
from shiftboss.engine.keeper_link import close_descriptor

_OURS = 0  # the process number of our own lines: runs have lanes from 1 on
_PATIENCE_SECONDS = 2.0
Key = tuple[str, int]


class RunOutput:
    """What concerns one run is done in its order, each step after the one before; runs do not wait for each other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, capture: Capture) -> None:
        self._loop, self._capture = loop, capture
        self._last: dict[Key, asyncio.Task[None]] = {}
        self._lines = 0

    def begin(self, entry: Entry, lane: int, run: int, descriptor: int, line: str) -> None:
        """Write the line (none if empty), then capture what comes from the pipe."""

        async def work() -> None:
            if line:
                await self._write(entry, line)
            self._capture.attach(entry.address, lane, run, descriptor, *log_of(entry))

        if descriptor >= 0:
            self._then((entry.address, run), work())

    def end(self, entry: Entry, lane: int, run: int, line: str) -> None:
        """Write the line behind all that the run has written by now."""

        async def work() -> None:
            await self._capture.finish(entry.address, lane, run, _PATIENCE_SECONDS)
            await self._write(entry, line)

        self._then((entry.address, run), work())

    def tail(self, entry: Entry, lane: int, run: int, count: int, then: Callable[[list[str]], None]) -> None:
        """Hand over the last lines that a run has written by now; none of them if the disk takes long."""

        async def work() -> None:
            found: list[str] = []
            with contextlib.suppress(HostError):
                await self._capture.finish(entry.address, lane, run, _PATIENCE_SECONDS)
                found = await self._capture.tail(entry.address, count, _PATIENCE_SECONDS)
            then(last_output_of(found, run))

        self._then((entry.address, run), work())

    def finish(self, entry: Entry, run: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do this when all that was begun for the run is done."""

        async def last() -> None:
            await work()

        self._then((entry.address, run), last())

    async def settle(self, seconds: float) -> None:
        """Wait until everything that was begun is done, at most so many seconds."""
        if self._last:
            await asyncio.wait(set(self._last.values()), timeout=seconds)

    def _then(self, key: Key, work: Awaitable[None]) -> None:
        before = self._last.get(key)

        async def in_turn() -> None:
            if before:
                await asyncio.wait({before})
            await work

        task = self._last[key] = self._loop.create_task(in_turn())
        task.add_done_callback(lambda task: self._is_done(key, task))

    def _is_done(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._last.get(key) is task:
            del self._last[key]
        if not task.cancelled() and (error := task.exception()):
            self._loop.call_exception_handler({"message": "a task failed", "exception": error, "task": task})

    async def _write(self, entry: Entry, line: str) -> None:
        """Write a line of ours as if a process had: through a pipe, so that rotation and full disks are treated alike."""
        try:
            ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # no descriptor to be had: the log goes without this line
        os.write(theirs, f"{line}\n".encode())
        close_descriptor(theirs)
        self._lines += 1
        number = self._lines
        self._capture.attach(entry.address, _OURS, number, ours, *log_of(entry))
        await self._capture.finish(entry.address, _OURS, number, _PATIENCE_SECONDS)


def log_of(entry: Entry) -> tuple[str, LogLimits]:
    """Return where the output of an entry goes (empty: nowhere) and how much of it is kept."""
    policy = entry.policy
    return policy.log_path, _limits(policy.log_max_bytes, policy.log_backups, policy.log_total_bytes)


_limits = lru_cache(256)(LogLimits)  # the logs of a server are bounded alike: one value for all
