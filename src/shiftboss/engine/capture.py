"""Capture: the output of every process goes into its log, and from there to those who ask.

Everything here is called by the engine's loop and returns at once; files are touched by the drainers' threads
only. Nothing that was not written yet is held in memory, so that killing the engine at any moment loses and
doubles nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple, TypeVar

from shiftboss.core.errors import HostError
from shiftboss.core.rotation import LineSplitter, LogLimits
from shiftboss.engine.drainer import Drainer
from shiftboss.engine.drainer_pool import DrainerPool
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_file import LogFile
from shiftboss.engine.log_reader import Follower, as_text
from shiftboss.engine.log_stream import Stream
from shiftboss.engine.log_writer import LogWriter
from shiftboss.engine.splice import Pipe
from shiftboss.engine.takeover_record import TakeoverRecord
from shiftboss.engine.unlogged import Unlogged

_AGAIN_SECONDS = 0.02
Key = tuple[str, int, int]
Log = LogWriter | Unlogged
_T = TypeVar("_T")


class LogStatus(NamedTuple):
    """One log: `pipes` that go into it now, bytes written and lost since the engine started, rotations.

    `problem` says why output is not stored as it should, empty if all is well.
    """

    path: str
    entries: tuple[str, ...]
    pipes: int
    written_bytes: int
    lost_bytes: int
    rotations: int
    problem: str


class Capture:
    """All logs of this engine. `record_path`: a file in a directory of the engine's own, for takeovers."""

    def __init__(self, record_path: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._record = TakeoverRecord(record_path)
        self._pool = DrainerPool(self._loop, self._ended)
        self._directories: dict[str, LogDirectory] = {}
        self._logs: dict[str, Log] = {}
        self._paths: dict[str, str] = {}
        self._streams: dict[Key, Stream] = {}
        self._wanted: frozenset[str] | None = None  # not told yet

    def reload(self, logs: Mapping[str, tuple[str, LogLimits]]) -> None:
        """Take the path (empty: no log) and limits of every entry; those that are not in it are forgotten.

        Output that comes already goes to the new place from now on. An entry that still has output stays.
        """
        wanted = {entry: self._log(entry, path, limits) for entry, (path, limits) in logs.items()}
        for stream in list(self._streams.values()):
            log = wanted.get(stream.entry, stream.log)
            if log is not stream.log:
                self._pool.ask(stream.log.place, partial(self._redirect, stream, log))
        self._wanted = frozenset(logs)
        self._let_go(self._wanted)

    def attach(
        self, entry: str, process: int, run: int, descriptor: int, log_path: str, limits: LogLimits
    ) -> None:
        """Capture the output of a run from the read end of its pipe, which is ours from now on.

        A descriptor of a run that is captured already is closed: the keeper told it twice.
        """
        key = (entry, process, run)
        if key in self._streams:
            os.close(descriptor)
            return
        log = self._log(entry, log_path, limits)
        stream = self._streams[key] = Stream(entry, process, run, Pipe(descriptor), log)
        log.add(stream)
        self._pool.add(stream)

    def settled(self) -> None:
        """Take note that every pipe of the engine before us was attached (else two seconds are waited for them).

        Until then unfinished lines wait: another process may write to the same log.
        """
        self._record.complete_at = 0.0

    async def finish(self, entry: str, process: int, run: int, timeout_seconds: float = 5.0) -> bool:
        """Wait until all that a run has written so far is in its log; tell whether nothing more can come.

        False: somebody still holds the other end (what comes is captured until they close it), or the disk did
        not answer within the time.
        """
        stream = self._streams.get((entry, process, run))
        if stream is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._empty(stream)
        return stream.ended

    async def tail(self, entry: str, count: int, timeout_seconds: float = 2.0) -> list[str]:
        """Return the last `count` lines of an entry's log, across its backups, an unfinished line too.

        Raises HostError if they cannot be read.
        """
        log = self._logs.get(self._paths.get(entry, ""))
        if log is None or count < 1:
            return []
        try:
            async with asyncio.timeout(timeout_seconds):
                lines, rest = await self._done(log, lambda drainer: _settled(log, drainer, count))
        except TimeoutError:
            raise HostError(f"cannot read the log of {entry}: the disk does not answer") from None
        except OSError as error:
            raise HostError(
                f"cannot read the log of {entry}: {(error.strerror or str(error)).lower()}"
            ) from None
        return [*lines, as_text(rest)][-count:] if rest else lines

    def subscribe(self, entry: str, backlog: int = 0) -> Follower:
        """Return an async iterator of the lines of an entry: the last `backlog`, then each new one. Close it."""
        follower = Follower(entry, self._loop)
        log = self._logs.get(self._paths.get(entry, ""))
        if log is None:
            follower.close()
        else:
            self._pool.ask(log.place, partial(_follow, log, follower, backlog))
        return follower

    def report(self) -> list[LogStatus]:
        """Return the state of every log."""
        entries: dict[str, list[str]] = {}
        for entry, path in self._paths.items():
            entries.setdefault(path, []).append(entry)
        return [self._status(path, log, tuple(entries.get(path, ()))) for path, log in self._logs.items()]

    def problems(self) -> dict[str, str]:
        """Return why output is not stored as it should, by the entries concerned."""
        problems = {path: words for path, log in self._logs.items() if (words := self._problem(path, log))}
        if not problems:
            return {}
        return {entry: problems[path] for entry, path in self._paths.items() if path in problems}

    @property
    def problem(self) -> str:
        """Why a kill of the engine may tear a line of a log that processes share; empty: it cannot."""
        return self._record.problem

    async def close(self, timeout_seconds: float = 2.0) -> None:
        """Store what waits and end the threads; one that hangs in the kernel is left behind."""
        await asyncio.gather(*(self.finish(*key, timeout_seconds) for key in list(self._streams)))
        await self._pool.close(timeout_seconds)
        self._record.close()

    # ---- inside

    def _log(self, entry: str, path: str, limits: LogLimits) -> Log:
        key = self._paths[entry] = path or entry
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = self._writer(path, limits) if path else Unlogged()
        log.limits = limits
        return log

    def _writer(self, path: str, limits: LogLimits) -> LogWriter:
        parent, name = os.path.split(path)
        directory = self._directories.setdefault(parent, LogDirectory(parent))
        return LogWriter(LogFile(directory, name, limits), self._record, self._pool.budget)

    def _status(self, path: str, log: Log, entries: tuple[str, ...]) -> LogStatus:
        streams = list(log.streams)
        lost = log.lost + sum(stream.stolen for stream in streams)
        problem = self._problem(path, log)
        return LogStatus(path, entries, len(streams), log.written, lost, log.rotations, problem)

    def _problem(self, path: str, log: Log) -> str:
        stalled = self._pool.stalled_seconds(log.place)
        return (
            f"cannot write to {path}: the disk has not answered for {stalled:.0f} s"
            if stalled
            else log.problem
        )

    async def _empty(self, stream: Stream) -> None:
        while True:
            if await self._done(stream.log, lambda drainer: drainer.empty(stream)):
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _done(self, log: Log, work: Callable[[Drainer], _T]) -> _T:
        """Let the thread that serves a log do `work`; return or raise what comes of it."""
        promise: Future[_T] = Future()

        def request(drainer: Drainer) -> None:
            if not promise.set_running_or_notify_cancel():
                return
            try:
                promise.set_result(work(drainer))
            except Exception as error:  # noqa: BLE001 -- it goes to the one who asked
                promise.set_exception(error)

        self._pool.ask(log.place, request)
        return await asyncio.wrap_future(promise)

    def _redirect(self, stream: Stream, log: Log, drainer: Drainer) -> None:
        """Let a stream go to another log (called by the thread that drains it)."""
        if drainer.streams.get(stream.pipe.descriptor) is not stream:
            return
        with drainer.guard:
            drainer.give_away(stream)
        stream.log.remove(stream)
        self._pool.budget.remove(stream.pipe)
        stream.log, stream.splitter = log, None
        log.add(stream)
        self._pool.add(stream)

    def _ended(self, stream: Stream) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._forget, stream)

    def _forget(self, stream: Stream) -> None:
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]
            if self._wanted is not None and stream.entry not in self._wanted:
                self._let_go(self._wanted)

    def _let_go(self, wanted: Collection[str]) -> None:
        """Forget the logs of entries that are not wanted and have no output; nothing of theirs is held open."""
        busy = {stream.entry for stream in self._streams.values()}
        self._paths = {entry: path for entry, path in self._paths.items() if entry in wanted or entry in busy}
        unused = [p for p in self._logs.keys() - set(self._paths.values()) if not self._logs[p].streams]
        left = [self._logs.pop(path) for path in unused]
        for log in left:
            log.leave()
        for place in {log.place for log in left} - {log.place for log in self._logs.values()}:
            self._directories.pop(place.path, None)
            self._pool.leave(place)


def _settled(log: Log, drainer: Drainer, count: int) -> tuple[list[str], bytes]:
    """Return the last lines after all that waits in the pipes was written."""
    for stream in list(log.streams):
        drainer.empty(stream)
    return log.last_lines(count)


def _follow(log: Log, follower: Follower, backlog: int, drainer: Drainer) -> None:
    """Begin to follow: what came so far is in the backlog, what comes from now on is new."""
    if not log.audience.is_there():
        for stream in log.streams:
            stream.splitter = None
    with contextlib.suppress(OSError):
        lines, rest = _settled(log, drainer, backlog)
        follower.offer(0, lines)
        if rest and len(log.streams) == 1 and log.streams[0].splitter is None:
            log.streams[0].splitter = LineSplitter()
            log.streams[0].splitter.feed(rest)
    log.audience.join(follower)
