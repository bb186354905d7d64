"""Everything that one run started: a cgroup, or what can be found of it without one."""

import os
import signal
from collections.abc import Collection
from typing import Protocol

from shiftboss.confine import cgroup
from shiftboss.confine.descendants import Process, children_of, mark_of, read_process, send, tree_of, uid_of


class Scope(Protocol):
    """The main process of a run and everything it started, wherever that went."""

    path: str

    def send(self, number: int) -> None:
        """Send a signal to everything once."""
        ...

    def kill(self) -> None:
        """Send KILL to everything; call again until it is empty."""
        ...

    def note(self) -> None:
        """Remember what belongs to the run while its main process can still tell."""
        ...

    def is_empty(self) -> bool:
        """Tell whether nothing is left; the main process must have been reaped."""
        ...

    def close(self) -> None:
        """Drop what is remembered about the run."""
        ...


class CgroupScope:
    """A run in a cgroup of its own: nothing gets out of it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def send(self, number: int) -> None:
        """Send a signal to everything once."""
        for pid in cgroup.members(self.path):
            row = read_process(pid)
            if row:
                send(row, number)

    def kill(self) -> None:
        """Send KILL to everything."""
        cgroup.kill(self.path)

    def note(self) -> None:
        """The kernel knows."""

    def close(self) -> None:
        """Keep the cgroup: the next run of the same process uses it."""

    def is_empty(self) -> bool:
        """Tell whether nothing is left."""
        return cgroup.is_empty(self.path)


class Orphans:
    """Processes whose parents died and that this process, a subreaper, adopted: whose are they?

    Found once, when they first show: by session or group of a run's main process, by what was seen below it
    before, or by its mark (believed only of the run's own user: anybody can set a variable).
    """

    def __init__(self, own: Collection[int]) -> None:
        """`own`: pids of the children that this process started itself, kept up to date by the caller."""
        self.own = own
        self.scopes: dict[str, TreeScope] = {}
        self._owner: dict[tuple[int, int], str] = {}
        self._rows: list[Process] = []
        self._fresh = False

    def expire(self) -> None:
        """Say that processes may have come or gone since the last look."""
        self._fresh = False

    def look(self) -> None:
        """Read the children of this process, unless that was done since `expire`."""
        if not self._fresh:
            pids = [pid for pid in children_of(os.getpid()) if pid not in self.own]
            self._rows = [row for row in map(read_process, pids) if row]
            self._owner = {
                _key(row): self._owner.get(_key(row)) or self._find_owner(row) for row in self._rows
            }
            self._fresh = True

    def kill(self) -> int:
        """KILL all orphans, whose ever they are; return how many there were."""
        self.expire()
        self.look()
        for row in self._rows:
            send(row, signal.SIGKILL)
        return len(self._rows)

    def of(self, mark: str) -> list[Process]:
        """Return the orphans of a run as of the last look."""
        return [row for row in self._rows if self._owner.get(_key(row)) == mark]

    def _find_owner(self, row: Process) -> str:
        for mark, scope in self.scopes.items():
            if scope.pid in (row.session, row.group) or _key(row) in scope.seen:
                return mark
        mark = mark_of(row.pid)
        return mark if mark in self.scopes and uid_of(row.pid) == self.scopes[mark].uid else ""


class TreeScope:
    """A run without a cgroup: its descendants, and the orphans that can be told to be its own.

    What clears its environment, starts a session of its own and loses its parent before anybody looks
    cannot be told: such a process is stopped with the keeper only.
    """

    path = ""

    def __init__(self, orphans: Orphans, pid: int, uid: int, mark: str) -> None:
        self.pid, self.uid, self.mark = pid, uid, mark
        self.seen: set[tuple[int, int]] = set()
        self._orphans = orphans
        orphans.scopes[mark] = self

    def send(self, number: int) -> None:
        """Send a signal to everything once."""
        for row in self._members().values():
            send(row, number)

    def kill(self) -> None:
        """Send KILL to everything; forks may win a round against it, so it stops them all first."""
        self.send(signal.SIGSTOP)
        self.send(signal.SIGKILL)

    def note(self) -> None:
        """Remember what is below the main process now."""
        if children_of(self.pid):
            self._members()

    def is_empty(self) -> bool:
        """Tell whether nothing is left."""
        self._orphans.look()
        return not self._orphans.of(self.mark)

    def close(self) -> None:
        """Forget the run."""
        self._orphans.scopes.pop(self.mark, None)

    def _members(self) -> dict[int, Process]:
        self._orphans.expire()
        self._orphans.look()
        found = tree_of(self.pid) if self.pid in self._orphans.own else {}
        for row in self._orphans.of(self.mark):
            found |= tree_of(row.pid)
        self.seen |= {_key(row) for row in found.values()}
        return found


def _key(row: Process) -> tuple[int, int]:
    return row.pid, row.started
