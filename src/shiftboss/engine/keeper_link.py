"""The engine's end of the socket to the keeper: reports and descriptors in, requests out, never blocking."""

import logging
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.entry import MAX_MESSAGE
from shiftboss.core.wire.values import WireError
from shiftboss.engine.known_entries import KnownEntries

log = logging.getLogger(__name__)

NO_DESCRIPTOR = -1
_AT_ONCE = 256  # messages read before others get their turn
_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(4 * array("i").itemsize)

OnReport = Callable[[messages.Report, int], None]


class Watch(Protocol):
    """Tells when a descriptor can be read or written; an asyncio loop does."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> object: ...  # noqa: D102
    def remove_reader(self, fd: int, /) -> object: ...  # noqa: D102
    def add_writer(self, fd: int, callback: Callable[[], object], /) -> object: ...  # noqa: D102
    def remove_writer(self, fd: int, /) -> object: ...  # noqa: D102


class KeeperLink:
    """Sends requests in order and hands on each report with its descriptor (the receiver owns it).

    `on_lost` is called once, when the keeper is gone. `on_missed` is called after a message or descriptor was
    lost (no room in our descriptor table): a `Sync` brings it again.
    """

    def __init__(
        self,
        sock: socket.socket,
        watch: Watch,
        on_report: OnReport,
        on_lost: Callable[[], None],
        on_missed: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock, self._watch = sock, watch
        self._on_report, self._on_lost, self._on_missed = on_report, on_lost, on_missed
        self._known = KnownEntries()
        self._waiting: deque[bytes] = deque()
        self._buffer = bytearray(MAX_MESSAGE)
        self.is_open = True
        watch.add_reader(sock.fileno(), self._readable)

    def send(self, request: messages.Request) -> None:
        """Send a request, now or when the keeper takes more; to a dead keeper nothing is sent."""
        if not self.is_open:
            return
        raw = codec.encode(request)
        if self._waiting or not self._sent(raw):
            if not self._waiting:
                self._watch.add_writer(self._sock.fileno(), self._writable)
            self._waiting.append(raw)

    def close(self) -> None:
        """Let go of the socket; the keeper sees an end of file."""
        if self.is_open:
            self.is_open = False
            self._watch.remove_reader(self._sock.fileno())
            self._watch.remove_writer(self._sock.fileno())
            self._sock.close()
            self._waiting.clear()

    def _sent(self, raw: bytes) -> bool:
        try:
            self._sock.send(raw)
        except BlockingIOError:
            return False
        except OSError as error:  # the keeper died: end of file tells the rest
            log.debug("the keeper does not take requests: %s", error.strerror)
        return True

    def _writable(self) -> None:
        while self._waiting and self._sent(self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            self._watch.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            if not self.is_open or not self._read_one():
                return

    def _read_one(self) -> bool:
        try:
            size, ancillary, flags, _ = self._sock.recvmsg_into(
                [self._buffer], _ROOM_FOR_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except (
            ConnectionResetError
        ):  # it went with a request of ours unread; what it said before is still there
            return True
        except OSError:
            size, ancillary, flags = 0, [], 0
        descriptor = _descriptor(ancillary)
        if not size:
            self.close()
            self._on_lost()
            return False
        if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            self._on_missed()
        self._hand_on(bytes(memoryview(self._buffer)[:size]), descriptor)
        return True

    def _hand_on(self, raw: bytes, descriptor: int) -> None:
        try:
            report = self._known.decode(raw)
        except WireError as error:
            log.error("the keeper sent what is not understood: %s", error)  # noqa: TRY400 -- says all there is
            close_descriptor(descriptor)
            return
        self._on_report(report, descriptor)


def close_descriptor(descriptor: int) -> None:
    """Close a descriptor that came with a message and is not wanted."""
    if descriptor >= 0:
        os.close(descriptor)


def _descriptor(ancillary: list[Any]) -> int:
    """Return the first descriptor of a message; any others (there should be none) are closed."""
    found = array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    for extra in found[1:]:
        os.close(extra)
    return found[0] if found else NO_DESCRIPTOR
