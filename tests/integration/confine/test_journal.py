"""The keeper's journal on a disk that is full: what is written stays, and no descriptor is lost."""

import os
from pathlib import Path

import pytest

from shiftboss.confine import journal
from shiftboss.confine.journal import Journal, Terms, line

TERMS = Terms("TERM", 5.0, "group")
MANY = 3000  # ended processes: most of the file is about the dead


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def crowded(path: Path) -> Journal:
    """Return a journal of this process, with many that have ended."""
    made = Journal(str(path))
    made.rewrite()
    made.add(os.getpid(), line("i/app/queue/1/1", TERMS))
    made.rewrite()
    for pid in range(1, MANY):
        made.add(-pid, b"")
        made.discard(-pid)
    return made


def test_a_full_disk_takes_no_descriptors_and_no_lines(tmp_path: Path) -> None:
    book = crowded(tmp_path / "started")
    (tmp_path / "started~").symlink_to("/dev/full")
    before, kept = descriptors(), book.descriptor

    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            book.rewrite()
        book.tidy(lambda: False)

    assert (descriptors(), book.descriptor) == (before, kept)
    assert [row.mark for row in journal.read(book.path)] == ["i/app/queue/1/1"]
    os.close(book.descriptor)


def test_it_is_kept_short_again_once_there_is_room(tmp_path: Path) -> None:
    book = crowded(tmp_path / "started")
    (tmp_path / "started~").symlink_to("/dev/full")
    book.tidy(lambda: False)
    (tmp_path / "started~").unlink()
    for pid in range(1, MANY):
        book.add(-pid, b"")
        book.discard(-pid)

    book.tidy(lambda: False)

    assert os.path.samestat(os.fstat(book.descriptor), os.stat(book.path))
    assert len((tmp_path / "started").read_text().splitlines()) == 2
    os.close(book.descriptor)
