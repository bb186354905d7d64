"""Starts programs: pipes, cgroup, fork; and what becomes of them until exec."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from shiftboss.confine import cgroup, kernel
from shiftboss.confine.journal import Journal, Terms, line
from shiftboss.confine.program import MARK, Program, Streams, run
from shiftboss.confine.scope import CgroupScope, Orphans, Scope, TreeScope

_OWN_LEAF = "keeper"


class Child(NamedTuple):
    """A forked child: `output` reads its stdout and stderr, `result` what it tells before exec (`read_result`).

    Both are our ends, non-blocking; whoever has the child closes them.
    """

    pid: int
    output: int
    result: int
    scope: Scope


class NoRoomError(OSError):
    """The machine has no room for a child; `step` is `pipe` or `fork`."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.step = step


class Nursery:
    """Forks programs, each in a cgroup of its own where there are any.

    A slot (`project.unit.process`) keeps its cgroup from run to run, unless it was killed: see kernel.fork.
    """

    def __init__(
        self, handled: tuple[int, ...], tree: cgroup.Tree | None, journal: Journal, own: Collection[int]
    ) -> None:
        """`handled`: signals that this process handles. `own`: pids of its children, kept up to date by the caller."""
        ignored = [int(n) for n in range(1, signal.NSIG) if signal.getsignal(n) == signal.SIG_IGN]
        self.handled, self.restored = handled, (*handled, *ignored)
        self.tree, self.journal, self.orphans = tree, journal, Orphans(own)
        self._pid = os.getpid()
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._cgroups: dict[str, str] = {}

    def fork(self, path: str) -> tuple[int, bool]:
        """Fork; return pid and whether the child was born in the cgroup `path`; raise OSError."""
        return kernel.fork(self.handled, path if self.tree and self.tree.birth else "")

    def start(self, slot: str, run_number: int, mark: str, program: Program, terms: Terms) -> Child:
        """Fork a program; raise NoRoomError. Everything that may fail later is told on `result`."""
        pipes: list[int] = []
        step = "pipe"
        try:
            pipes += os.pipe2(os.O_CLOEXEC)
            pipes += os.pipe2(os.O_CLOEXEC)
            step = "fork"
            path = self._cgroup(slot, run_number)
            pid = self._fork(path, program, pipes, line(mark, terms), mark)
        except OSError as error:
            for descriptor in pipes:
                os.close(descriptor)
            raise NoRoomError(step, error) from None
        output, theirs, result, told = pipes
        for descriptor in (theirs, told):
            os.close(descriptor)
        for descriptor in (output, result):
            os.set_blocking(descriptor, False)
        scope = CgroupScope(path) if path else TreeScope(self.orphans, pid, program.uid, mark)
        return Child(pid, output, result, scope)

    def _fork(self, path: str, program: Program, pipes: list[int], journal_line: bytes, mark: str) -> int:
        streams = Streams(self._null, pipes[1], pipes[3], self.journal.descriptor)
        program = program._replace(environment=program.environment | {MARK: mark}, restored=self.restored)
        pid, born = self.fork(path)
        if pid == 0:
            run(program if born else program._replace(cgroup=path), streams, self._pid, journal_line)
        self.journal.add(pid, journal_line)
        return pid

    def _cgroup(self, slot: str, run_number: int) -> str:
        """Return the cgroup of a slot, made if need be; "" if there is none (the program starts all the same)."""
        if self.tree and slot not in self._cgroups:
            with suppress(OSError):
                self._cgroups[slot] = cgroup.make(self.tree, f"{slot}.{run_number}")
        return self._cgroups.get(slot, "")

    def path_of(self, name: str) -> str:
        """Return the directory of a cgroup of ours, "" without cgroups."""
        return f"{self.tree.top}/{name}" if self.tree else ""

    def kill(self, slot: str, scope: Scope) -> None:
        """KILL everything of a scope; its cgroup is not used again."""
        if self._cgroups.get(slot) == scope.path:
            del self._cgroups[slot]
        scope.kill()

    def clear(self, slot: str, path: str) -> None:
        """Remove an empty cgroup; one that is in use stays."""
        if path and cgroup.remove(path) and self._cgroups.get(slot) == path:
            del self._cgroups[slot]

    def remove(self) -> bool:
        """Remove our cgroups at the end; False if something is left in them."""
        if self.tree is None:
            return True
        if os.path.isdir(self.path_of(_OWN_LEAF)):
            with suppress(OSError):
                cgroup.join(os.path.dirname(self.tree.top))  # back to where `settle` found us
        return cgroup.remove(self.tree.top)


def settle(tree: cgroup.Tree | None) -> cgroup.Tree | None:
    """Find out whether children can be born in cgroups; under systemd, move this process into a leaf of its own."""
    if tree and tree.kind == "v2":
        with suppress(OSError):
            if "INVOCATION_ID" in os.environ and cgroup.is_alone(tree):
                cgroup.join(cgroup.make(tree, _OWN_LEAF))  # systemd wants processes in leaves only
            return tree._replace(birth=kernel.birth_works(cgroup.make(tree, "engine")))
    return tree
