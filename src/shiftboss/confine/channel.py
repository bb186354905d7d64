"""Our end of a SOCK_SEQPACKET socket to a reader that may hang, break the rules or die.

What is to be told is remembered as "this about that", and made into a message when it is sent: however long the
reader hangs, no more is kept than there are things to tell about.
"""

import errno
import select
import socket
from collections import OrderedDict
from collections.abc import Callable

from shiftboss.confine.loop import Loop, say

Message = tuple[bytes, int] | None  # with a descriptor (-1: none); None: there is nothing to tell any more
_SENDING_AGAIN_SECONDS = 0.05  # ETOOMANYREFS, ENOBUFS: no readiness is reported when that ends
_MESSAGES_A_TURN = 64
_MAX_WAITING = 8192


class Channel:
    """One connection, until either side closes it. `post` may be called at any time, also after its end."""

    def __init__(
        self,
        loop: Loop,
        ours: socket.socket,
        longest: int,
        on_message: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        """`longest`: bytes of a message to us; of a longer one the beginning and one byte more are handed on.

        `on_end` is called once, whoever ends the connection.
        """
        ours.setblocking(False)
        self._loop, self._longest, self._on_message, self._on_end = loop, longest, on_message, on_end
        self._socket: socket.socket | None = ours
        # a dict would look past all that was taken from its beginning, each time anew
        self._waiting: OrderedDict[tuple[object, ...], Callable[[], Message]] = OrderedDict()
        self._blocked = False
        self._watch()

    def post(self, key: tuple[object, ...], build: Callable[[], Message]) -> None:
        """Tell what `build` returns when there is room; a second post of one key replaces the first."""
        if self._socket:
            self._waiting.pop(key, None)
            self._waiting[key] = build
            if not self._blocked:
                self._flush()

    def drop_all(self) -> None:
        """Tell nothing of what waits."""
        self._waiting.clear()

    def close(self) -> None:
        """Close our end."""
        if self._socket:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._waiting.clear()
            self._on_end()

    # ---- sending

    def _flush(self) -> None:
        while self._socket and self._waiting:
            key, build = next(iter(self._waiting.items()))
            try:
                message = build()
                if message and not self._send(self._socket, key, *message):
                    return
            finally:
                if not self._blocked:  # one that cannot be built must not be in the way for ever
                    self._waiting.pop(key, None)

    def _send(self, ours: socket.socket, key: tuple[object, ...], raw: bytes, descriptor: int) -> bool:
        """Send one message; False if it must wait (or nobody is there any more)."""
        try:
            if descriptor >= 0:
                socket.send_fds(ours, [raw], [descriptor])
            else:
                ours.send(raw)
        except BlockingIOError:
            self._blocked = True
            self._watch()
        except OSError as error:
            if error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM):
                self._blocked = True
                self._loop.after(_SENDING_AGAIN_SECONDS, self._unblock)
            elif error.errno == errno.EMSGSIZE:
                say(f"a message is too long and is left out: {key}")
                return True
            else:
                self.close()
        else:
            return True
        return False

    def _unblock(self) -> None:
        self._blocked = False
        self._flush()
        self._watch()

    # ---- receiving

    def _watch(self) -> None:
        if self._socket:
            # a reader that asks and does not read the answers is not heard until it does
            listening = select.EPOLLIN if len(self._waiting) < _MAX_WAITING else 0
            writing = select.EPOLLOUT if self._blocked else 0
            self._loop.watch(self._socket.fileno(), self._on_ready, listening | writing)

    def _on_ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._unblock()
        if events & ~select.EPOLLOUT:
            self._receive()

    def _receive(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            if self._socket is None:
                return
            try:
                raw = self._socket.recv(self._longest + 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                raw = b""
            if not raw:
                self.close()
                return
            self._on_message(raw)
        self._watch()
