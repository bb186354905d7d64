"""The api socket: JSON lines in, JSON lines out. Who asks is known from the kernel, what they may from the table."""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Error, ErrorKind, Response
from shiftboss.core.access import OTHER_BACKENDS, Caller, is_stranger
from shiftboss.core.errors import DeniedError, HostError, ShiftbossError, UserError
from shiftboss.engine.callers import MOST_CONNECTIONS, Callers, Usage
from shiftboss.engine.dispatch import Dispatch

log = logging.getLogger(__name__)

MOST_CLIENTS = 200
MOST_ORDINARY = 150  # of them: the others are kept for administrators
_BACKLOG = 512
_ACCEPTED_AT_ONCE = 16
_MOST_AT_ONCE = 32  # requests of one client that are not answered yet; streams that it has
_STREAM_ROOM = 1024 * 1024  # bytes that a client who listens to events may be behind
_REPLY_ROOM = 32 * 1024 * 1024
_UNREAD_SECONDS = 30.0  # for a user who is no administrator to read what was searched

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(calls.Request).decode


class Server:
    """All clients. Who has no right on anything is not let in; what the others may is asked at each request."""

    def __init__(self, dispatch: Dispatch, callers: Callers) -> None:
        self.dispatch = dispatch
        self._callers = callers
        self._clients: set[Connection] = set()
        self._usage: dict[int, Usage] = {}
        self._ordinary = 0
        self._listening: asyncio.Server | None = None

    async def listen(self, descriptor: int) -> None:
        """Answer at a listening unix socket."""
        listening = socket.socket(fileno=descriptor)
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        # asyncio accepts as many at once as its backlog says: few, so that others have their turn in between
        self._listening = await loop.create_server(
            lambda: Connection(self), sock=listening, backlog=_ACCEPTED_AT_ONCE
        )
        listening.listen(_BACKLOG)

    def let_nobody_in(self) -> None:
        """Answer nobody who comes from now on: who connects waits for the next engine, if the keeper holds the socket."""
        if self._listening:
            self._listening.close()

    def hang_up(self) -> None:
        """End all connections once what was answered is sent; nothing is asked on them any more."""
        for client in [*self._clients]:
            client.hang_up()

    def admit(self, connection: "Connection", peer: socket.socket) -> tuple[Caller, str, Usage | None]:
        """Let a client in; return who it is, by name too, and what its user has in use (administrators: None).

        Raises DeniedError or HostError with why it is not let in.
        """
        caller = self._callers.caller(peer)
        if is_stranger(caller, self.dispatch.projects):
            raise DeniedError("permission denied: nothing that runs here is yours", hint=_STRANGER)
        if len(self._clients) >= MOST_CLIENTS:
            raise _crowded()
        usage = None if caller.is_admin else self._let_in(caller.uid)
        self._clients.add(connection)
        return caller, self._callers.name(caller.uid), usage

    def leave(self, connection: "Connection") -> None:
        """Forget a client."""
        if connection not in self._clients:
            return
        self._clients.discard(connection)
        if connection.usage:
            connection.usage.connections -= 1
            self._ordinary -= 1

    def _let_in(self, uid: int) -> Usage:
        now = asyncio.get_running_loop().time()
        usage = self._usage.get(uid)
        if usage is None:
            self._usage = {one: used for one, used in self._usage.items() if not used.is_fresh(now)}
            usage = self._usage[uid] = Usage(now)
        if usage.connections >= MOST_CONNECTIONS or self._ordinary >= MOST_ORDINARY:
            raise _crowded()
        usage.connections += 1
        self._ordinary += 1
        return usage


_STRANGER = (
    "Root can name you under [project] operators or viewers in the file of a project. "
    f"{OTHER_BACKENDS} As root: use sudo."
)


def _crowded() -> HostError:
    return HostError("too many clients at once", hint="Try again in a moment.")


