"""A real keeper and engine for tests: in directories of their own, stopped by the keeper's pid, and nothing left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from shiftboss.confine.program import MARK
from shiftboss.core.errors import HostError
from shiftboss.core.facts import EngineProcess
from shiftboss.core.spec import Site
from shiftboss.host.native_engine import NativeEngine
from shiftboss.setup.keeper_command import keeper_command
from tests.waiting import wait_until

_UNIX_PATH_LIMIT = 107  # of 108 bytes (man 7 unix), with the NUL at the end
_DEADLINE_SECONDS = 30.0


class TemporaryKeeper:
    """A keeper with its engine, below `directory`: `state` and `run` are where a config.toml in it has them.

    Use it in a `with` block. `python` is the interpreter, `become` are words that start it as somebody else
    (setpriv …). At the end no process that it ever started may live, and the engine may not have failed.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        state: str | os.PathLike[str] = "",
        run: str | os.PathLike[str] = "",
        python: str = sys.executable,
        become: Sequence[str] = (),
    ) -> None:
        self.directory = Path(directory)
        self.state = Path(state or self.directory / "state")
        self.run = Path(run or self.directory / "run")
        self.manifests = self.state / "manifest"
        self.socket = self.run / "api.sock"
        self.python = python
        self.become = tuple(become)
        self._process: subprocess.Popen[bytes] | None = None
        self._was_killed = False

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() was not called"
        return self._process.pid

    @property
    def engine_pid(self) -> int:
        """The engine's pid, 0 while there is none."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.run / "engine.pid").read_text())
        return 0

    def __enter__(self) -> "TemporaryKeeper":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and return when the engine answers; raise AssertionError with its own words if it does not."""
        length = len(os.fsencode(self.socket))
        assert length <= _UNIX_PATH_LIMIT, f"the path of a socket is too long: {self.socket}"
        subprocess.run([*self.become, "mkdir", "--parents", str(self.manifests)], check=True)
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.become, *keeper_command(self._site(), self.python)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._was_killed = False
        try:
            self.wait_until_answering()
        except BaseException:
            self.kill()
            raise

    def wait_until_answering(self) -> None:
        """Return when the engine answers."""
        wait_until(self._answers_or_ended, _DEADLINE_SECONDS, what="the keeper")
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the keeper does not run: {self.output()}")

    def stop(self) -> None:
        """Stop it and everything that it runs, and wait for the end; assert that nothing is left."""
        if self._was_killed:
            self.start()  # what a dead keeper leaves, the next one ends
        if self._process is not None and self._process.poll() is None:
            self._terminate(self._process)
        left = self.processes()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not left, f"left behind: {left}; {self.output()[-3000:]}"
        errors = [line for line in self.output().splitlines() if '"level": "ERROR"' in line]
        assert all('"keeper_lost"' in line for line in errors), errors  # that one follows kill()

    def kill(self) -> None:
        """End the keeper alone, at once: its workers live on, until the next start() or stop()."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self._was_killed = True

    def kill_engine(self) -> int:
        """End the engine at once, and return the pid of the next one when that answers."""
        old = self.engine_pid
        os.kill(old, signal.SIGKILL)
        new = wait_until(lambda: self.engine_pid not in {0, old} and self.engine_pid, what="another engine")
        self.wait_until_answering()
        return new

    def states(self) -> dict[str, str]:
        """Return the state of every process, by `project/worker:1`; nothing if the engine does not run."""
        return {address: process.state for address, process in self._told().items()}

    def pids(self) -> dict[str, int]:
        """Return the pid of every process, 0 for one that does not run, by `project/worker:1`."""
        return {address: process.pid or 0 for address, process in self._told().items()}

    def wait_for(self, states: dict[str, str], seconds: float = _DEADLINE_SECONDS) -> None:
        """Return when these processes have these states; raise AssertionError if they do not get there in time."""
        try:
            wait_until(lambda: states.items() <= self.states().items(), seconds, what=f"{states}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.states()}; {self.output()}") from None

    def entry(self, address: str) -> dict[str, Any]:
        """Return what the manifest says of a worker."""
        text = (self.manifests / f"{address.partition('/')[0]}.json").read_text()
        (found,) = (entry for entry in json.loads(text)["entries"] if entry["address"] == address)
        return dict(found)

    def processes(self) -> dict[int, str]:
        """Return every living process that this keeper or one before it started here, by the mark it carries."""
        with suppress(FileNotFoundError):
            prefix = f"{MARK}={(self.state / 'instance').read_text().strip()}/".encode()
            return {pid: mark for pid in _living() if (mark := _variable(pid, prefix))}
        return {}

    def output(self) -> str:
        """Return what keeper and engine printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def _output(self) -> Path:
        return self.directory / "keeper.out"

    def _site(self) -> Site:
        """Only `state` and `run` matter to the command."""
        place = str(self.directory)
        return Site(place, place, str(self.state), str(self.run), place, place, "", system=not self.become)

    def _told(self) -> dict[str, EngineProcess]:
        facts = NativeEngine(str(self.socket)).facts()
        units = facts.units if facts else ()
        return {f"{unit.address}:{process.number}": process for unit in units for process in unit.processes}

    def _answers_or_ended(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return True
        try:
            return NativeEngine(str(self.socket)).facts() is not None
        except HostError:  # the socket is there, and the engine not yet
            return False

    def _terminate(self, process: subprocess.Popen[bytes]) -> None:
        """Ask it to stop as an administrator would; a second time, less patiently."""
        for _ in range(2):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_DEADLINE_SECONDS)
                return
        self.kill()
        raise AssertionError(f"the keeper does not end: {self.output()[-3000:]}")


def _living() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _variable(pid: int, prefix: bytes) -> str:
    """Return what follows a prefix in the environment of a living process; "" for one that has ended or lacks it."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")  # empty for a zombie
    except OSError:
        return ""
    return next((word.removeprefix(prefix).decode() for word in words if word.startswith(prefix)), "")
