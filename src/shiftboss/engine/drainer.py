"""The thread that empties the pipes: it sleeps while all are silent, ticks while some are not.

Why a thread: a write to a file can hang in the kernel for as long as the disk does, and nothing but the thread
that does it need wait. A tick collects what came, so that a program that prints short lines costs one wake-up
in some milliseconds, not one for each line.
"""

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_stream import Stream
from shiftboss.engine.splice import LARGE, SMALL, Peephole
from shiftboss.engine.ticks import HOT_BYTES, TICK, WAIT_TICK, Ticks

if TYPE_CHECKING:
    from shiftboss.engine.drainer_pool import DrainerPool

log = logging.getLogger(__name__)

_HEAT = 32
_BUDGET = 4 * LARGE  # of one pass
_ROUNDS = 16
_SLOW_SECONDS = 0.1

Request = Callable[["Drainer"], None]


class Drainer:
    """Empties pipes into their logs, in a thread of its own.

    `guard` is held while the state is changed that this thread and others share; never during a file
    operation. `busy` is the stream that is being drained, and since when (monotonic seconds); `idle` is true
    while all pipes are silent.
    """

    def __init__(self, pool: "DrainerPool") -> None:
        self.guard = threading.Lock()
        self.busy: tuple[Stream, float] | None = None
        self.idle = False
        self.thief: threading.Thread | None = None
        self.streams: dict[int, Stream] = {}
        self._pool, self._budget = pool, pool.budget
        self._requests: deque[tuple[LogDirectory, Request]] = deque()
        self._slow: LogDirectory | None = None
        self._ready, self._hot = dict[int, Stream](), dict[int, Stream]()
        self._ticks, self._look_at = Ticks(), 0.0
        self._peephole = Peephole()
        self._closing = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll, self._bell_epoll = select.epoll(), select.epoll()
        for epoll in (self._epoll, self._bell_epoll):
            epoll.register(self._bell, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, stream: Stream) -> None:
        """Drain a pipe from now on, at once for the first time."""
        with self.guard:
            self.streams[stream.pipe.descriptor] = stream
            self._ready[stream.pipe.descriptor] = stream
            self._register(stream)
        self._ring()

    def give_away(self, stream: Stream) -> None:
        """Drain a pipe no more; it stays open (called by the thread itself, or with `guard` while it hangs)."""
        descriptor = stream.pipe.descriptor
        del self.streams[descriptor]
        self._ready.pop(descriptor, None)
        if not self._hot.pop(descriptor, None):
            self._epoll.unregister(descriptor)
        stream.heat = 0

    def ask(self, about: LogDirectory, request: Request) -> None:
        """Let the thread call `request` soon; it must not raise. `about`: whose logs it touches."""
        self._requests.append((about, request))
        self._ring()

    def give_requests(self, about: Container[LogDirectory], other: "Drainer") -> None:
        """Hand what was asked about some directories over to another drainer."""
        for _ in range(len(self._requests)):
            place, request = self._requests.popleft()
            (other if place in about else self).ask(place, request)

    def close(self, timeout: float) -> bool:
        """End the thread; False if it hangs in the kernel, then nothing of it can be closed."""
        self._closing = True
        self._ring()
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        for stream in list(self.streams.values()):
            self._drop(stream)
        for part in (self._peephole, self._epoll, self._bell_epoll):
            part.close()
        os.close(self._bell)
        return True

    def empty(self, stream: Stream) -> bool:
        """Move all that waits in a pipe at this moment (called by the thread itself).

        False: it has to be asked again, because others must come first.
        """
        if self.streams.get(stream.pipe.descriptor) is not stream:
            return True
        left = stream.pipe.unread()
        while left > 0 and (moved := self._drain(stream, LARGE)):
            left -= moved
        if not stream.ended:
            self._drain(stream, SMALL)  # sees the end of the pipe
        self._sort(stream, 0)
        return stream.ended or not stream.again or left <= 0 or bool(stream.log.problem)

    # ---- the thread

    def _run(self) -> None:
        while not self._closing:
            try:
                self._wait()
                for _ in range(len(self._requests)):
                    self._requests.popleft()[1](self)
                self._pass()
            except Exception:  # a bug must not end the output of all
                log.exception("the output thread failed", extra={"event": "drainer_failed"})
                time.sleep(WAIT_TICK)

    def _wait(self) -> None:
        if self._hot:
            time.sleep(self._ticks.hot_tick)
            if (now := time.monotonic()) < self._look_at:
                return
            self._look_at = now + TICK
        elif self._ready:
            self._bell_epoll.poll(WAIT_TICK)
        else:
            self._sleep()
            if not self._requests:
                self._bell_epoll.poll(self._ticks.tick)
        self._collect(self._epoll.poll(0))

    def _sleep(self) -> None:
        since = time.monotonic()
        with self.guard:
            self.idle = True
        self._collect(self._epoll.poll())
        with self.guard:
            self.idle = False
        self._ticks.after_silence(time.monotonic() - since)
        self._pool.awake()

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    def _collect(self, events: list[tuple[int, int]]) -> None:
        for descriptor, event in events:
            if descriptor == self._bell:
                os.eventfd_read(self._bell)
            elif stream := self.streams.get(descriptor):
                self._ready[descriptor] = stream
                stream.hung_up = stream.hung_up or bool(event & select.EPOLLHUP)

    def _pass(self) -> None:
        most = min(LARGE, max(SMALL, _BUDGET // (len(self._hot) + 1)))
        with self.guard:
            ready, self._ready = self._ready, {}
        largest, fullest = 0, 0.0
        for stream in (*ready.values(), *self._hot.values()):
            if self.streams.get(stream.pipe.descriptor) is not stream:
                continue  # given away while another one hung
            moved = self._drain_some(stream, most)
            largest = max(largest, moved)
            fullest = max(fullest, moved / stream.pipe.capacity)
            self._sort(stream, moved)
        self._ticks.after_pass(largest, fullest)
        if self._slow:
            self._pool.slow(self, self._slow)
            self._slow = None

    def _drain_some(self, stream: Stream, most: int) -> int:
        total = 0
        for _ in range(_ROUNDS):
            total += (moved := self._drain(stream, most))
            if not (moved and stream.again) or total >= most:
                break
        return total

    def _drain(self, stream: Stream, most: int) -> int:
        now = time.monotonic()
        self.busy = (stream, now)
        try:
            return stream.log.drain(stream, self._peephole, most, now)
        except Exception:  # nor hold up the other logs
            log.exception("draining a log failed", extra={"event": "drain_failed", "entry": stream.entry})
            return 0
        finally:
            with self.guard:
                self.busy = None
            if time.monotonic() - now > _SLOW_SECONDS and stream.log.place.is_slow_again():
                self._slow = stream.log.place
            if self.thief:
                self.thief.join()  # nobody else reads our pipes any more
                self.thief = None

    def _sort(self, stream: Stream, moved: int) -> None:
        """Decide when a stream is drained next: never, at each tick, soon, or when it has something."""
        if stream.ended:
            self._drop(stream)
            self._pool.ended(stream)
            return
        if moved >= (HOT_BYTES // 4 if stream.heat else HOT_BYTES):
            self._heat(stream, moved)
        elif stream.heat:
            self._cool(stream)
        # the last bytes and the end may have come as one event: there is no other for the end
        if (stream.again or stream.hung_up) and not stream.heat:
            self._ready[stream.pipe.descriptor] = stream

    def _heat(self, stream: Stream, moved: int) -> None:
        if not stream.heat:
            self._epoll.unregister(stream.pipe.descriptor)  # its callback costs the writer 0.2 us a write
            self._hot[stream.pipe.descriptor] = stream
            self._ticks.heat()
        stream.heat = _HEAT
        if moved >= stream.pipe.capacity // 2:
            self._budget.grow(stream.pipe)

    def _cool(self, stream: Stream) -> None:
        stream.heat -= 1
        if not stream.heat:
            del self._hot[stream.pipe.descriptor]
            self._budget.shrink(stream.pipe)
            self._register(stream)

    def _drop(self, stream: Stream) -> None:
        with self.guard:
            self.give_away(stream)
        stream.log.remove(stream)
        self._budget.remove(stream.pipe)
        stream.pipe.close()

    def _register(self, stream: Stream) -> None:
        # edge-triggered: an unfinished line that waits in its pipe wakes nobody
        self._epoll.register(stream.pipe.descriptor, select.EPOLLIN | select.EPOLLET)
