"""Asking the engine, one call after the other. No asyncio, so that a command starts quickly."""

import os
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Error, Struct
from shiftboss.core.errors import HostError, ShiftbossError, UserError

CONNECT_SECONDS = 5.0
MARGIN_SECONDS = 10.0  # what an answer may take beyond the wait that was asked for
_CROWDED_SECONDS = 0.02
_CHUNK = 256 * 1024
_LONGEST = 256 * 1024 * 1024
T = TypeVar("T", bound=Answer)
_NOT_RUNNING = "Start it with: shiftboss up, or for good with: shiftboss service install."


_NOTHING = msgspec.Raw()


class NotRunningError(HostError):
    """Nobody listens at the engine's socket."""


class HungUpError(HostError):
    """The engine ended in the middle: it is being stopped or started again. What was asked may be done or not."""


class Line(msgspec.Struct):
    """One line of the engine; what `reply` and `item` hold is decoded by the call's own types."""

    id: int
    reply: msgspec.Raw = _NOTHING
    error: Error | None = None
    item: msgspec.Raw = _NOTHING


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


class Client:
    """A connection to the engine's socket. Not for several threads at once.

    Every method raises UserError or HostError with what the engine says, and HostError (hint included) where
    nobody answers.
    """

    def __init__(self, path: str, *, timeout: float = CONNECT_SECONDS) -> None:
        self._path = path
        self._next = 0
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._connect(time.monotonic() + timeout)
        except OSError as error:
            self._socket.close()
            raise _unreachable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def ask(self, call: str, request: Struct) -> Answer:
        """Make a call and return its reply; waits as long as the request says, and a margin."""
        wait = float(getattr(request, "wait_seconds", 0))
        number = self._send(call, request, wait + MARGIN_SECONDS)
        return self._reply(call, number)

    def stream(self, call: str, request: Struct) -> Iterator[Answer]:
        """Make a call that streams; yield its items until the engine ends or the caller stops asking."""
        number = self._send(call, request, MARGIN_SECONDS)
        yield self._reply(call, number)
        kind = calls.CALLS[call].item
        assert kind, f"{call} does not stream"
        self._socket.settimeout(None)
        while True:
            line = self._line()
            if line.error:
                raise _told(line.error)
            if line.id == number and line.item:
                yield msgspec.json.decode(line.item, type=kind)

    # ---- the calls, by name

    def version(self) -> calls.Version:
        """Return who answers."""
        return self._ask("version", calls.Nothing(), calls.Version)

    def status(self, *targets: str, usage: bool = False) -> calls.Status:
        """Return the status of everything, or of the targets; `usage`: with what each process uses."""
        return self._ask("status", calls.Select(targets=targets, usage=usage), calls.Status)

    def start(self, *targets: str, wait_seconds: float = 0) -> calls.Changed:
        """Start processes; return what became of them."""
        return self._ask("start", calls.Act(targets=targets, wait_seconds=wait_seconds), calls.Changed)

    def stop(self, *targets: str, wait_seconds: float = 0, keep: bool = False) -> calls.Changed:
        """Stop processes; return what became of them."""
        request = calls.Act(targets=targets, wait_seconds=wait_seconds, keep=keep)
        return self._ask("stop", request, calls.Changed)

    def restart(self, *targets: str, wait_seconds: float = 0) -> calls.Changed:
        """Restart processes; return what became of them, with old and new pids."""
        return self._ask("restart", calls.Act(targets=targets, wait_seconds=wait_seconds), calls.Changed)

    def scale(self, target: str, processes: int, *, wait_seconds: float = 0) -> calls.Changed:
        """Run so many processes of a worker; return those that are new or going."""
        request = calls.Scale(target=target, processes=processes, wait_seconds=wait_seconds)
        return self._ask("scale", request, calls.Changed)

    def reload(self, *, wait_seconds: float = 0) -> calls.Reloaded:
        """Have the manifest read again; return what that changed."""
        return self._ask("reload", calls.Reload(wait_seconds=wait_seconds), calls.Reloaded)

    def history(self, query: calls.History) -> calls.HistoryRows:
        """Return past events, newest first."""
        return self._ask("history", query, calls.HistoryRows)

    def schedules(self, *targets: str) -> calls.Schedules:
        """Return the status of all schedules, or of those that the targets mean."""
        return self._ask("schedules", calls.Select(targets=targets), calls.Schedules)

    def occurrences(self, query: calls.Occurrences) -> calls.OccurrenceRows:
        """Return occurrences of schedules, newest first."""
        return self._ask("occurrences", query, calls.OccurrenceRows)

    def run_log(self, target: str, run: int) -> calls.LogLines:
        """Return the output of one run of a schedule."""
        return self._ask("run_log", calls.RunLog(target=target, run=run), calls.LogLines)

    def run(self, target: str, *, wait_seconds: float = 0) -> calls.Ran:
        """Run a schedule now; return what became of it, as far as the wait went."""
        return self._ask("run", calls.RunNow(target=target, wait_seconds=wait_seconds), calls.Ran)

    def stop_runs(self, *targets: str) -> calls.Done:
        """End what runs of schedules."""
        return self._ask("stop_runs", calls.Select(targets=targets), calls.Done)

    def pause(self, *targets: str) -> calls.Done:
        """Let schedules not run for now."""
        return self._ask("pause", calls.Select(targets=targets), calls.Done)

    def resume(self, *targets: str) -> calls.Done:
        """Let schedules run again."""
        return self._ask("resume", calls.Select(targets=targets), calls.Done)

    def logs(self, *targets: str, lines: int = 10) -> calls.LogTails:
        """Return the last lines of logs."""
        return self._ask("logs", calls.Logs(targets=targets, lines=lines), calls.LogTails)

    def follow_logs(self, *targets: str, lines: int = 10) -> Iterator[calls.LogLines]:
        """Yield the last lines of logs, then new ones as they come."""
        for item in self.stream("logs", calls.Logs(targets=targets, lines=lines, follow=True)):
            if isinstance(item, calls.LogLines):
                yield item

    def events(self, *targets: str) -> Iterator[calls.Event]:
        """Yield events as they happen."""
        for item in self.stream("events", calls.Select(targets=targets)):
            if isinstance(item, calls.Event):
                yield item

    def shutdown(self) -> None:
        """Have everything stopped, keeper and engine too."""
        self.ask("shutdown", calls.Nothing())

    # ---- transport

    def _connect(self, end: float) -> None:
        """Connect; where too many others wait before us (unix(7): EAGAIN), again until `end`."""
        while True:
            try:
                self._socket.connect(self._path)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError from None
                time.sleep(_CROWDED_SECONDS)
            else:
                return

    def _ask(self, call: str, request: Struct, kind: type[T]) -> T:
        answer = self.ask(call, request)
        assert isinstance(answer, kind)
        return answer

    def _send(self, call: str, request: Struct, timeout: float) -> int:
        self._next += 1
        self._socket.settimeout(timeout)
        line = _encode({"id": self._next, "call": call, "args": request}) + b"\n"
        try:
            self._socket.sendall(line)
        except OSError as error:
            raise self._last_words() or _unreachable(self._path, error) from error
        return self._next

    def _last_words(self) -> ShiftbossError | None:
        """Return why the engine hung up, if it said so before."""
        try:
            line = self._line()
        except (ShiftbossError, OSError):
            return None
        return _told(line.error) if line.error else None

    def _reply(self, call: str, number: int) -> Answer:
        while True:
            line = self._line()
            if line.error and line.id in (0, number):
                raise _told(line.error)
            if line.id == number and line.reply:
                return msgspec.json.decode(line.reply, type=calls.CALLS[call].reply)

    def _line(self) -> Line:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            self._buffer += self._receive()
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        try:
            return _decode(line)
        except msgspec.DecodeError as error:
            raise HostError(
                f"{self._path} answers in a language that is not understood", hint=_OTHER_VERSION
            ) from error

    def _receive(self) -> bytes:
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError as error:
            raise HostError(
                f"the engine at {self._path} does not answer",
                hint="It may be very busy: try again; see its log if it stays so.",
            ) from error
        except OSError as error:
            raise _unreachable(self._path, error) from error
        if not chunk or len(self._buffer) > _LONGEST:
            raise _hung_up(self._path)
        return chunk


