"""The engine as the keeper sees it: what it asks for, what it is told, and its end.

Nothing is told before it asks with Sync, and Sync asks for everything: a socket that breaks loses nothing.
"""

import socket
from collections.abc import Callable

from shiftboss.confine.channel import Channel, Message
from shiftboss.confine.loop import Loop
from shiftboss.confine.resident import Resident
from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.values import WireError

Told = tuple[messages.Report, int] | None  # a message and its descriptor (-1: none)
Build = Callable[[], Told]
_GRACE_SECONDS = 5.0


class Link:
    """The connection to the engine of the moment. `post` may be called at any time, connected or not."""

    def __init__(self, loop: Loop, engine: Resident) -> None:
        self.on_request: Callable[[messages.Request], None] = lambda _: None
        self.on_end: Callable[[], None] = lambda: None  # it has ended, after `end`
        self._loop, self._engine = loop, engine
        self._channel: Channel | None = None
        self._synced = self._finished = self._late = False
        engine.on_start, engine.on_exit = self._connect, self._on_exit

    def post(self, key: tuple[object, ...], build: Build) -> None:
        """Tell the engine what `build` returns when there is room; a second post of one key replaces the first."""
        if self._synced and self._channel:
            self._channel.post(key, lambda: _encoded(build()))

    def end(self) -> None:
        """Tell the engine all there is, close the socket so that it ends, and call `on_end`; KILL it after a while.

        One that is not there, or dies of it, is started once more: what waits in the pipes can only be saved by an engine.
        """
        self._loop.after(_GRACE_SECONDS, self._expire)
        if self._synced:
            self.post_end()
        else:
            self._engine.start()

    def post_end(self) -> None:
        """Close the socket when all that was posted before is sent."""
        self.post(("end",), self._close_at_end)

    def _close_at_end(self) -> Told:
        self._engine.is_ending = True
        self._hang_up()
        return None

    def _connect(self, ours: socket.socket) -> None:
        self._channel = Channel(self._loop, ours, codec.MAX_REQUEST, self._take, self._on_hung_up)

    def _take(self, raw: bytes) -> None:
        try:
            request = codec.decode_request(raw)
        except WireError as error:
            refused = messages.Refused(str(error))
            self.post(("refused",), lambda: (refused, -1))
            return
        if isinstance(request, messages.Sync) and self._channel:
            self._channel.drop_all()
            self._synced = self._engine.is_of_use = True
        self.on_request(request)

    def _hang_up(self) -> None:
        if self._channel:
            self._channel.close()

    def _on_hung_up(self) -> None:
        """An engine that lives on without its socket is of no use."""
        self._channel, self._synced = None, False
        self._engine.dismiss()

    def _on_exit(self, code: int) -> None:
        self._hang_up()
        if not self._engine.is_ending:
            return
        if code and not self._late:  # it died with output of ours unread
            self._engine.is_ending = False
        else:
            self._finish()

    def _expire(self) -> None:
        self._late = True
        self._finish()

    def _finish(self) -> None:
        self._engine.is_ending = True
        if self._engine.pid:
            self._engine.kill()
        elif not self._finished:
            self._finished = True
            self.on_end()


def _encoded(told: Told) -> Message:
    return (codec.encode(told[0]), told[1]) if told else None
