"""Wakes the engine at a time of the real clock or of the monotonic one, and whenever the real clock is set."""

import asyncio
import ctypes
import errno
import os
import time
from collections.abc import Callable
from math import inf

# timerfd_create(2); Python has it from 3.13 on only
_CLOCK_REALTIME = 0
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
# a timer without a time to ring still tells when the clock is set; the kernel counts nanoseconds in 63 bits, to 2262
_FARTHEST = 2.0**33 if ctypes.sizeof(ctypes.c_long) > 4 else 2.0**31 - 1
_LOOK_SECONDS = 1.0  # between two looks at the clock where there are no such timers


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """Calls `ring`; it may be called without a reason. Belongs to the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None
        self._wall, self._mono = inf, inf
        self._timer: int = _libc.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._timer >= 0:
            loop.add_reader(self._timer, self._rang)

    def set(self, wall: float, mono: float) -> None:
        """Ring at this real time or at that monotonic one (infinity: never); it takes the place of what was set."""
        self._wall, self._mono = wall, mono
        if self._timer >= 0:
            self._arm()
        self._wait()

    def close(self) -> None:
        """Ring no more."""
        if self._handle:
            self._handle.cancel()
        if self._timer >= 0:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = -1

    def _arm(self) -> None:
        """Set the timer; a time that is past rings at once."""
        when = min(max(self._wall, 0.001), _FARTHEST)
        value = _Timespec(int(when), int(when % 1 * 1e9))
        spec = _Itimerspec(_Timespec(0, 0), value)
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        _libc.timerfd_settime(self._timer, flags, ctypes.byref(spec), None)

    def _wait(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None
        seconds = self._mono - time.monotonic()
        if self._timer < 0:
            seconds = min(seconds, max(0.0, self._wall - time.time()), _LOOK_SECONDS)  # noqa: TID251 -- schedules go by it
        if seconds < inf:
            self._handle = self._loop.call_later(max(0.0, seconds), self._ring)

    def _rang(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:  # the clock was set
                raise
            self._arm()
        self._ring()
