"""Who was started: one line for each process, written by the process itself before exec.

A keeper that comes after a dead one reads it. The first line is the boot id: pids of another boot mean nothing.
"""

import errno
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from shiftboss.confine.descendants import read_process

_SLACK = 1000
_TICKS = os.sysconf("SC_CLK_TCK")
_TICK_SECONDS = 1 / _TICKS


class Terms(NamedTuple):
    """How a process is stopped: a signal (without SIG) to its `main` process or its `group`, KILL after a wait."""

    signal: str
    wait_seconds: float
    scope: str


class Row(NamedTuple):
    """A process that was started: its pid and start time, its mark, and how it is stopped."""

    pid: int
    started: int
    mark: str
    stop: Terms


def line(mark: str, stop: Terms) -> bytes:
    """Return what a process appends after its pid and the time."""
    return json.dumps([mark, *stop]).encode()


def engine_mark(instance: str) -> str:
    """Return the mark of an engine, which no run can have."""
    return f"{instance}/engine"


def read(path: str) -> list[Row]:
    """Return the processes of this boot that still live; a file that is torn gives what can be read of it."""
    rows = []
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        if file.readline().strip() == _boot_id():
            for text in file:
                with suppress(OSError, ValueError, TypeError):
                    pid, written, rest = text.split(" ", 2)
                    mark, *stop = json.loads(rest)
                    found = read_process(int(pid))
                    if found and found.started / _TICKS <= float(written) + _TICK_SECONDS:
                        rows.append(Row(int(pid), found.started, mark, Terms(*stop)))
    return rows


class Journal:
    """The file that children append to (`descriptor`), kept short: lines of the dead are dropped now and then."""

    def __init__(self, path: str) -> None:
        self.descriptor = -1
        self.path = path
        self._living: dict[int, bytes] = {}
        self._lines = 0

    def add(self, pid: int, rest: bytes) -> None:
        """Say that a child was forked that appends this line."""
        self._living[pid] = rest
        self._lines += 1

    def discard(self, pid: int) -> None:
        """Say that a process has ended."""
        self._living.pop(pid, None)

    def tidy(self, busy: Callable[[], bool]) -> None:
        """Rewrite the file if most of it is about the dead; not while (`busy`) a child may be about to append.

        Where there is no room for that the file stays as it is, and it is tried again after as many lines.
        """
        if self._lines > 2 * len(self._living) + _SLACK and not busy():
            self._lines = len(self._living)
            with suppress(OSError):
                self.rewrite()

    def rewrite(self) -> None:
        """Replace the file by one about the living; raise OSError."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        rows = [b"%d %.2f %b\n" % (pid, now, rest) for pid, rest in self._living.items()]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(f"{self.path}~", flags, 0o600)
        try:
            _write(descriptor, b"".join([_boot_id().encode(), b"\n", *rows]))
            os.rename(f"{self.path}~", self.path)
        except OSError:
            os.close(descriptor)
            raise
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor, self._lines = descriptor, len(rows)


def _write(descriptor: int, raw: bytes) -> None:
    if os.write(descriptor, raw) < len(raw):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