class Connection(asyncio.Protocol):
    """One client. Requests are answered in any order; the id tells which."""

    def __init__(self, server: Server) -> None:
        self.caller = Caller(-1)  # nobody, until admitted
        self.who = ""
        self.usage: Usage | None = None
        self.on_end: list[Callable[[], None]] = []
        self._server = server
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._has_turn = False  # the next line is taken soon
        self._open: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_over = False

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 -- as in asyncio.Protocol
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        try:
            admitted = self._server.admit(self, transport.get_extra_info("socket"))
        except ShiftbossError as error:
            self.refuse(0, error)
            self.hang_up()
        except OSError as error:  # it is gone already
            log.debug("a client hung up at once: %s", error.strerror)
            self.hang_up()
        else:
            self.caller, self.who, self.usage = admitted

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._is_over:
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest
        self._lines += [line for line in lines if len(line) <= calls.MAX_REQUEST]
        self._go_on()
        if max(map(len, (rest, *lines))) > calls.MAX_REQUEST:
            self._fail(0, "user", f"a request is longer than {calls.MAX_REQUEST} bytes")
            self.hang_up()

    def pause_writing(self) -> None:  # noqa: D102
        self._may_write.clear()
        self._read_if_all_is_taken()

    def resume_writing(self) -> None:  # noqa: D102
        self._may_write.set()
        self._go_on()

    def _go_on(self) -> None:
        """Take the next line, if none is to be taken soon; a user who is no administrator waits for a turn."""
        if self.usage and not self._has_turn:
            self._line_up()
        elif not self._has_turn:
            self._take_next()

    def _take_next(self) -> None:
        """Take one request and let others have their turn before the next; none while answers are not read."""
        self._has_turn = False
        if self._lines and self._may_write.is_set() and not self._is_over:
            self._take(self._lines.popleft())
            if self._lines and not self._has_turn:
                self._line_up()
        self._read_if_all_is_taken()

    def _line_up(self) -> None:
        """Have the next line taken soon; a user has one turn for all of its connections."""
        self._has_turn = True
        if self.usage:
            self.usage.line_up(self._take_next)
        else:
            asyncio.get_running_loop().call_soon(self._take_next)

    def _read_if_all_is_taken(self) -> None:
        with contextlib.suppress(RuntimeError):  # closing
            if self._may_write.is_set() and not self._lines:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

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
        dispatch = self._server.dispatch
        arguments = dispatch.arguments(self.caller, request)
        if request.id in self._open:
            raise UserError(f"request {request.id} is not answered yet", hint="Use another id.")
        if len(self._open) >= _MOST_AT_ONCE:
            raise UserError("too many requests at once", hint="Wait for answers before asking more.")
        self._refuse_too_much(request)
        answer = dispatch.at_once(request.call, arguments, self.caller)
        if answer is not None:
            self._send(Response(request.id, reply=answer))
            return
        self._open.add(request.id)
        self._begin_later(request, arguments)

    def _begin_later(self, request: calls.Request, arguments: calls.Struct) -> None:
        """Begin what takes a while."""
        dispatch = self._server.dispatch
        match arguments:
            case calls.History():
                self._run(request.id, self._answer(request.id, partial(dispatch.history, arguments)))
            case calls.Logs(follow=False):
                self._run(request.id, self._answer(request.id, partial(dispatch.logs, arguments)))
            case calls.Logs():
                self._refuse_more_streams()
                self._follow(request.id, dispatch.followed(arguments, self.caller))
            case calls.Occurrences():
                self._run(request.id, self._answer(request.id, partial(dispatch.occurrences, arguments)))
            case calls.RunLog():
                self._run(request.id, self._answer(request.id, partial(dispatch.run_log, arguments)))
            case calls.Select() if request.call == "events":
                self._refuse_more_streams()
                dispatch.events(self, request.id, arguments)
            case _:
                dispatch.post(self, request.id, request.call, arguments)

    def _refuse_too_much(self, request: calls.Request) -> None:
        """Raise HostError if a user who is not an administrator has changed too much in too short a time."""
        if not self.usage or calls.CALLS[request.call].access != "operate":
            return
        if not self.usage.may_change(asyncio.get_running_loop().time()):
            raise HostError("too many changes in a short time", hint="Wait a second between two of them.")

    def _refuse_more_streams(self) -> None:
        """Raise UserError if this client listens often enough: each event is made ready for each listener."""
        if len(self.on_end) >= _MOST_AT_ONCE:
            raise UserError("too many streams on one connection", hint="Hang up to end those that are there.")

    async def _answer(self, request_id: int, work: Callable[[], Coroutine[Any, Any, Answer]]) -> None:
        if not self.usage:
            self.reply(request_id, await work())
            return
        async with self.usage.searches:
            self.reply(request_id, await work())
            await self._until_read()

    async def _until_read(self) -> None:
        """Wait until most of what was sent is read: until then it takes memory, of which a user has no more than this."""
        try:
            async with asyncio.timeout(_UNREAD_SECONDS):
                await self.ready()
        except TimeoutError:
            self._transport.abort()

    def _follow(self, request_id: int, streams: list[AsyncIterator[calls.LogLines]]) -> None:
        if self.usage:
            self.on_end.append(self.usage.follow(len(streams)))
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
        self._fail(request_id, _kind(error), error.message, error.hint)

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

    def hang_up(self) -> None:
        """End the connection once what was answered is sent."""
        self._is_over = True
        self._transport.close()


def _kind(error: ShiftbossError) -> ErrorKind:
    if isinstance(error, DeniedError):
        return "denied"
    return "user" if isinstance(error, UserError) else "host"
