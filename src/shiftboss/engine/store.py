"""The store as the engine uses it: batches in a thread of their own. Whatever happens to it, nothing waits for it long."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from shiftboss.api.calls import Event, History
from shiftboss.core.agenda_values import Save
from shiftboss.core.errors import HostError
from shiftboss.core.occurrence import Row
from shiftboss.engine.database import Batch, Database, Key, Memory, ProcessMemory, ScaleMemory
from shiftboss.engine.occurrences import Detail, Wanted

log = logging.getLogger(__name__)

LATE_SECONDS = 5.0  # a disk that takes longer than this is not waited for
RETRY_SECONDS = 5.0
_MOST_KEPT = 5000  # events kept in memory while they cannot be written

Then = Callable[[], None]
OnSaved = Callable[[str], None]
_T = TypeVar("_T")


class Store:
    """Collects changes; `flush` has them written in one transaction while the engine goes on.

    `then` of an exit is called when it is stored, or when it is clear that it cannot be: the keeper may forget
    it. What could not be written is tried again. `trouble` is a sentence while something is wrong, else "".
    """

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        self.trouble = ""
        self._database, self._loop = database, loop
        self._thread = ThreadPoolExecutor(1, "store")
        self._pending, self._thens = Batch(), list[Then]()
        self._in_flight: list[Then] = []
        self._is_writing = False
        self._saving: set[asyncio.Task[None]] = set()
        self._late: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    async def load(self) -> Memory | None:
        """Return what is remembered, None if that cannot be known in reasonable time."""
        future = self._loop.run_in_executor(self._thread, self._database.load)
        try:
            return await asyncio.wait_for(asyncio.shield(future), LATE_SECONDS)
        except HostError as error:
            self._failed(error.message)
        except TimeoutError:
            self._failed(f"cannot read {self._database.path}: the disk does not answer")
        return None

    def record(self, event: Event, then: Then | None = None) -> None:
        """Add an event to the history with the next flush."""
        events = self._pending.events
        events.append(event)
        if len(events) > _MOST_KEPT:
            del events[: len(events) - _MOST_KEPT]
        if then:
            self._thens.append(then)

    def remember(self, key: Key, memory: ProcessMemory | None) -> None:
        """Remember (None: forget) this of a process with the next flush; the last one counts."""
        self._pending.processes[key] = memory

    def remember_scale(self, entry: str, memory: ScaleMemory | None) -> None:
        """Remember (None: forget) a live scale with the next flush."""
        self._pending.scales[entry] = memory

    def vanished(self, key: Key, at: float) -> None:
        """Give the last run of a process an end with the next flush, if it has none."""
        self._pending.vanished[key] = at

    def flush(self) -> None:
        """Have everything written that was collected; returns at once."""
        if self.trouble:
            self._release(self._thens)
        if self._is_writing or self._retry or self._pending.is_empty():
            return
        batch, self._pending = self._pending, Batch()
        self._in_flight, self._thens = self._thens, []
        self._is_writing = True
        self._late = self._loop.call_later(LATE_SECONDS, self._is_late)
        future = self._thread.submit(self._database.write, batch)
        future.add_done_callback(partial(self._from_thread, batch))

    def save(self, save: Save, details: list[Detail], then: OnSaved) -> None:
        """Write what happened to schedules; `then` gets why that failed, or "" once it is on disk."""
        task = self._loop.create_task(self._save(save, details, then))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def _save(self, save: Save, details: list[Detail], then: OnSaved) -> None:
        words = ""
        future = self._loop.run_in_executor(self._thread, self._database.save, save, details)
        try:
            await asyncio.wait_for(asyncio.shield(future), LATE_SECONDS)
        except HostError as error:
            words = error.message
        except TimeoutError:
            words = f"cannot write {self._database.path}: the disk does not answer"
            future.add_done_callback(_is_over)
        if words:
            log.error("%s", words, extra={"event": "store_failed"})
        then(words)

    async def occurrences(self, wanted: Wanted) -> list[tuple[Row, Detail | None]]:
        """Return occurrences of schedules, newest first; raises HostError where the store cannot be read."""
        return await self._read(partial(self._database.occurrences, wanted))

    async def history(self, query: History, targets: list[tuple[str, int]]) -> list[Event]:
        """Return past events, all that were told before included; raises HostError where the store cannot be read."""
        await self._all_handed_over()
        return await self._read(partial(self._database.history, query, targets))

    async def _all_handed_over(self) -> None:
        """Wait while events are collected behind a batch that is being written; a store in trouble is not waited for."""
        if self.trouble or self._pending.is_empty():
            return
        written = asyncio.Event()
        self._thens.append(written.set)
        self.flush()
        await written.wait()

    async def _read(self, work: Callable[[], _T]) -> _T:
        future = self._loop.run_in_executor(self._thread, work)
        try:
            return await asyncio.wait_for(asyncio.shield(future), LATE_SECONDS)
        except TimeoutError:
            raise HostError(
                f"cannot read {self._database.path}: the disk does not answer",
                hint="Look at the disk below the state directory.",
            ) from None

    async def close(self) -> None:
        """Write what is left, if that goes quickly, and let go."""
        if self._retry:
            self._retry.cancel()
            self._retry = None
        self.flush()
        end = self._loop.time() + LATE_SECONDS
        while (
            (self._is_writing or self._saving or not self._pending.is_empty())
            and self._loop.time() < end
            and not self.trouble
        ):
            await asyncio.sleep(0.005)
            self.flush()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _from_thread(self, batch: Batch, future: Future[None]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._written, batch, future.exception())
        except RuntimeError:  # the loop is closed: the engine is ending
            log.debug("a batch was written after the end of the loop")

    def _written(self, batch: Batch, error: BaseException | None) -> None:
        self._is_writing = False
        if self._late:
            self._late.cancel()
            self._late = None
        self._release(self._in_flight)
        if error is None:
            self._recovered()
            self.flush()
            return
        self._failed(
            error.message if isinstance(error, HostError) else f"cannot write the history: {error!r}"
        )
        self._put_back(batch)
        self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)

    def _put_back(self, batch: Batch) -> None:
        newer = self._pending
        events = (batch.events + newer.events)[-_MOST_KEPT:]
        self._pending = Batch(
            events,
            {**batch.processes, **newer.processes},
            {**batch.scales, **newer.scales},
            {**batch.vanished, **newer.vanished},
        )

    def _try_again(self) -> None:
        self._retry = None
        self.flush()

    def _is_late(self) -> None:
        self._failed(f"cannot write {self._database.path}: the disk does not answer")
        self._release(self._in_flight)
        self._release(self._thens)

    def _failed(self, words: str) -> None:
        if self.trouble != words:
            log.error("%s", words, extra={"event": "store_failed"})
        self.trouble = words
        self._release(self._thens)

    def _recovered(self) -> None:
        if self.trouble:
            log.warning("the store can be written again", extra={"event": "store_recovered"})
        self.trouble = ""

    @staticmethod
    def _release(thens: list[Then]) -> None:
        waiting = thens[:]
        thens.clear()
        for then in waiting:
            then()


def _is_over(future: asyncio.Future[None]) -> None:
    """Take note that a write that nobody waits for any more has ended, with an error or not."""
    if not future.cancelled():
        future.exception()
