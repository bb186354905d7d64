"""The process table (proc(5)): who descends from whom, marks, and signals that cannot hit a stranger."""

import os
import signal
from contextlib import suppress
from typing import NamedTuple

from shiftboss.confine.program import MARK

_MARK = MARK.encode() + b"="
_MAX_ENVIRON = 256 * 1024
_MAX_CHILDREN = 1 << 22


class Process(NamedTuple):
    """One row of the process table; `started` in clock ticks since boot."""

    pid: int
    parent: int
    group: int
    session: int
    started: int


def read_process(pid: int) -> Process | None:
    """Return a process, None if it does not live (a zombie does not)."""
    with suppress(OSError, ValueError):
        state, *fields = _read(f"/proc/{pid}/stat", 1024).rpartition(b")")[2].split()
        if state not in (b"Z", b"X"):
            parent, group, session = map(int, fields[:3])
            return Process(pid, parent, group, session, int(fields[18]))
    return None


def process_table() -> dict[int, Process]:
    """Return every living process that can be seen, by pid."""
    rows = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {row.pid: row for row in rows if row}


def uid_of(pid: int) -> int:
    """Return the real uid of a process, -1 if it is gone."""
    with suppress(OSError, IndexError):
        return int(_read(f"/proc/{pid}/status", 4096).split(b"\nUid:", 1)[1].split()[0])
    return -1


def mark_of(pid: int) -> str:
    """Return the value of SHIFTBOSS_RUN in a process's environment at its exec, "" if none can be read."""
    with suppress(OSError):
        for variable in _read(f"/proc/{pid}/environ", _MAX_ENVIRON).split(b"\0"):
            if variable.startswith(_MARK):
                return os.fsdecode(variable[len(_MARK) :])
    return ""


def children_of(pid: int) -> list[int]:
    """Return the pids of the children of a process, zombies too; none if it is gone."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, _read(f"/proc/{pid}/task/{thread}/children", _MAX_CHILDREN).split())
    return found


def tree_of(pid: int) -> dict[int, Process]:
    """Return a process and all that descends from it at this moment, by pid."""
    found: dict[int, Process] = {}
    waiting = [pid]
    while waiting:
        row = read_process(waiting.pop())
        if row and row.pid not in found:
            found[row.pid] = row
            waiting += children_of(row.pid)
    return found


def send(process: Process, number: int) -> None:
    """Send a signal to exactly this process, even if its pid was given to another one meanwhile."""
    with suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(process.pid)
        try:
            now = read_process(process.pid)
            if now and now.started == process.started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _read(path: str, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, size = [], 0
        while size < limit and (part := os.read(descriptor, limit - size)):
            parts.append(part)
            size += len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
