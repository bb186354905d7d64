"""Which pipe wrote last to each log, kept for the engine that takes over after a kill.

A kill can end a splice in the middle of a line. The file shows that (it ends without a newline), the record
tells from which pipe the rest must come before anybody else's line. It is written, before the first splice
from another pipe, by one pwrite(2) within a page, which a kill does not split.
"""

import itertools
import logging
import os
import struct
import time

log = logging.getLogger(__name__)

_ROW = struct.Struct("<QQQQ")  # boot, device, inode, pipe
_MOST_ROWS = 16384
_TAKEOVER_SECONDS = 2.0

FileId = tuple[int, int]  # device and inode


class TakeoverRecord:
    """A file with one row for each log. Without a place for it (`path` empty) it forgets at the end.

    Without a record nothing is lost or doubled by a kill, but a line of a shared log may be torn.
    """

    def __init__(self, path: str) -> None:
        self.problem = ""
        # until then (monotonic seconds) the keeper may still send pipes that the engine before us had
        self.complete_at = time.monotonic() + _TAKEOVER_SECONDS
        self._found: dict[FileId, tuple[int, int]] = {}
        self._file = -1
        self._next = itertools.count()
        self._boot = _boot()
        if path:
            self._open(path)

    def take(self, file: FileId, row: int | None) -> tuple[int, int]:
        """Return the row of a log that was just opened (its own if it has one) and the pipe that wrote last, or 0."""
        found, pipe = self._found.pop(file, (None, 0))
        if row is None:
            row = next(self._next) if found is None else found
        return row, pipe

    def write(self, row: int, file: FileId, pipe: int) -> None:
        """Write down which pipe writes from now on. Never raises."""
        if self._file < 0:
            return
        try:
            os.pwrite(self._file, _ROW.pack(self._boot, *file, pipe), row * _ROW.size)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, path: str) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._read(os.pread(self._file, _MOST_ROWS * _ROW.size, 0))
        except OSError as error:
            self._give_up(error)

    def _read(self, data: bytes) -> None:
        rows = len(data) // _ROW.size
        for row in range(rows):
            boot, device, inode, pipe = _ROW.unpack_from(data, row * _ROW.size)
            if boot == self._boot:  # pipes of another boot have nothing to do with ours
                self._found[device, inode] = (row, pipe)
        # rows of logs that are gone pile up slowly; when there are many, start again
        self._next = itertools.count(rows if rows < _MOST_ROWS else 0)

    def _give_up(self, error: OSError) -> None:
        self.close()
        self.problem = f"cannot write down what a takeover needs: {(error.strerror or str(error)).lower()}"
        log.warning(self.problem, extra={"event": "takeover_record_lost"})


def _boot() -> int:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return int(file.read().replace("-", "")[:16], 16)
