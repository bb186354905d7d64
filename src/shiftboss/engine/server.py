"""The api socket: JSON lines in, JSON lines out. Who asks is known from the kernel, what they may from the table."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import msgspec

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Error, ErrorKind, Response
from shiftboss.core.errors import ShiftbossError, UserError
from shiftboss.engine.dispatch import Dispatch, decode_args

log = logging.getLogger(__name__)

MOST_CLIENTS = 200
_BACKLOG = 512
_MOST_AT_ONCE = 32  # requests of one client that are not answered yet
_STREAM_ROOM = 1024 * 1024  # bytes that a client who listens to events may be behind
_REPLY_ROOM = 32 * 1024 * 1024
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(calls.Request).decode


class Server:
    """All clients. `allowed`: uid and name of the users who may ask anything; nobody else may ask at all."""

    def __init__(self, dispatch: Dispatch, allowed: Mapping[int, str]) -> None:
        self.dispatch = dispatch
        self._allowed = allowed
        self._clients: set[Connection] = set()

    async def listen(self, descriptor: int) -> asyncio.Server:
        """Answer at a listening unix socket."""
        listening = socket.socket(fileno=descriptor)
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self), sock=listening, backlog=_BACKLOG)

    def admit(self, connection: "Connection", uid: int) -> str:
        """Let a client in; return why not, "" if it may."""
        if uid not in self._allowed:
            return "permission denied: only root and the owner of this shiftboss may ask it"
        if len(self._clients) >= MOST_CLIENTS:
            return "too many clients at once"
        self._clients.add(connection)
        return ""

    def name_of(self, uid: int) -> str:
        """Return the name of a user who was let in."""
        return self._allowed[uid]

    def leave(self, connection: "Connection") -> None:
        """Forget a client."""
        self._clients.discard(connection)


class Connection(asyncio.Protocol):
    """One client. Requests are answered in any order; the id tells which."""

    def __init__(self, server: Server) -> None:
        self.who = ""
        self.on_end: list[Callable[[], None]] = []
        self._server = server
        self._rest = b""
        self._open: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_over = False

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 -- as in asyncio.Protocol
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        uid = _peer_uid(transport.get_extra_info("socket"))
        refusal = self._server.admit(self, uid)
        if refusal:
            self._fail(
                0, "denied", refusal, "Run the command as root (sudo), or as the user who started shiftboss."
            )
            self._over()
        else:
            self.who = self._server.name_of(uid)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._is_over:
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest
        for line in lines:
            if len(line) <= calls.MAX_REQUEST:
                self._take(line)
        if max(map(len, (rest, *lines))) > calls.MAX_REQUEST:
            self._fail(0, "user", f"a request is longer than {calls.MAX_REQUEST} bytes")
            self._over()

    def pause_writing(self) -> None:  # noqa: D102
        self._may_write.clear()
        with contextlib.suppress(RuntimeError):  # closing
            self._transport.pause_reading()

    def resume_writing(self) -> None:  # noqa: D102
        self._may_write.set()
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:  # noqa: D102
        self._is_over = True
        self._may_write.set()
        self._server.leave(self)
        for end in self.on_end:
            end()
        for task in self._tasks:
            task.cancel()

    # ---- requests

    def _take(self, line: bytes) -> None:
        try:
            request = _decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self._fail(0, "user", f"not a request: {str(error)[:200]}")
            return
        try:
            self._begin(request)
        except ShiftbossError as error:
            self.refuse(request.id, error)
        except Exception:
            log.exception("a request failed", extra={"event": "request_failed", "call": request.call})
            self._fail(request.id, "bug", "internal error, please report", "See the log of the engine.")

    def _begin(self, request: calls.Request) -> None:
        arguments = decode_args(request)
        if request.id in self._open:
            raise UserError(f"request {request.id} is not answered yet", hint="Use another id.")
        if len(self._open) >= _MOST_AT_ONCE:
            raise UserError("too many requests at once", hint="Wait for answers before asking more.")
        answer = self._server.dispatch.at_once(request.call, arguments)
        if answer is not None:
            self._send(Response(request.id, reply=answer))
            return
        self._open.add(request.id)
        self._begin_later(request, arguments)

    def _begin_later(self, request: calls.Request, arguments: calls.Struct) -> None:
        """Begin what takes a while."""
        match arguments:
            case calls.History():
                self._run(request.id, self._answer(request.id, self._server.dispatch.history(arguments)))
            case calls.Logs(follow=False):
                self._run(request.id, self._answer(request.id, self._server.dispatch.logs(arguments)))
            case calls.Logs():
                self._follow(request.id, self._server.dispatch.followed(arguments))
            case calls.Occurrences():
                self._run(request.id, self._answer(request.id, self._server.dispatch.occurrences(arguments)))
            case calls.RunLog():
                self._run(request.id, self._answer(request.id, self._server.dispatch.run_log(arguments)))
            case calls.Select() if request.call == "events":
                self._server.dispatch.events(self, request.id, arguments)
            case _:
                self._server.dispatch.post(self, request.id, request.call, arguments)

    async def _answer(self, request_id: int, work: Coroutine[Any, Any, Answer]) -> None:
        self.reply(request_id, await work)

    def _follow(self, request_id: int, streams: list[AsyncIterator[calls.LogLines]]) -> None:
        self.reply(request_id, calls.LogTails(logs=()))
        self._open.add(request_id)
        for stream in streams:
            self._run(request_id, self._pass_on(request_id, stream))

    async def _pass_on(self, request_id: int, stream: AsyncIterator[calls.LogLines]) -> None:
        async with contextlib.aclosing(stream):  # type: ignore[type-var]  # an async generator
            async for item in stream:
                if not await self.ready():
                    return
                self._send(Response(request_id, item=item))

    def _run(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._is_done, request_id))

    def _is_done(self, request_id: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, ShiftbossError):
            self.refuse(request_id, error)
        elif error:
            log.error("a request failed", exc_info=error, extra={"event": "request_failed"})
            self._fail(request_id, "bug", "internal error, please report", "See the log of the engine.")

    # ---- answers

    def reply(self, request_id: int, answer: Answer) -> None:
        """Send the answer of a request."""
        self._open.discard(request_id)
        self._send(Response(request_id, reply=answer))

    def refuse(self, request_id: int, error: ShiftbossError) -> None:
        """Send why a request was not carried out."""
        kind: ErrorKind = "user" if isinstance(error, UserError) else "host"
        self._fail(request_id, kind, error.message, error.hint)

    def item(self, request_id: int, item: Answer) -> None:
        """Send a part of a stream; who is far behind is dropped."""
        if self._transport.get_write_buffer_size() > _STREAM_ROOM:
            log.warning("a client was too slow and was dropped", extra={"event": "client_dropped"})
            self._transport.abort()
        else:
            self._send(Response(request_id, item=item))

    async def ready(self) -> bool:
        """Wait until the client has read most of what was sent; False: it is gone."""
        await self._may_write.wait()
        return not self._is_over

    def _fail(self, request_id: int, kind: ErrorKind, message: str, hint: str = "") -> None:
        self._open.discard(request_id)
        self._send(Response(request_id, error=Error(kind=kind, message=message, hint=hint)))

    def _send(self, response: Response) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _REPLY_ROOM:
            self._transport.abort()
            return
        self._transport.write(_encode(response) + b"\n")

    def _over(self) -> None:
        self._is_over = True
        self._transport.close()


def _peer_uid(peer: socket.socket) -> int:
    _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
