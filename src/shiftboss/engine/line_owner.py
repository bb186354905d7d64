"""Whose turn it is at the end of a log: a line begun by one pipe is not broken by another.

Nothing of it dies with the engine: the file shows whether its last line is unfinished, the takeover record
tells which pipe has the rest.
"""

from collections.abc import Collection

from shiftboss.core.rotation import CUT_MARK
from shiftboss.engine.log_file import LogFile
from shiftboss.engine.splice import Pipe
from shiftboss.engine.takeover_record import FileId, TakeoverRecord

_REST_SECONDS = 0.1  # how long others wait for the rest of a line
_UNKNOWN, _NOBODY = 0, -1


class LineOwner:
    """Knows of one log which pipe wrote last: the one that may finish the line at its end."""

    __slots__ = ("_file", "_identity", "_patience_until", "_pipe", "_record", "_row", "_was_asked", "_whole")

    def __init__(self, file: LogFile, record: TakeoverRecord) -> None:
        self._file, self._record = file, record
        self._row: int | None = None
        self._identity: FileId = (0, 0)
        self._pipe = _UNKNOWN
        self._whole = True  # the last line is finished
        self._patience_until = 0.0
        self._was_asked = False  # since others wait for it

    def begin(self) -> None:
        """Find out how the file ends that was opened just now."""
        if self._identity == self._file.identity:
            return
        self._identity = self._file.identity
        self._row, self._pipe = self._record.take(self._identity, self._row)
        self._whole = self._file.at_line_start()

    def may_write(self, pipe: Pipe, among: Collection[int], now: float) -> bool:
        """Tell whether a pipe may write now; a line that does not go on is ended first.

        `among` are the pipes of the log. False: not yet, ask again soon.
        """
        if pipe.identity == self._pipe or (self._pipe == _UNKNOWN and len(among) == 1):
            self._was_asked = True
            return True
        if not self._whole and not self._file.at_line_start():
            if self._is_awaited(pipe, among, now):
                return False
            self._file.append(CUT_MARK if self._pipe in among else b"\n")
        self.ended()
        return True

    def writes(self, pipe: Pipe) -> None:
        """Note, before it happens, that a pipe writes."""
        if pipe.identity != self._pipe:
            assert self._row is not None
            self._pipe = pipe.identity
            self._record.write(self._row, self._identity, self._pipe)
        self._whole = False

    def ended(self) -> None:
        """Note that the file ends with a whole line."""
        self._whole, self._patience_until = True, 0.0

    def broken(self, pipe: Pipe) -> None:
        """Note that bytes of a pipe were dropped: the rest of its line will not come."""
        if self._pipe == pipe.identity:
            self._pipe = _NOBODY

    def rotated(self) -> None:
        """Note that a new, empty file was begun."""
        self._identity, self._pipe = self._file.identity, _NOBODY
        self.ended()

    def _is_awaited(self, pipe: Pipe, among: Collection[int], now: float) -> bool:
        if self._pipe not in among:
            return self._pipe > 0 and now < self._record.complete_at
        if not self._patience_until:
            self._patience_until, self._was_asked = now + _REST_SECONDS, False
        return now < self._patience_until and not (self._was_asked and pipe.is_nearly_full())
