"""The keeper's loop: descriptors, timers, children, signals. One thread; nothing in it waits but `epoll`."""

import heapq
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from resource import struct_rusage

# plain numbers: an enum's would be slow at each fork
HANDLED = (int(signal.SIGCHLD), int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGHUP))
_CANCELLED_MOST = 100  # timers that may lie about before they are thrown out
_AFTER_ERROR_SECONDS = 0.05  # an error that repeats at each turn must not take the processor


def say(text: str) -> None:
    """Write one line to our standard error if it takes it now; a reader that hangs does not hold us up."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            line = text.replace("\n", " ")[:2000].encode("utf-8", "backslashreplace")
            os.write(2, b"shiftboss keeper: " + line + b"\n")


class Loop:
    """Calls back when a descriptor is ready, a time has come, a child has ended, a signal came.

    `children`: pid to what is called with (wait status, rusage) at its end; every other child is reaped silently.
    `reaped` is called once after each batch of ended children. An error in a callback is said, and the loop goes on.
    """

    def __init__(self) -> None:
        self.children: dict[int, Callable[[int, struct_rusage], None]] = {}
        self._on_signal: dict[int, Callable[[], None]] = {}
        self.reaped: Callable[[], None] = lambda: None
        self.running = True
        self._ready: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int]] = []  # when, and which of:
        self._due: dict[int, Callable[[], None]] = {}
        self._serial = 0
        self._epoll = select.epoll()
        self._awake, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.watch(self._awake, self._on_wakeup)

    def take_signals(self, callbacks: dict[int, Callable[[], None]]) -> None:
        """From now on signals arrive here; CHLD is our own."""
        self._on_signal = callbacks
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, lambda *_: None)

    def watch(self, descriptor: int, callback: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call back with the epoll events whenever the descriptor is ready."""
        if descriptor in self._ready:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._ready[descriptor] = callback

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; before the descriptor is closed."""
        if self._ready.pop(descriptor, None):
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, callback: Callable[[], None]) -> int:
        """Call back once after some time; return what `cancel` takes. Until then everything in `callback` is held."""
        self._serial += 1
        self._due[self._serial] = callback
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._serial))
        return self._serial

    def cancel(self, timer: int) -> None:
        """Do not call back, and let go of the callback; one that has been called, or 0, is no error."""
        if self._due.pop(timer, None) and len(self._timers) > 2 * len(self._due) + _CANCELLED_MOST:
            self._timers = [row for row in self._timers if row[1] in self._due]
            heapq.heapify(self._timers)

    def run(self) -> None:
        """Run until `running` is false."""
        while self.running:
            self.turn()

    def turn(self) -> None:
        """Wait for something and do what there is to do."""
        while self._timers and self._timers[0][1] not in self._due:
            heapq.heappop(self._timers)  # nobody is woken for one that was cancelled
        wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        ready = [(fd, self._ready.get(fd), events) for fd, events in self._epoll.poll(wait)]
        for descriptor, callback, events in ready:
            # a callback before may have closed it, and the number may be another's by now
            if callback and self._ready.get(descriptor) is callback:
                self._guard(callback, events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            if due := self._due.pop(heapq.heappop(self._timers)[1], None):
                self._guard(due)

    def _on_wakeup(self, _: int) -> None:
        with suppress(BlockingIOError):
            numbers = set(os.read(self._awake, 4096))
            for number in numbers & self._on_signal.keys():
                self._guard(self._on_signal[number])
            if signal.SIGCHLD in numbers:
                self.reap()

    def reap(self) -> None:
        """Take the status of every child that has ended."""
        with suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                pid, status, usage = ended
                callback = self.children.pop(pid, None)
                if callback:
                    self._guard(callback, status, usage)
        self._guard(self.reaped)

    def _guard(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 -- the keeper's loop never ends by an error
            say(f"internal error: {type(error).__name__}: {error} ({_place(error)})")
            time.sleep(_AFTER_ERROR_SECONDS)


def _place(error: Exception) -> str:
    """Return file and line where an error was raised (the module traceback is slow to import)."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
