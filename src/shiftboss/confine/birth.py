"""Starts programs: pipes, cgroup, fork; and what becomes of them until exec."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from shiftboss.confine import kernel
from shiftboss.confine.groups import Bounds, Groups, Leaf
from shiftboss.confine.journal import Journal, Terms, line
from shiftboss.confine.program import MARK, Program, Streams, run
from shiftboss.confine.scope import CgroupScope, Orphans, Scope, TreeScope


class Child(NamedTuple):
    """A forked child: `output` reads its stdout and stderr, `result` what it tells before exec (`read_result`).

    Both are our ends, non-blocking; whoever has the child closes them. `leaf`: its cgroup.
    """

    pid: int
    output: int
    result: int
    scope: Scope
    leaf: Leaf


Slot = tuple[str, str]


class NoRoomError(OSError):
    """The machine has no room for a child; `step` is `pipe` or `fork`."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.step = step


class Nursery:
    """Forks programs, each in a cgroup of its own where there are any. A slot is (project, unit.process)."""

    def __init__(
        self, handled: tuple[int, ...], groups: Groups, journal: Journal, own: Collection[int]
    ) -> None:
        """`handled`: signals that this process handles. `own`: pids of its children, kept up to date by the caller."""
        ignored = [int(n) for n in range(1, signal.NSIG) if signal.getsignal(n) == signal.SIG_IGN]
        self.handled, self.restored = handled, (*handled, *ignored)
        self.groups, self.journal, self.orphans = groups, journal, Orphans(own)
        self._pid = os.getpid()
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def fork(self, path: str) -> tuple[int, bool]:
        """Fork; return pid and whether the child was born in the cgroup `path`; raise OSError."""
        tree = self.groups.tree
        return kernel.fork(self.handled, path if tree and tree.birth else "")

    def start(
        self, slot: Slot, run_number: int, mark: str, program: Program, terms: Terms, bounds: Bounds
    ) -> Child:
        """Fork a program; raise NoRoomError. Everything that may fail later is told on `result`."""
        pipes: list[int] = []
        step, leaf = "pipe", Leaf()
        try:
            pipes += os.pipe2(os.O_CLOEXEC)
            pipes += os.pipe2(os.O_CLOEXEC)
            step = "fork"
            leaf = self.groups.take(*slot, run_number, bounds)
            pid = self._fork(leaf, program, pipes, line(mark, terms), mark)
        except OSError as error:
            for descriptor in pipes:
                os.close(descriptor)
            with suppress(OSError):  # tried again and again, each run with limits would leave one
                self.groups.clear(*slot, leaf)
            raise NoRoomError(step, error) from None
        output, theirs, result, told = pipes
        for descriptor in (theirs, told):
            os.close(descriptor)
        for descriptor in (output, result):
            os.set_blocking(descriptor, False)
        scope = CgroupScope(leaf.path) if leaf.path else TreeScope(self.orphans, pid, program.uid, mark)
        return Child(pid, output, result, scope, leaf)

    def _fork(self, leaf: Leaf, program: Program, pipes: list[int], journal_line: bytes, mark: str) -> int:
        streams = Streams(self._null, pipes[1], pipes[3], self.journal.descriptor)
        program = bounded(program, leaf)
        program = program._replace(environment=program.environment | {MARK: mark}, restored=self.restored)
        pid, born = self.fork(leaf.path)
        if pid == 0:
            run(program if born else program._replace(cgroup=leaf.path), streams, self._pid, journal_line)
        self.journal.add(pid, journal_line)
        return pid

    def kill(self, slot: Slot, scope: Scope) -> None:
        """KILL everything of a scope; its cgroup is not used again."""
        self.groups.retire(*slot, scope.path)
        scope.kill()


def bounded(program: Program, leaf: Leaf) -> Program:
    """Return the program with the cgroups that it joins, and with what stands for those that cannot be had."""
    lacking = [each for each in program.fallbacks if each.controller in leaf.missing]
    rlimits = dict(program.rlimits)
    for fallback in lacking:
        rlimits |= fallback.rlimits
    notes = (*leaf.notes, *(fallback.words for fallback in lacking))
    return program._replace(joined=leaf.others, rlimits=rlimits, notes=notes)
