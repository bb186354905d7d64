"""The one place where bytes leave a pipe for a file."""

import errno

from shiftboss.engine.log_file import LogFile
from shiftboss.engine.log_reader import Audience
from shiftboss.engine.log_stream import Stream
from shiftboss.engine.splice import SMALL, Peephole


class Mover:
    """Moves bytes to the end of a log and shows them to its followers; `moved` counts them."""

    __slots__ = ("_audience", "_file", "moved")

    def __init__(self, file: LogFile, audience: Audience) -> None:
        self.moved = 0
        self._file, self._audience = file, audience

    def move(self, stream: Stream, peephole: Peephole, count: int) -> int:
        """Move at most `count` bytes; 0: end of the pipe. Raises BlockingIOError if it is empty."""
        try:
            moved = self._file.move(stream.pipe, count)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            moved = self._copy(stream, peephole, count)
        self.moved += moved
        if moved and self._audience.is_there():
            self._audience.show(stream, self._file.read(self._file.size - moved, self._file.size))
        return moved

    def move_all(self, stream: Stream, peephole: Peephole, count: int) -> None:
        """Move `count` bytes that were seen in the pipe."""
        while count:
            moved = self.move(stream, peephole, count)
            if not moved:
                raise BlockingIOError  # somebody dropped what we had seen
            count -= moved

    def _copy(self, stream: Stream, peephole: Peephole, count: int) -> int:
        """Do without splice(2), which a few file systems refuse; a kill in between doubles these bytes."""
        seen = peephole.look(stream.pipe, min(count, SMALL))
        self._file.append(bytes(peephole.data[:seen]))
        return stream.pipe.discard(seen) if seen else 0
