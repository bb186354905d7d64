"""Moves the output of the processes of one log into its file: rotation, whole lines, trouble with the disk.

One process: whatever comes is spliced. Several (also: a grandchild of the last run beside the new one): whole
lines only, an unfinished line waits in its pipe. Where the disk refuses, output waits in the pipes, then the
oldest of it is dropped, counted and marked; no writer waits for the disk.
"""

from shiftboss.core.rotation import CUT_MARK, LINE_LIMIT, Fit, LogLimits, fit, whole_lines
from shiftboss.engine.line_owner import LineOwner
from shiftboss.engine.log_file import LogFile, MovedAwayError
from shiftboss.engine.log_mover import Mover
from shiftboss.engine.log_reader import Audience, last_lines
from shiftboss.engine.log_stream import Stream, make_room
from shiftboss.engine.log_trouble import Trouble
from shiftboss.engine.splice import LARGE, Peephole, PipeBudget
from shiftboss.engine.takeover_record import TakeoverRecord

_RETRY_SECONDS = 1.0
_STUCK_BYTES = 16 * 1024
_NEVER = 1 << 62


class LogWriter:
    """One log and the pipes that go into it.

    Public: `streams`, `audience` (those who follow what is written), `place` (its directory).
    """

    __slots__ = (
        "_budget",
        "_mover",
        "_owner",
        "_record",
        "_rotate_from",
        "_trouble",
        "audience",
        "file",
        "place",
        "streams",
    )

    def __init__(self, file: LogFile, record: TakeoverRecord, budget: PipeBudget) -> None:
        self.file = file
        self.place = file.directory
        self.streams: list[Stream] = []
        self.audience = Audience()
        self._mover = Mover(file, self.audience)
        self._record, self._owner = record, LineOwner(file, record)
        self._budget = budget
        self._trouble = Trouble(file.path)
        self._rotate_from = 0.0

    def add(self, stream: Stream) -> None:
        """Take another pipe."""
        self.streams.append(stream)

    def remove(self, stream: Stream) -> None:
        """Forget a pipe."""
        self.streams.remove(stream)
        self.audience.finish(stream)
        if not self.streams:
            self.file.close()

    @property
    def problem(self) -> str:
        """Why output is not stored as it should, empty if it is."""
        return self._trouble.problem

    @property
    def lost(self) -> int:
        """How many bytes were dropped."""
        return self._trouble.lost

    @property
    def written(self) -> int:
        """How many bytes were written since the engine started."""
        return self._mover.moved

    @property
    def rotations(self) -> int:
        """How often the file was rotated."""
        return self.file.rotations

    @property
    def limits(self) -> LogLimits:
        """How large it may grow."""
        return self.file.limits

    @limits.setter
    def limits(self, limits: LogLimits) -> None:
        self.file.limits = limits

    def last_lines(self, count: int) -> tuple[list[str], bytes]:
        """Return the last whole lines, and the unfinished line after them. Raises OSError."""
        return last_lines(self.place, self.file.name, count)

    def leave(self) -> None:
        """No entry uses it any more: it does not count for the total of its directory."""
        self.place.files.pop(self.file.name, None)

    def drain(self, stream: Stream, peephole: Peephole, most: int, now: float) -> int:
        """Move what there is, about `most` bytes, and return how many left the pipe. Never raises OSError.

        Sets `stream.ended` at the end of the pipe, `stream.again` if it must be asked again soon.
        """
        stream.again = False
        if stream.stolen:
            self._dropped(stream, stream.stolen)
            stream.stolen = 0
        if self._trouble.lasts(now):
            return self._endure(stream, peephole)
        before = self._mover.moved
        try:
            self._write(stream, peephole, most, now)
        except MovedAwayError:
            stream.again = True
        except BlockingIOError:
            pass  # the pipe is empty
        except OSError as error:
            self._trouble.comes("write to", error, now)
            self.file.close()  # where it is may have changed
            return self._mover.moved - before + self._endure(stream, peephole)
        if self.problem and not self._rotate_from and (self._mover.moved > before or not self._has_unread()):
            self._trouble.is_over()
        return self._mover.moved - before

    def _has_unread(self) -> bool:
        return any(stream.pipe.unread() for stream in self.streams)

    def _dropped(self, stream: Stream, count: int) -> None:
        if count:
            self._trouble.loses(count)
            self._owner.broken(stream.pipe)

    def _write(self, stream: Stream, peephole: Peephole, most: int, now: float) -> None:
        if self.file.check(now):
            self._owner.begin()
        if self._trouble.has_unmarked_loss():
            self._mark_loss()
        if not self._owner.may_write(stream.pipe, [one.pipe.identity for one in self.streams], now):
            stream.again = True
            return
        if len(self.streams) > 1:
            self._share(stream, peephole, now)
        elif now >= self._record.complete_at or not self._hold_back(stream, peephole, now):
            self._alone(stream, peephole, most, now)
        if self.place.is_due(self.file.limits.total_bytes):
            self._keep_total()

    def _alone(self, stream: Stream, peephole: Peephole, most: int, now: float) -> None:
        file = self.file
        while True:
            self._owner.writes(stream.pipe)
            room = self._full_at(now) - file.size
            if room >= most:
                moved = self._mover.move(stream, peephole, most)
                stream.ended, stream.again = not moved, moved >= most
                return
            seen = peephole.look(stream.pipe, min(max(room, 0) + LINE_LIMIT, LARGE))
            if not seen:
                stream.ended = True
                return
            part = fit(file.size, file.at_line_start(), peephole.data, seen, self._full_at(now))
            self._mover.move_all(stream, peephole, part.length)
            if part.full:
                self._rotate(now)
            if part.length:
                stream.again = True
                return

    def _hold_back(self, stream: Stream, peephole: Peephole, now: float) -> bool:
        """Move whole lines only while other pipes of this log may still come; False: the line is too long for that."""
        seen = peephole.look(stream.pipe, LARGE)
        if not seen:
            stream.ended = True
            return True
        end = peephole.data.rfind(b"\n", 0, seen) + 1
        if end:
            self._move_lines(stream, peephole, end, now)
        stream.again = True
        return bool(end) or seen < _STUCK_BYTES

    def _share(self, stream: Stream, peephole: Peephole, now: float) -> None:
        seen = peephole.look(stream.pipe, LARGE)
        if not seen:
            stream.ended = True
            return
        stream.again = True
        piece = whole_lines(peephole.data, seen)
        if piece.cut:
            self._end_line(stream, peephole, LINE_LIMIT, CUT_MARK, now)
        elif piece.length:
            self._move_lines(stream, peephole, piece.length, now)
        else:
            self._unfinished(stream, peephole, seen, now)

    def _move_lines(self, stream: Stream, peephole: Peephole, length: int, now: float) -> None:
        part, full_at = Fit(length, full=False), self._full_at(now)
        if length > full_at - self.file.size:
            part = fit(self.file.size, self.file.at_line_start(), peephole.data, length, full_at)
        if part.length:
            self._owner.writes(stream.pipe)
            self._mover.move_all(stream, peephole, part.length)
            self._owner.ended()
        if part.full:
            self._rotate(now)
            if not part.length:
                self._move_lines(stream, peephole, length, now)

    def _unfinished(self, stream: Stream, peephole: Peephole, seen: int, now: float) -> None:
        """Leave an unfinished line in its pipe unless nothing more can come."""
        stream.again = seen >= _STUCK_BYTES
        if stream.pipe.is_hung_up():
            stream.again = True
            if stream.pipe.unread() == seen:
                self._end_line(stream, peephole, seen, b"\n", now)
        elif seen >= _STUCK_BYTES:
            self._budget.grow(stream.pipe)
            if stream.pipe.is_nearly_full() and stream.is_stuck(seen, now):  # its writer waits for us
                self._end_line(stream, peephole, seen, CUT_MARK, now)

    def _end_line(self, stream: Stream, peephole: Peephole, length: int, ending: bytes, now: float) -> None:
        if self.file.size and self.file.size + length + len(ending) > self._full_at(now):
            self._rotate(now)
        self._owner.writes(stream.pipe)
        self._mover.move_all(stream, peephole, length)
        self.file.append(ending)
        self._owner.ended()

    def _full_at(self, now: float) -> int:
        return self.file.limits.full_at if now >= self._rotate_from else _NEVER

    def _rotate(self, now: float) -> None:
        """Begin a new file; if that cannot be, go on with this one and try again later."""
        try:
            self.file.rotate()
        except OSError as error:
            self._rotate_from = now + _RETRY_SECONDS
            self._trouble.notes("rotate", error, now)
            if self.file.descriptor < 0:
                raise
            return
        self._rotate_from = 0.0
        self._owner.rotated()
        self._keep_total()

    def _keep_total(self) -> None:
        for file, generation in self.place.chosen_to_go(self.file.limits.total_bytes):
            file.remove(generation)

    def _mark_loss(self) -> None:
        newline = b"" if self.file.at_line_start() else b"\n"
        self.file.append(newline + self._trouble.mark())
        self._trouble.marked()
        self._owner.ended()

    def _endure(self, stream: Stream, peephole: Peephole) -> int:
        stream.again = True
        count = make_room(stream, peephole, self._budget)
        self._dropped(stream, count)
        return count
