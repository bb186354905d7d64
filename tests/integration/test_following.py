"""Following a log through growth, truncation and rotation; nothing is lost and nothing comes twice."""

import os
from pathlib import Path

import pytest

from shiftboss.core.errors import HostError
from shiftboss.setup.following import FollowedFile


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, b"old\n")
    followed = FollowedFile(str(log))

    assert followed.read_new() == b""
    append(log, b"one\n")
    append(log, b"two\n")
    assert followed.read_new() == b"one\ntwo\n"
    assert followed.read_new() == b""


def test_a_log_that_comes_later_is_read_from_its_start(tmp_path: Path) -> None:
    followed = FollowedFile(str(tmp_path / "later" / "a.log"))
    assert followed.read_new() == b""
    (tmp_path / "later").mkdir()
    append(tmp_path / "later" / "a.log", b"first\n")
    assert followed.read_new() == b"first\n"


def test_truncation_and_rotation_begin_anew(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, b"a long line before\n")
    followed = FollowedFile(str(log))

    os.truncate(log, 0)
    append(log, b"cut\n")
    assert followed.read_new() == b"cut\n"

    log.rename(tmp_path / "a.log.1")
    assert followed.read_new() == b""
    append(log, b"rotated, and longer than before\n")
    assert followed.read_new() == b"rotated, and longer than before\n"


def test_much_comes_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.touch()
    followed = FollowedFile(str(log))
    append(log, b"x" * 100_000)

    assert [len(followed.read_new()) for _ in range(3)] == [65536, 34464, 0]


def test_what_was_written_before_a_rotation_is_not_lost(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, b"old\n")
    followed = FollowedFile(str(log))
    append(log, b"x" * 65536 + b"and more\n")
    log.rename(tmp_path / "a.log.1")

    assert followed.read_new() == b"x" * 65536
    append(log, b"new\n")
    assert followed.read_new() == b"and more\n"
    assert followed.read_new() == b"new\n"
    assert followed.read_new() == b""


def test_several_rotations_between_two_looks_lose_nothing(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, b"old\n")
    followed = FollowedFile(str(log))
    for number, text in enumerate((b"1\n", b"2\n", b"3\n")):
        append(log, text)
        for older in range(number, 0, -1):
            (tmp_path / f"a.log.{older}").rename(tmp_path / f"a.log.{older + 1}")
        log.rename(tmp_path / "a.log.1")
    append(log, b"4\n")

    assert [followed.read_new() for _ in range(5)] == [b"1\n", b"2\n", b"3\n", b"4\n", b""]


def test_what_was_before_is_shown_up_to_where_the_new_begins(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, b"one\ntwo\n")
    followed = FollowedFile(str(log))
    append(log, b"three\n")

    assert (followed.before(4), followed.before(100)) == (b"two\n", b"one\ntwo\n")
    assert followed.read_new() == b"three\n"
    assert FollowedFile(str(tmp_path / "none.log")).before(100) == b""


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    log = tmp_path / "a.log"
    log.symlink_to("secret")

    with pytest.raises(HostError, match=r"cannot read .*a\.log") as error:
        FollowedFile(str(log)).read_new()
    assert "link" in error.value.hint
