"""`shiftboss up` as a child of the demo: started, watched, and ended with everything that it started."""

import contextlib
import ctypes
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from shiftboss.core.errors import HostError
from shiftboss.demo.stage import Stage

T = TypeVar("T")
START_SECONDS = 60
STOP_SECONDS = 60  # a huey consumer has 30 to finish its tasks
LOG_LINES = 15
_SERVER = {"shiftboss.keeper.main", "shiftboss.engine.main"}


_libc = ctypes.CDLL(None)  # before the fork: nothing is loaded after it
_PR_SET_PDEATHSIG = 1


def _end_with_us() -> None:
    """Have this process ended in order when its parent dies, however that happens: prctl(2)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Server:
    """A running `shiftboss up`."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.log = stage.top / "up.log"
        self._told = 0
        with self.log.open("wb") as sink:
            # a session of its own: Ctrl-C on the terminal is for the demo, which then stops this one in order
            self._process = subprocess.Popen(
                [stage.program, "up"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                preexec_fn=_end_with_us,
            )

    def wait_for(self, condition: Callable[[], T], seconds: float, what: str) -> T:
        """Wait until `condition` holds and return what it returned.

        Raises HostError if it takes too long or the server ends; it says what was waited for, and the log.
        """
        end = time.monotonic() + seconds
        while not (seen := condition()):
            self.require_alive()
            if time.monotonic() > end:
                raise self.failure(f"{what}: not seen after {seconds:g} s")
            time.sleep(0.05)
        return seen

    def require_alive(self) -> None:
        """Raise HostError if the server has ended."""
        if (status := self._process.poll()) is not None:
            raise self.failure(f"shiftboss up ended with exit status {status}")

    def failure(self, what: str) -> HostError:
        """Return an error about the demo with the end of every log as its hint."""
        logs = [self.log, *sorted((self.stage.top / "logs").rglob("*.log"))]
        return HostError(
            f"the demo failed: {what}", hint="\n".join(line for log in logs for line in _tail(log))
        )

    def news(self) -> str:
        """Return what the server said since this was asked the last time."""
        with self.log.open("rb") as log:
            log.seek(self._told)
            said = log.read()
        self._told += len(said)
        return said.decode(errors="replace")

    def stop(self) -> None:
        """End it and everything that it started; raise HostError if it left something, which is killed then."""
        was_alive = self._process.poll() is None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        left = processes_in(self.stage.top)
        error = self.failure(f"shiftboss up left these processes, which were killed now: {_named(left)}")
        _kill(left)
        if left and was_alive:  # one that was killed itself could not end anything, which is said already
            raise error


def _named(processes: list[psutil.Process]) -> str:
    return ", ".join(str(process.pid) for process in processes)


def _tail(path: Path) -> list[str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        return [f"{path}: {(error.strerror or str(error)).lower()}"]
    return [f"{path}:", *(f"  {line}" for line in lines[-LOG_LINES:])]


def processes_in(top: Path) -> list[psutil.Process]:
    """Return the living processes that the server of this directory started, itself included."""
    return [process for process in psutil.process_iter() if _is_of(process, top)]


def _is_of(process: psutil.Process, top: Path) -> bool:
    """Tell our own from a shell or an editor that somebody else has open in there."""
    try:
        words = process.cmdline()
        if _SERVER.intersection(words):
            return any(word.startswith(f"{top}/") for word in words)
        return process.cwd().startswith(f"{top}/") and "SHIFTBOSS_RUN" in process.environ()
    except psutil.Error:
        return False


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)
