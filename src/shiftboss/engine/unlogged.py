"""The output of entries without a log: read, so that nobody waits, and forgotten but for the newest of it."""

from shiftboss.core.rotation import LogLimits
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_reader import Audience, split_last
from shiftboss.engine.log_stream import Stream
from shiftboss.engine.splice import SMALL, Peephole

_KEPT_BYTES = 64 * 1024


class Unlogged:
    """Has what a LogWriter has, without a file."""

    problem = ""
    lost = 0
    rotations = 0

    def __init__(self) -> None:
        self.place = LogDirectory("")  # which is never opened
        self.limits = LogLimits()
        self.streams: list[Stream] = []
        self.written = 0
        self.audience = Audience()
        self._newest = b""

    def add(self, stream: Stream) -> None:
        """Take another pipe."""
        self.streams.append(stream)

    def remove(self, stream: Stream) -> None:
        """Forget a pipe."""
        self.streams.remove(stream)
        self.audience.finish(stream)

    def drain(self, stream: Stream, peephole: Peephole, most: int, now: float) -> int:
        """Read what there is, at most 64 KiB. As LogWriter.drain."""
        stream.again = False
        data = stream.pipe.take(SMALL)
        if data is None:
            return 0
        stream.ended, stream.again = not data, bool(data)
        self._newest = (self._newest + data)[-_KEPT_BYTES:]
        self.written += len(data)
        if self.audience.is_there():
            self.audience.show(stream, data)
        return len(data)

    def last_lines(self, count: int) -> tuple[list[str], bytes]:
        """Return the last whole lines of the newest 64 KiB, and the unfinished line after them."""
        return split_last(self._newest, count)

    def leave(self) -> None:
        """No entry uses it any more."""
