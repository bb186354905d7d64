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


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    log = tmp_path / "a.log"
    log.symlink_to("secret")

    with pytest.raises(HostError, match=r"cannot read .*a\.log") as error:
        FollowedFile(str(log)).read_new()
    assert "link" in error.value.hint