_PATIENCE = "They have the stop_wait of their workers and are killed then: try again after that."
_OTHER_VERSION = "Engine and command are of different versions: run shiftboss service upgrade."


def _told(error: Error) -> ShiftbossError:
    if error.kind == "user":
        return UserError(error.message, hint=error.hint)
    return HostError(error.message, hint=error.hint)


def _starting(run: str) -> str:
    """Return what a keeper that is just starting waits for, "" if none does; one that was killed leaves its file."""
    try:
        with open(f"{run}/starting", encoding="ascii") as file:
            pid, _, waits = file.read(200).strip().partition(" ")
        with open(f"/proc/{int(pid)}/cmdline", "rb") as command:
            return waits if b"shiftboss.keeper" in command.read(10_000) else ""
    except (OSError, ValueError):
        return ""


def _hung_up(path: str) -> HungUpError:
    return HungUpError(
        f"the engine at {path} hung up", hint="It is being stopped or started again: try again in a moment."
    )


def _unreachable(path: str, error: OSError) -> HostError:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        if waits := _starting(os.path.dirname(path)):
            return HostError(
                f"shiftboss is starting: it waits for {waits} of an earlier keeper", hint=_PATIENCE
            )
        return NotRunningError(f"shiftboss is not running: nobody answers at {path}", hint=_NOT_RUNNING)
    if isinstance(error, PermissionError):
        return HostError(
            f"cannot ask the engine at {path}: permission denied", hint="Run the command as root (sudo)."
        )
    if isinstance(error, TimeoutError):
        return HostError(f"the engine at {path} does not answer", hint="See its log.")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return _hung_up(path)
    words = (error.strerror or str(error)).lower()
    return HostError(f"cannot ask the engine at {path}: {words}", hint="Try again in a moment.")
