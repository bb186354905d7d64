"""A project's log directory: opened without following strangers' links, and kept below its total size."""

import contextlib
import logging
import os
import stat
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from shiftboss.core.rotation import LogPart, over_total
from shiftboss.host.files import beneath

if TYPE_CHECKING:
    from shiftboss.engine.log_file import LogFile

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_SLOW_OPERATIONS = 3
_LOOKS_A_TOTAL = 32  # the total is looked at each time that it may have grown by this part of itself


class LogDirectory:
    """Holds a descriptor of the directory; every file in it is reached through that, by its bare name.

    Raises OSError. The path is opened when it is needed first, and again when it leads elsewhere.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.files: dict[str, LogFile] = {}
        self.grown = 0  # bytes written in it since its total was looked at
        self.device = 0  # number of its file system, 0: not known yet
        self._slow_operations = 0
        self._descriptor = -1
        self._look_at = 0.0

    def descriptor(self) -> int:
        """Return the descriptor; open, if need be make, the directory."""
        if self._descriptor < 0:
            self._open()
        return self._descriptor

    def check(self, now: float) -> None:
        """Open the path again if it leads to another directory by now (looked at once a second)."""
        if self._descriptor < 0 or now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            same = False
        if not same:
            self.close()

    def is_slow_again(self) -> bool:
        """Count an operation that took long; tell whether that happens again and again."""
        self._slow_operations = (self._slow_operations + 1) % _SLOW_OPERATIONS
        return self._slow_operations == 0

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def generations(self, name: str) -> set[int]:
        """Return the generations of a log's backups."""
        return {found for other, found, _ in self._logs({name}) if other == name and found}

    def has_file(self, name: str) -> bool:
        """Tell whether a name is that of a regular file: others may have put a directory or a link there."""
        try:
            facts = os.stat(name, dir_fd=self.descriptor(), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(facts.st_mode)

    def is_due(self, total_bytes: int) -> bool:
        """Tell whether it is time to look at the total."""
        return 0 < total_bytes <= self.grown * _LOOKS_A_TOTAL

    def chosen_to_go(self, total_bytes: int) -> list[tuple["LogFile", int]]:
        """Return (log, generation) of what has to go so that the logs here keep below `total_bytes`."""
        self.grown = 0
        if total_bytes <= 0:
            return []
        parts = []
        for name, generation, entry in self._logs(self.files):
            with contextlib.suppress(FileNotFoundError):
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode):
                    parts.append(LogPart(name, generation, facts.st_size, facts.st_mtime))
        return [(self.files[name], generation) for name, generation in over_total(parts, total_bytes)]

    def _logs(self, names: Collection[str]) -> Iterator[tuple[str, int, os.DirEntry[str]]]:
        with os.scandir(self.descriptor()) as entries:
            for entry in entries:
                if entry.name in names:
                    yield entry.name, 0, entry
                    continue
                name, _, number = entry.name.rpartition(".")
                if name in names and _is_generation(number):
                    yield name, int(number), entry

    def _open(self) -> None:
        try:
            self._descriptor = _opened(self.path)
        except FileNotFoundError:
            self._make()
            self._descriptor = _opened(self.path)
        self.device = os.fstat(self._descriptor).st_dev

    def _make(self) -> None:
        parent, name = os.path.split(self.path)
        with beneath(parent) as descriptor, contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=descriptor)
            log.info("made the log directory %s", self.path, extra={"event": "log_directory_made"})


def _is_generation(number: str) -> bool:
    """Tell whether it is the end of a backup's name: not `0`, which stands for the log itself, nor `01`."""
    return number.isascii() and number.isdigit() and number[0] != "0"


def _opened(path: str) -> int:
    with beneath(path) as descriptor:
        return os.dup(descriptor)
