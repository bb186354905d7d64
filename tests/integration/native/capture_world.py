"""A capture in a temporary directory, with real programs that write to real pipes."""

import asyncio
import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from shiftboss.core.rotation import LogLimits
from shiftboss.engine.capture import Capture, LogStatus

ENTRY = "shop/queue"
DEADLINE = 20.0
PLENTY = LogLimits(max_bytes=10_000_000, backups=5)


class World:
    """Programs and the capture of their output. Runs are numbered as they are started."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory
        self.capture = Capture(str(directory.parent / "takeover"))
        self.capture.settled()
        self.programs: list[subprocess.Popen[bytes]] = []

    @property
    def path(self) -> Path:
        """The log that programs go to if nothing else is said."""
        return self.logs / "queue.log"

    def run(
        self,
        command: str,
        *,
        entry: str = ENTRY,
        process: int = 1,
        path: Path | None = None,
        limits: LogLimits = PLENTY,
    ) -> int:
        """Start a shell command and capture it; return its run number."""
        read, write = os.pipe2(os.O_CLOEXEC)
        self.programs.append(subprocess.Popen(["sh", "-c", command], stdout=write))
        os.close(write)
        run = len(self.programs)
        self.capture.attach(entry, process, run, read, str(path or self.path), limits)
        return run

    def pipe(
        self,
        *,
        entry: str = ENTRY,
        process: int = 1,
        run: int = 1,
        path: Path | None = None,
        limits: LogLimits = PLENTY,
    ) -> int:
        """Capture a pipe and return its write end, which does not block."""
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(write, False)
        self.capture.attach(entry, process, run, read, str(path or self.path), limits)
        return write

    async def ended(self, run: int, *, entry: str = ENTRY, process: int = 1) -> bool:
        """Wait for the end of a program and of its output."""
        await until(lambda: self.programs[run - 1].poll() is not None, "the program to end")
        return await self.capture.finish(entry, process, run)

    def status(self, path: Path | None = None) -> LogStatus:
        """Return the state of a log."""
        return next(one for one in self.capture.report() if one.path == str(path or self.path))


@contextlib.asynccontextmanager
async def world(directory: Path) -> AsyncIterator[World]:
    logs = directory / "logs"
    logs.mkdir(exist_ok=True)
    here = World(logs)
    try:
        yield here
    finally:
        for program in here.programs:
            program.kill()
            program.wait()
        await here.capture.close()


def scene(play: Callable[[World], Coroutine[Any, Any, None]], directory: Path) -> None:
    """Play a test in a world of its own."""

    async def playing() -> None:
        async with world(directory) as here:
            await play(here)

    asyncio.run(playing())


async def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> None:
    """Wait until a condition holds; fail after the deadline."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited {deadline:g} s for {what}"
        await asyncio.sleep(0.005)


def content(path: Path) -> bytes:
    """Return all that a log and its backups hold, oldest first."""
    backups = sorted(path.parent.glob(path.name + ".*"), key=lambda part: -int(part.suffix[1:]))
    return b"".join(part.read_bytes() for part in (*backups, path))


def waiting(pipe: int) -> int:
    """Return how many bytes wait in a pipe, from either end."""
    import array
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def write_all(pipe: int, data: bytes) -> None:
    """Write what must fit into a pipe."""
    assert os.write(pipe, data) == len(data)


def numbers(first: int, last: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, last + 1))
