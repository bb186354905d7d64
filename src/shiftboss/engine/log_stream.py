"""The output of one run of one process, on its way into a log."""

from typing import TYPE_CHECKING

from shiftboss.core.rotation import LineSplitter
from shiftboss.engine.splice import Peephole, Pipe, PipeBudget

if TYPE_CHECKING:
    from shiftboss.engine.log_writer import LogWriter
    from shiftboss.engine.unlogged import Unlogged

_STUCK_SECONDS = 0.1


class Stream:
    """One pipe, who writes to it and the log it goes to.

    `hung_up`: nobody can write any more; what was written may still wait in the pipe. `ended`: every byte was read
    as well. `again`: ask it again soon, although no new output may wake us. `heat`: for how many ticks it is
    drained without being asked. `stolen`: bytes that were dropped by others while its log hung.
    """

    __slots__ = (
        "_unfinished",
        "_unfinished_since",
        "again",
        "ended",
        "entry",
        "heat",
        "hung_up",
        "log",
        "pipe",
        "process",
        "run",
        "splitter",
        "stolen",
    )

    def __init__(self, entry: str, process: int, run: int, pipe: Pipe, log: "LogWriter | Unlogged") -> None:
        self.entry, self.process, self.run = entry, process, run
        self.pipe, self.log = pipe, log
        self.hung_up = self.ended = self.again = False
        self.heat = self.stolen = 0
        self.splitter: LineSplitter | None = None
        self._unfinished, self._unfinished_since = 0, 0.0

    @property
    def key(self) -> tuple[str, int, int]:
        """What names the run."""
        return (self.entry, self.process, self.run)

    def is_stuck(self, unfinished: int, now: float) -> bool:
        """Tell whether an unfinished line of so many bytes did not grow for a while."""
        if unfinished != self._unfinished:
            self._unfinished, self._unfinished_since = unfinished, now
        return now - self._unfinished_since >= _STUCK_SECONDS


def make_room(stream: Stream, peephole: Peephole, budget: PipeBudget) -> int:
    """Keep the writer of a pipe going although nothing can be stored: enlarge it, else drop its older half.

    Returns the number of bytes dropped, whole lines if there are any; the newest output always stays.
    """
    pipe = stream.pipe
    if not pipe.is_nearly_full():
        if pipe.is_hung_up() and not pipe.unread():
            stream.ended = True
        return 0
    budget.grow(pipe)
    if not pipe.is_nearly_full():
        return 0
    try:
        seen = peephole.look(pipe, pipe.capacity)
    except BlockingIOError:
        return 0
    end = peephole.data.find(b"\n", seen // 2, seen) + 1
    return pipe.discard(end or seen // 2)
