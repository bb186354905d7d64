"""A log directory in which a hostile user has put what names and kinds of files there are: writing and reading go on."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shiftboss.core.rotation import LogLimits
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_file import LogFile
from shiftboss.engine.log_reader import last_lines

LOG = b"queue.log"
LIMITS = LogLimits(max_bytes=4096, backups=3, total_bytes=64 * 1024)
ENDS = [
    b".0",
    b".1",
    b".2",
    b".3",
    b".4",
    b".00",
    b".01",
    b".-1",
    b".+1",
    b". 1",
    b".1 ",
    b".1.gz",
    b".1~",
    b".\n1",
    b".\xff",
    b".",
]
ENDS += [
    b"." + b"9" * 200,
    "\N{FULLWIDTH DIGIT ONE}".encode(),
    ".\N{SUPERSCRIPT TWO}".encode(),
    b"\x1b[2J",
    b".$(id)",
    b"",
]
NAMES = st.one_of(
    st.sampled_from([LOG + end for end in ENDS if end]),
    st.sampled_from([b"." + LOG + b".~", b"-rf", b"..x", b"*"]),
    st.binary(min_size=1, max_size=200).filter(
        lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
    ),
)
KINDS = st.sampled_from(
    ["file", "large file", "directory", "full directory", "link", "dangling link", "fifo"]
)


def plant(place: bytes, name: bytes, kind: str, victim: bytes) -> None:
    path = place + b"/" + name
    if os.path.lexists(path):
        return
    match kind:
        case "file" | "large file":
            Path(os.fsdecode(path)).write_bytes(b"planted\n" * (20_000 if kind == "large file" else 1))
        case "directory" | "full directory":
            os.mkdir(path)
            if kind == "full directory":
                os.mkdir(path + b"/inside")
        case "link":
            os.symlink(victim, path)
        case "dangling link":
            os.symlink(b"nowhere", path)
        case _:
            os.mkfifo(path)


def write(file: LogFile, line: bytes, now: float) -> None:
    """Append as the writer does: what cannot be rotated goes on in the present file."""
    file.check(now)
    file.append(line)
    if file.size > LIMITS.full_at:
        with contextlib.suppress(OSError):
            file.rotate()
        file.check(now)
    for chosen, generation in file.directory.chosen_to_go(LIMITS.total_bytes):
        chosen.remove(generation)


@given(st.lists(st.tuples(NAMES, KINDS), max_size=12))
@example([(LOG + b".0", "large file")])
@example([(LOG + b".1", "full directory"), (LOG + b".2", "link"), (LOG + b".3", "fifo")])
@settings(max_examples=60, deadline=None)
def test_whatever_lies_in_a_log_directory_the_log_is_written_and_read(
    planted: list[tuple[bytes, str]],
) -> None:
    with tempfile.TemporaryDirectory(prefix="shiftboss-names-") as top:
        victim, place = Path(top) / "victim", Path(top) / "logs"
        victim.write_text("untouched")
        place.mkdir()
        for name, kind in planted:
            plant(os.fsencode(place), name, kind, os.fsencode(victim))
        directory = LogDirectory(str(place))
        file = LogFile(directory, LOG.decode(), LIMITS)
        for number in range(8):
            write(file, b"%d %s\n" % (number, b"x" * 1500), float(number))
        lines, _ = last_lines(directory, LOG.decode(), 3)
        assert lines[-1].startswith("7 "), "the newest line was not thrown away"
        assert victim.read_text() == "untouched"
        file.close()
        directory.close()


@pytest.mark.parametrize("kind", ["directory", "full directory", "link", "dangling link", "fifo"])
def test_a_backup_that_is_no_file_does_not_keep_the_log_from_being_read(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("secret\n")
    place = tmp_path / "logs"
    place.mkdir()
    (place / "queue.log").write_text("first\nlast\n")
    plant(os.fsencode(place), LOG + b".1", kind, os.fsencode(victim))
    directory = LogDirectory(str(place))
    lines, rest = last_lines(directory, "queue.log", 10)
    directory.close()
    assert (lines, rest) == (["first", "last"], b"")
