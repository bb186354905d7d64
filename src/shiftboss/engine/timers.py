"""Timers of processes: one wake-up for the earliest, none while nothing is due. The newest of a key is the only one."""

import heapq
from collections.abc import Callable
from typing import Any, Protocol

# Timers that are due within this time ring together: 1000 starts at once do not wake the engine 1000 times.
SLACK_SECONDS = 0.02

Key = tuple[str, int]


class Alarm(Protocol):
    """A source of wake-ups; an asyncio loop is one. What `call_at` returns can be cancelled."""

    def time(self) -> float:
        """Return monotonic seconds."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Any:  # asyncio.TimerHandle, or a fake's
        """Call `callback` at that time."""
        ...


class Timers:
    """Rings for (entry, process) with the epoch it was armed with."""

    def __init__(self, alarm: Alarm, ring: Callable[[Key, int], None]) -> None:
        self._alarm = alarm
        self._ring = ring
        self._armed: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, Key, int]] = []
        self._wake_at = 0.0
        self._handle: Any = None

    def arm(self, key: Key, epoch: int, seconds: float) -> None:
        """Ring `key` after so many seconds; an earlier timer of the same key is void."""
        due = self._alarm.time() + seconds
        self._armed[key] = (due, epoch)
        heapq.heappush(self._heap, (due, key, epoch))
        self._schedule()

    def cancel(self, key: Key) -> None:
        """Forget the timer of `key`, if there is one."""
        if self._armed.pop(key, None):
            self._schedule()

    def due_in(self, key: Key) -> float | None:
        """Return the seconds until `key` rings, None if it has no timer."""
        armed = self._armed.get(key)
        return max(0.0, armed[0] - self._alarm.time()) if armed else None

    def _schedule(self) -> None:
        while self._heap and self._is_void(self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap:
            self._unschedule()
        elif self._handle is None or not self._wake_at - SLACK_SECONDS <= self._heap[0][0] <= self._wake_at:
            self._unschedule()
            self._wake_at = self._heap[0][0] + SLACK_SECONDS
            self._handle = self._alarm.call_at(self._wake_at, self._wake)

    def _is_void(self, item: tuple[float, Key, int]) -> bool:
        due, key, epoch = item
        return self._armed.get(key) != (due, epoch)

    def _unschedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake(self) -> None:
        self._handle = None
        until = self._alarm.time()
        while self._heap and self._heap[0][0] <= until:
            item = heapq.heappop(self._heap)
            if not self._is_void(item):
                _, key, epoch = item
                del self._armed[key]
                self._ring(key, epoch)
        self._schedule()
