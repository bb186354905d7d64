"""The engine: its process, started again whenever it dies, and the socket to it.

What is to be told is remembered as "this about that run", and made into a message when it is sent: however long
an engine hangs, no more is kept than there are runs. The socket may break at any moment; nothing here minds.
"""

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from resource import struct_rusage

from shiftboss.confine import journal
from shiftboss.confine.birth import Nursery
from shiftboss.confine.program import MARK, restore_signals, write_journal
from shiftboss.core import wire
from shiftboss.keeper.loop import Loop, say

Told = tuple[wire.Report, int] | None
_DELAYS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds before the engine is started again
_PAYS_SECONDS = 0.25  # each of these that an engine lives makes up for one death
_SENDING_AGAIN_SECONDS = 0.05  # ETOOMANYREFS, ENOBUFS: no readiness is reported when that ends
_GRACE_SECONDS = 5.0
_REQUESTS_A_TURN = 64
_MAX_WAITING = 8192


class Link:
    """The engine's process and our end of its socket. `post` may be called at any time, connected or not."""

    def __init__(self, loop: Loop, nursery: Nursery, command: list[str], mark: str, pid_file: str) -> None:
        self.pid = 0
        self.on_request: Callable[[wire.Request], None] = lambda _: None
        self.on_end: Callable[[], None] = lambda: None  # it has ended, after `end`
        self._loop, self._nursery, self._command, self._pid_file = loop, nursery, command, pid_file
        self._mark, self._line = mark, journal.line(mark, journal.Terms("TERM", _GRACE_SECONDS, "main"))
        self._socket: socket.socket | None = None
        self._waiting: dict[tuple[object, ...], Callable[[], Told]] = {}
        self._synced = self._was_synced = self._blocked = self._told_all = self._finished = False
        self._started, self._failures = 0.0, 0

    # ---- process

    def start(self) -> None:
        """Start an engine with a new socket; again later if the machine has no room for it."""
        if self.pid or self._told_all:
            return
        ours = theirs = None
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid, _ = self._nursery.fork(self._nursery.path_of("engine"))
            if pid == 0:
                self._become_engine(theirs)
        except OSError as error:
            say(f"cannot start the engine: {error.strerror}")
            if ours is not None:
                ours.close()
            self._start_later()
            return
        finally:
            if theirs is not None:
                theirs.close()
        ours.setblocking(False)
        self._socket, self.pid, self._started = ours, pid, time.monotonic()
        self._was_synced = False
        self._nursery.journal.add(pid, self._line)
        self._loop.children[pid] = self._on_exit
        self._watch()
        self._write_pid()

    def _become_engine(self, theirs: socket.socket) -> None:
        """In the child: run the engine in a session of its own; never returns."""
        try:
            restore_signals(self._nursery.restored)
            os.setsid()
            write_journal(self._nursery.journal.descriptor, self._line)
            theirs.set_inheritable(True)
            environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
            argv = [*self._command, "--keeper-fd", str(theirs.fileno())]
            os.execvpe(argv[0], argv, environment | {MARK: self._mark})  # noqa: S606 -- root's own command line
        except BaseException as error:  # noqa: BLE001 -- a child must end here whatever happens
            say(f"cannot run the engine: {error}")
        os._exit(127)

    def _start_later(self) -> None:
        self._loop.after(_DELAYS[min(self._failures, len(_DELAYS) - 1)], self.start)
        self._failures += 1

    def _on_exit(self, status: int, _: struct_rusage) -> None:
        self._nursery.journal.discard(self.pid)
        lived = time.monotonic() - self._started if self._was_synced else 0.0
        self.pid, self._failures = 0, max(0, self._failures - int(lived / _PAYS_SECONDS))
        self._hang_up()
        if self._told_all:
            self._finish()
        else:
            say(f"the engine ended ({os.waitstatus_to_exitcode(status)}) and is started again")
            self._start_later()

    def end(self) -> None:
        """Tell the engine all there is, close the socket so that it ends, and call `on_end`; KILL it after a while.

        One that is not there is started once more: what waits in the pipes can only be saved by an engine.
        """
        self._loop.after(_GRACE_SECONDS, self._finish)
        if self._synced:
            self.post_end()
        elif not self.pid:
            self.start()

    def post_end(self) -> None:
        """Close the socket when all that was posted before is sent."""
        self.post(("end",), self._close_at_end)

    def _close_at_end(self) -> Told:
        self._told_all = True
        self._hang_up()
        return None

    def _finish(self) -> None:
        self._told_all = True
        if self.pid:
            self._kill_if_still(self.pid)
        elif not self._finished:
            self._finished = True
            self.on_end()

    def _kill_if_still(self, pid: int) -> None:
        if pid and pid == self.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _write_pid(self) -> None:
        with suppress(OSError), open(self._pid_file, "w", encoding="ascii") as file:
            file.write(f"{self.pid}\n")

    # ---- socket

    def post(self, key: tuple[object, ...], build: Callable[[], Told]) -> None:
        """Tell the engine what `build` returns when there is room; a second post of one key replaces the first.

        Before the engine's Sync nothing is kept: Sync asks for everything.
        """
        if self._synced:
            self._waiting.pop(key, None)
            self._waiting[key] = build
            if not self._blocked:
                self._flush()

    def _flush(self) -> None:
        while self._socket and self._waiting:
            key, build = next(iter(self._waiting.items()))
            try:
                told = build()
                if told and not self._send(self._socket, *told):
                    return
            finally:
                if not self._blocked:  # one that cannot be built must not be in the way for ever
                    self._waiting.pop(key, None)

    def _send(self, ours: socket.socket, message: wire.Report, descriptor: int) -> bool:
        """Send one message; False if it must wait (or nobody is there any more)."""
        try:
            if descriptor >= 0:
                socket.send_fds(ours, [wire.encode(message)], [descriptor])
            else:
                ours.send(wire.encode(message))
        except BlockingIOError:
            self._blocked = True
            self._watch()
        except OSError as error:
            if error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM):
                self._blocked = True
                self._loop.after(_SENDING_AGAIN_SECONDS, self._unblock)
            elif error.errno == errno.EMSGSIZE:
                say(f"a message is too long and is left out: {type(message).__name__}")
                return True
            else:
                self._hang_up()
        else:
            return True
        return False

    def _unblock(self) -> None:
        self._blocked = False
        self._flush()
        self._watch()

    def _watch(self) -> None:
        if self._socket:
            # an engine that asks and does not read the answers is not heard until it does
            listening = select.EPOLLIN if len(self._waiting) < _MAX_WAITING else 0
            writing = select.EPOLLOUT if self._blocked else 0
            self._loop.watch(self._socket.fileno(), self._on_ready, listening | writing)

    def _on_ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._unblock()
        if events & ~select.EPOLLOUT:
            self._receive()

    def _receive(self) -> None:
        for _ in range(_REQUESTS_A_TURN):
            if self._socket is None:
                return
            try:
                raw = self._socket.recv(wire.MAX_REQUEST + 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                raw = b""
            if not raw:
                self._hang_up()
                return
            self._take(raw)
        self._watch()

    def _take(self, raw: bytes) -> None:
        try:
            request = wire.decode_request(raw)
        except wire.WireError as error:
            refused = wire.Refused(str(error))
            self.post(("refused",), lambda: (refused, -1))
            return
        if isinstance(request, wire.Sync):
            self._waiting.clear()
            self._synced = self._was_synced = True
        self.on_request(request)

    def _hang_up(self) -> None:
        """Close our end. An engine that lives on without it is of no use: it gets a moment to end by itself."""
        connected = self._socket is not None
        if self._socket:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        self._socket, self._synced, self._blocked = None, False, False
        self._waiting.clear()
        if self.pid and connected:
            pid = self.pid
            self._loop.after(_GRACE_SECONDS, lambda: self._kill_if_still(pid))
