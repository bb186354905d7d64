"""A process that shall be there as long as we are: started again whenever it ends, each time with a new socket to us."""

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from resource import struct_rusage

from shiftboss.confine import journal
from shiftboss.confine.birth import Nursery
from shiftboss.confine.loop import Loop, say
from shiftboss.confine.program import MARK, restore_signals, write_journal

_DELAYS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds before it is started again
_PAYS_SECONDS = 0.25  # each of these that it lives makes up for one death
_GRACE_SECONDS = 5.0


class Resident:
    """One process at a time. Its command gets `--keeper-fd N` appended: its end of a SOCK_SEQPACKET pair."""

    def __init__(
        self, loop: Loop, nursery: Nursery, name: str, command: list[str], mark: str, pid_file: str
    ) -> None:
        """`name` is that of its cgroup (behind an @), and what it is called in messages."""
        self.pid = 0
        self.is_of_use = False  # set by who talks to it; only then its life makes up for deaths
        self.is_ending = False  # it is not started again
        self.on_start: Callable[[socket.socket], None] = lambda _: None  # with our end
        self.on_exit: Callable[[int], None] = lambda _: None  # with its exit status, negative: a signal
        self._loop, self._nursery, self._name, self._command = loop, nursery, name, command
        self._mark, self._pid_file = mark, pid_file
        self._line = journal.line(mark, journal.Terms("TERM", _GRACE_SECONDS, "main"))
        self._started, self._failures = 0.0, 0

    def start(self) -> None:
        """Start it if it is not there; again later if the machine has no room for it."""
        if self.pid or self.is_ending:
            return
        ours = theirs = None
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid, _ = self._nursery.fork(self._nursery.groups.path_of(f"@{self._name}"))
            if pid == 0:
                self._become(theirs)
        except OSError as error:
            say(f"cannot start the {self._name}: {error.strerror}")
            if ours is not None:
                ours.close()
            self._start_later()
            return
        finally:
            if theirs is not None:
                theirs.close()
        self.pid, self.is_of_use, self._started = pid, False, time.monotonic()
        self._nursery.journal.add(pid, self._line)
        self._loop.children[pid] = self._on_exit
        self.on_start(ours)
        with suppress(OSError), open(self._pid_file, "w", encoding="ascii") as file:
            file.write(f"{pid}\n")

    def dismiss(self) -> None:
        """Give it a moment to end by itself; KILL it then."""
        if pid := self.pid:
            self._loop.after(_GRACE_SECONDS, lambda: self.kill() if self.pid == pid else None)

    def kill(self) -> None:
        """KILL it."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _become(self, theirs: socket.socket) -> None:
        """In the child: run the command in a session of its own; never returns."""
        try:
            restore_signals(self._nursery.restored)
            os.setsid()
            write_journal(self._nursery.journal.descriptor, self._line)
            theirs.set_inheritable(True)
            environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
            argv = [*self._command, "--keeper-fd", str(theirs.fileno())]
            os.execvpe(argv[0], argv, environment | {MARK: self._mark})  # noqa: S606 -- root's own command line
        except BaseException as error:  # noqa: BLE001 -- a child must end here whatever happens
            say(f"cannot run the {self._name}: {error}")
        os._exit(127)

    def _start_later(self) -> None:
        self._loop.after(_DELAYS[min(self._failures, len(_DELAYS) - 1)], self.start)
        self._failures += 1

    def _on_exit(self, status: int, _: struct_rusage) -> None:
        self._nursery.journal.discard(self.pid)
        lived = time.monotonic() - self._started if self.is_of_use else 0.0
        self.pid, self._failures = 0, max(0, self._failures - int(lived / _PAYS_SECONDS))
        code = os.waitstatus_to_exitcode(status)
        self.on_exit(code)
        if not self.is_ending:
            say(f"the {self._name} ended ({code}) and is started again")
            self._start_later()
