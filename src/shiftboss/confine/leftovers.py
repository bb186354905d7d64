"""What a dead keeper left running: found, and stopped as its entry says, before anything is started.

Found by our cgroups, by the journal (pid, start time, boot id) and by the mark in the environment, together with
what descends from it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator

from shiftboss.confine import cgroup, journal
from shiftboss.confine.descendants import Process, mark_of, process_table, read_process, send, uid_of

_LOOK_SECONDS = 0.02
_UNKNOWN = journal.Terms("TERM", 5.0, "group")
Known = Callable[[str], tuple[int, journal.Terms] | None]


class Leftovers:
    """The leftovers of one instance. Workers go first: the old engine drains their pipes until the end."""

    def __init__(self, instance: str, path: str, tree: cgroup.Tree | None, known: Known) -> None:
        """`path` is the journal's; `known` tells uid and stop terms of an address that still may run."""
        self._instance, self._path, self._known = instance, path, known
        self._groups = {f"{tree.top}/{name}": name for name in cgroup.names(tree)} if tree else {}
        self._top = tree.top if tree else ""
        self._rows: dict[tuple[int, int], journal.Row] = {}
        self._signalled: set[Process] = set()
        self._since: dict[str, float] = {}

    def stop_all(self) -> Iterator[int]:
        """Stop everything; yield how many are left after each round, end when none is."""
        while found := self._find():
            engine = journal.engine_mark(self._instance)
            workers = {row: mark for row, mark in found.items() if mark != engine}
            self._stop(workers or found)
            yield len(found)
            time.sleep(_LOOK_SECONDS)
        cgroup.clear(self._top)

    def _find(self) -> dict[Process, str]:
        """Return every leftover and its mark. All is read afresh: a child of the dead keeper may just be starting."""
        self._rows = {(row.pid, row.started): row for row in journal.read(self._path)}
        table = process_table()
        found = {row: mark for row in table.values() if (mark := self._mark(row))}
        for path in self._groups:
            for pid in cgroup.members(path):
                if row := table.get(pid) or read_process(pid):
                    found.setdefault(row, self._mark_of_group(path))
        found = _with_descendants(found, table)
        return {row: mark for row, mark in found.items() if row.pid not in _own_line(table)}

    def _mark(self, row: Process) -> str:
        """Return whose a process is, "" for a stranger. A variable alone is believed of the entry's user only."""
        known = self._rows.get((row.pid, row.started))
        mark = known.mark if known else mark_of(row.pid)
        if not mark.startswith(f"{self._instance}/"):
            return ""
        entry = None if known else self._known(_address(mark))
        return mark if entry is None or uid_of(row.pid) == entry[0] else ""

    def _mark_of_group(self, path: str) -> str:
        return f"{self._instance}/{self._groups[path].removeprefix('@').replace('.', '/')}"

    def _terms(self, mark: str) -> journal.Terms:
        for row in self._rows.values():
            if row.mark == mark:
                return row.stop
        entry = self._known(_address(mark))
        return entry[1] if entry else _UNKNOWN

    def _stop(self, found: dict[Process, str]) -> None:
        """Signal what has not been signalled, KILL what was for longer than its wait."""
        terms = {mark: self._terms(mark) for mark in set(found.values())}
        now = time.monotonic()
        mains = {
            self._rows[key].mark for key in ((row.pid, row.started) for row in found) if key in self._rows
        }
        for row, mark in found.items():
            since = self._since.setdefault(mark, now)
            is_main = (row.pid, row.started) in self._rows
            if now - since > terms[mark].wait_seconds:
                send(row, signal.SIGKILL)
            elif row not in self._signalled and (is_main or terms[mark].scope != "main" or mark not in mains):
                self._signalled.add(row)
                send(row, signal.Signals[f"SIG{terms[mark].signal}"])
                send(row, signal.SIGCONT)


def _address(mark: str) -> str:
    return "/".join(mark.split("/")[1:3])


def _with_descendants(found: dict[Process, str], table: dict[int, Process]) -> dict[Process, str]:
    found, before = dict(found), -1
    while len(found) != before:
        before = len(found)
        for row in table.values():
            parent = table.get(row.parent)
            if parent in found and row not in found:
                found[row] = found[parent]
    return found


def _own_line(table: dict[int, Process]) -> set[int]:
    """Return this process and those it descends from: it may itself have been started by a run."""
    line, pid = set[int](), os.getpid()
    while pid in table and pid not in line:
        line.add(pid)
        pid = table[pid].parent
    return line
