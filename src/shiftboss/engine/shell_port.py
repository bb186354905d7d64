"""What the loop asks of the world. `shell.py` does it for real, the tests have a fake."""

from collections.abc import Callable
from typing import Protocol

from shiftboss.api.calls import Event
from shiftboss.confine.usage import Usage
from shiftboss.core.agenda_values import Save
from shiftboss.core.clock_gap import Moment
from shiftboss.core.exit_reason import Starved
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.database import ProcessMemory, ScaleMemory
from shiftboss.engine.occurrences import Detail

Key = tuple[str, int]


class Shell(Protocol):
    """Effects. None of them blocks, none raises; `then` is called once, later or at once."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch."""
        ...

    def moment(self) -> Moment:
        """Return the three clocks."""
        ...

    def wake_at(self, wall: float, mono: float, then: Callable[[], None]) -> None:
        """Call `then` at one of these times, and when the clock is set; it takes the place of any earlier wish."""
        ...

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        ...

    def send(self, request: messages.Request) -> None:
        """Send a request to the keeper."""
        ...

    def arm(self, key: Key, epoch: int, seconds: float) -> None:
        """Ring after so many seconds, instead of any earlier timer of the key."""
        ...

    def cancel(self, key: Key) -> None:
        """Forget the timer of the key."""
        ...

    def due_in(self, key: Key) -> float | None:
        """Return the seconds until the key's timer rings, None if it has none."""
        ...

    def serve(self, descriptor: int, path: str) -> None:
        """Take the listening socket for api clients; they are answered from `ready` on."""
        ...

    def attach(self, entry: Entry, process: int, run: int, descriptor: int) -> None:
        """Capture the output that comes from this pipe; the descriptor is the shell's from now on."""
        ...

    def finish(self, entry: Entry, process: int, run: int, then: Callable[[], None]) -> None:
        """Read what is left in the output pipe of a run that is gone, then let it go."""
        ...

    def begin_output(self, entry: Entry, lane: int, run: int, descriptor: int, line: str) -> None:
        """Write a line (none if empty) into a schedule's log, then capture the output of a run."""
        ...

    def end_output(self, entry: Entry, lane: int, run: int, line: str) -> None:
        """Write a line behind everything that a run has written so far."""
        ...

    def tail_output(
        self, entry: Entry, lane: int, run: int, lines: int, then: Callable[[list[str]], None]
    ) -> None:
        """Hand over the last of what a run has written so far; none of it if the disk takes long."""
        ...

    def finish_output(self, entry: Entry, lane: int, run: int, then: Callable[[], None]) -> None:
        """Read what is left of the output of a run, after all that was asked for it, then let it go."""
        ...

    def tail(self, entry: str, lines: int, then: Callable[[list[str]], None]) -> None:
        """Hand over the last lines of an entry's log; none of them if the disk takes long."""
        ...

    def limits_changed(self, entries: list[Entry]) -> None:
        """Take over the log policies of all entries."""
        ...

    def listener(self, port: int, then: Callable[[str], None]) -> None:
        """Hand over who listens on a TCP port ("user www-data"), "" if nobody does."""
        ...

    def usage(self, pid: int, cgroup: str, groups: tuple[str, ...]) -> Usage:
        """Return what a run uses now: its main process, its cgroup, the directories that count it."""
        ...

    def starved(self, groups: tuple[str, ...]) -> Starved | None:
        """Tell how the kernel killed in a run for want of memory, None if it did not."""
        ...

    def is_deleted(self, path: str) -> bool | None:
        """Tell whether a directory is no longer there, None if the engine may not look."""
        ...

    def record(self, event: Event, then: Callable[[], None] | None = None) -> None:
        """Put an event into the history; `then`: it is stored, or cannot be."""
        ...

    def save(self, save: Save, details: list[Detail], then: Callable[[str], None]) -> None:
        """Store what happened to schedules; `then` gets "" once it is on disk, else why it is not."""
        ...

    def remember(self, key: Key, memory: ProcessMemory | None) -> None:
        """Remember this of a process (None: forget it)."""
        ...

    def vanished(self, key: Key) -> None:
        """Say that no run of a process is known: its last one, if the history has no end of it, ended unseen."""
        ...

    def remember_scale(self, entry: str, memory: ScaleMemory | None) -> None:
        """Remember a live scale (None: forget it)."""
        ...

    def flush(self) -> None:
        """Have everything stored that was recorded; it goes on meanwhile."""
        ...

    def publish(self, event: Event) -> None:
        """Tell subscribers."""
        ...

    def after(self, seconds: float, then: Callable[[], None]) -> Callable[[], None]:
        """Call `then` after so many seconds; return what cancels that."""
        ...

    def soon(self, then: Callable[[], None]) -> None:
        """Call `then` when the messages at hand have been taken."""
        ...

    def close_descriptor(self, descriptor: int) -> None:
        """Close a descriptor that nobody wants (negative: there is none)."""
        ...

    def ready(self) -> None:
        """Begin to answer clients: everything is known now."""
        ...

    def closing(self, *, is_lost: bool) -> None:
        """Prepare for the end; `is_lost`: the keeper is gone, so end when no output can come any more."""
        ...

    def end(self) -> None:
        """End the engine once all output is read and everything is stored."""
        ...
