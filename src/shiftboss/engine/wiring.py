"""All parts of the engine put together; the only place that knows all of them."""

import asyncio
import codecs
import ctypes as _ctypes  # noqa: F401 -- capture needs it later, when root is gone and its files may be out of reach
import difflib as _difflib  # noqa: F401 -- the same, for hints (core/names.py)
import gc
import grp
import logging
import os
import pwd
import signal
import socket
import struct
import time
from concurrent.futures import thread as _preloaded  # noqa: F401 -- imported lazily otherwise, when root is gone

from shiftboss.core import access
from shiftboss.core.wire import messages
from shiftboss.engine.callers import Callers
from shiftboss.engine.capture import Capture
from shiftboss.engine.database import Database, Memory
from shiftboss.engine.dispatch import Dispatch
from shiftboss.engine.hub import Hub
from shiftboss.engine.keeper_link import KeeperLink
from shiftboss.engine.loop import Loop, Lost, Missed, Rang, Received
from shiftboss.engine.server import Server
from shiftboss.engine.shell import RealShell
from shiftboss.engine.store import Store
from shiftboss.engine.timers import Timers
from shiftboss.host.clock import RealClock

log = logging.getLogger(__name__)

for _codec in ("ascii", "utf-8", "latin-1"):  # imported at their first use otherwise
    codecs.lookup(_codec)

BUG = 70
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_END_SECONDS = 5.0
_LOOK_FOR_PIPES_SECONDS = 0.25
_HOPELESS_SECONDS = 60.0  # a disk that fills up is often cleared within that time


class Engine:
    """A running engine."""

    def __init__(self, keeper: socket.socket, state: str) -> None:
        self._aio = asyncio.get_running_loop()
        self._keeper = keeper
        self._hub = Hub()
        self._database = Database(os.path.join(state, "engine.db"))
        self._store = Store(self._database, self._aio)
        self._capture = Capture(os.path.join(state, "takeover"))
        self._shell = RealShell(self._aio, self._capture, self._store, self._hub)
        self._server: Server | None = None

    async def run(self) -> None:
        """Take over, serve, and end in order."""
        callers = self._callers()
        memory = await self._store.load()
        loop = self._connect(memory)
        await first_of(self._shell.on_ready, self._shell.on_closing, self._shell.on_end)
        if self._shell.api and self._shell.on_ready.is_set():
            parts = (loop, self._shell, self._store, self._database, self._capture, self._hub)
            self._server = Server(Dispatch(*parts), callers)
            await self._server.listen(self._shell.api[0])
        gc.collect()
        gc.freeze()
        await self._wait_for_the_end()
        await self._end()

    def _connect(self, memory: Memory | None) -> Loop:
        first_run = 0
        if memory is None or self._database.moved_aside:
            # the keeper may know runs that we have forgotten: begin past any of them
            first_run = int(time.monotonic() * 1000)
        shell = self._shell
        zone = RealClock().zone()
        loop = Loop(shell, memory or Memory(), boot=boot_id(), first_run=first_run, zone=zone)
        link = KeeperLink(
            self._keeper,
            self._aio,
            lambda report, descriptor: loop.post(Received(report, descriptor)),
            lambda: loop.post(Lost()),
            lambda: loop.post(Missed()),
        )
        shell.on_room = lambda: loop.post(Missed())
        shell.connect(link, Timers(self._aio, lambda key, epoch: loop.post(Rang(key, epoch))))
        link.send(messages.Sync())
        return loop

    def _callers(self) -> Callers:
        keeper_uid = peer_uid(self._keeper)
        admins = {uid: user_name(uid) for uid in (0, os.geteuid(), keeper_uid)}
        return Callers(admins, admin_group() if keeper_uid == 0 else None, lambda: self._shell.users)

    async def _wait_for_the_end(self) -> None:
        term = asyncio.Event()
        self._aio.add_signal_handler(signal.SIGTERM, term.set)
        await first_of(self._shell.on_closing, self._shell.on_end, term)
        if self._shell.on_closing.is_set() and not term.is_set():
            lost = self._aio.create_task(self._until_no_pipe_is_left())
            await first_of(self._shell.on_end, term)
            lost.cancel()

    async def _until_no_pipe_is_left(self) -> None:
        """Without a keeper nobody tells who is gone; while a pipe is open somebody may still write.

        If no log of them can be written any more, its directory gone or its disk full, we do not wait for ever.
        """
        hopeless_since = self._aio.time()
        while not self._shell.is_lost or (open_logs := [log for log in self._capture.report() if log.pipes]):
            if not self._shell.is_lost or not all(log.problem for log in open_logs):
                hopeless_since = self._aio.time()
            elif self._aio.time() - hopeless_since > _HOPELESS_SECONDS:
                log.error("the keeper is gone and output is lost: %s", open_logs[0].problem)
                break
            await asyncio.sleep(_LOOK_FOR_PIPES_SECONDS)
        self._shell.on_end.set()

    async def _end(self) -> None:
        if self._server:
            self._server.let_nobody_in()
        await self._shell.settle(_END_SECONDS)
        await self._capture.close()
        await self._store.close()
        if self._server:
            self._server.hang_up()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def peer_uid(keeper: socket.socket) -> int:
    """Return the keeper's user: it made the socket pair."""
    _, uid, _ = struct.unpack("3i", keeper.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def admin_group() -> int | None:
    """Return the group whose members may do what root may; None if there is none."""
    try:
        return grp.getgrnam(access.GROUP).gr_gid or None  # never root's own group
    except KeyError:
        return None


def user_name(uid: int) -> str:
    """Return the name of a user, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def boot_id() -> str:
    """Return what names this boot of the machine."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def on_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """End at once after an error in our own code; an error of one connection is only told."""
    error = context.get("exception")
    failed = error if isinstance(error, Exception) else None
    log.error("%s", context.get("message"), exc_info=failed, extra={"event": "asyncio"})
    if failed and ("handle" in context or "task" in context):
        os._exit(BUG)


def serve(keeper: socket.socket, state: str) -> None:
    """Run the engine until its end. `keeper`: our end of the socket to it; `state`: our own directory."""
    asyncio.run(_serve(keeper, state))


async def _serve(keeper: socket.socket, state: str) -> None:
    asyncio.get_running_loop().set_exception_handler(on_trouble)
    await Engine(keeper, state).run()
