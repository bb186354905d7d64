"""Log files: rotation, modes, links, and what other programs do to the files meanwhile."""

import asyncio
import itertools
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from capture_world import ENTRY, PLENTY, World, content, numbers, scene, until, write_all

from shiftboss.core.rotation import LogLimits
from shiftboss.engine.log_directory import LogDirectory
from shiftboss.engine.log_file import LogFile
from shiftboss.engine.splice import Pipe


def test_output_is_stored_byte_for_byte_and_readable_by_the_project(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        old = os.umask(0o077)
        try:
            run = here.run("seq 1 1000; printf 'no newline'")
            assert await here.ended(run)
        finally:
            os.umask(old)
        assert here.path.read_bytes() == numbers(1, 1000) + b"no newline"
        assert stat.S_IMODE(here.path.stat().st_mode) == 0o640
        assert here.status().written_bytes == here.path.stat().st_size

    scene(play, tmp_path)


def test_a_log_rotates_between_lines_by_size_and_count(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        run = here.run("seq 1 100000", limits=LogLimits(max_bytes=50_000, backups=3))
        assert await here.ended(run)
        parts = sorted(part.name for part in here.logs.iterdir())
        assert parts == ["queue.log", "queue.log.1", "queue.log.2", "queue.log.3"]
        for part in here.logs.iterdir():
            assert part.stat().st_size <= 50_000
            assert part.read_bytes().endswith(b"\n")
        kept = content(here.path)
        assert numbers(1, 100_000).endswith(kept)
        assert len(kept) > 150_000 - 20
        assert here.status().rotations == 588_895 // 50_000

    scene(play, tmp_path)


def test_without_backups_only_the_newest_stays(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        run = here.run("seq 1 10000", limits=LogLimits(max_bytes=20_000, backups=0))
        assert await here.ended(run)
        assert [part.name for part in here.logs.iterdir()] == ["queue.log"]
        assert numbers(1, 10_000).endswith(here.path.read_bytes())

    scene(play, tmp_path)


def test_a_run_that_ended_within_a_line_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        assert await here.ended(here.run("printf 'fatal error'"))
        assert await here.ended(here.run("echo started"))
        assert here.path.read_bytes() == b"fatal error\nstarted\n"

    scene(play, tmp_path)


def test_a_grandchild_that_keeps_the_pipe_does_not_hold_up_the_next_run(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        run = here.run(
            "echo main; (while read line <&3; do echo $line; done) 3<fifo & exit 0".replace("fifo", fifo)
        )
        order = os.open(fifo, os.O_WRONLY)
        await until(lambda: here.programs[0].poll() is not None, "the main process")
        assert await here.capture.finish(ENTRY, 1, run) is False
        assert here.path.read_bytes() == b"main\n"
        assert await here.ended(here.run("echo next"))
        write_all(order, b"late\n")
        await until(lambda: b"late\n" in here.path.read_bytes(), "the grandchild's line")
        os.close(order)
        await until(lambda: not here.status().pipes, "the end of the pipe")
        assert here.path.read_bytes() == b"main\nnext\nlate\n"

    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    scene(play, tmp_path)


@pytest.mark.parametrize("how", ["rename and create", "rename", "remove"])
def test_a_file_that_was_moved_away_is_made_again_and_nothing_is_lost(tmp_path: Path, how: str) -> None:
    async def play(here: World) -> None:
        pipe = here.pipe()
        write_all(pipe, b"before\n")
        await until(lambda: here.path.exists() and here.path.read_bytes() == b"before\n", "the first line")
        if how == "remove":
            here.path.unlink()
        else:
            here.path.rename(here.logs / "queue.log-20261123")
        if how == "rename and create":
            here.path.touch(0o640)
        write_all(pipe, b"after\n")
        await until(lambda: here.path.exists() and here.path.read_bytes() == b"after\n", "the second line")
        if how != "remove":
            assert (here.logs / "queue.log-20261123").read_bytes() == b"before\n"
        os.close(pipe)

    scene(play, tmp_path)


def test_a_truncated_file_goes_on_from_its_beginning(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipe = here.pipe()
        write_all(pipe, b"x" * 49_999 + b"\n")
        await until(lambda: here.path.exists() and here.path.stat().st_size == 50_000, "the first line")
        os.truncate(here.path, 0)
        write_all(pipe, b"after\n")
        await until(lambda: here.path.stat().st_size, "the second line")
        assert here.path.read_bytes() == b"after\n"
        os.close(pipe)

    scene(play, tmp_path)


class UnluckyPipe(Pipe):
    """Somebody truncates the file after our look at it, right before our bytes go in."""

    path: Path

    def move(self, file: int, offset: int, count: int) -> int:
        os.truncate(self.path, 0)
        return super().move(file, offset, count)


def test_a_truncation_at_the_worst_moment_leaves_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "queue.log"
    path.write_bytes(numbers(1, 20_000))
    file = LogFile(LogDirectory(str(tmp_path)), path.name, PLENTY)
    read, write = os.pipe()
    pipe = UnluckyPipe(read)
    pipe.path = path
    file.check(time.monotonic())
    write_all(write, b"after\n")
    assert file.move(pipe, 4096) == 6
    assert path.read_bytes() == b"after\n"
    assert file.size == 6
    assert list(tmp_path.iterdir()) == [path]
    os.close(write)
    pipe.close()
    file.close()
    file.directory.close()


@pytest.mark.parametrize("how", ["copytruncate", "create", "create and compress"])
def test_the_real_logrotate_is_respected_under_load(tmp_path: Path, how: str) -> None:
    """copytruncate itself loses what comes between its copy and its truncation; nothing else may be lost."""
    logrotate = shutil.which("logrotate", path="/usr/sbin:/usr/bin")
    assert logrotate, "logrotate is needed"
    config = tmp_path / "logrotate.conf"
    mode = {
        "copytruncate": "copytruncate",
        "create": "create 0640",
        "create and compress": "create 0640\ncompress",
    }
    config.write_text(f"{tmp_path}/logs/queue.log {{\nsu {_me()}\nrotate 1000\n{mode[how]}\n}}\n")
    config.chmod(0o644)

    async def play(here: World) -> None:
        run = here.run(
            "i=0; while [ $i -lt 400 ]; do seq $((i*500)) $((i*500+499)); i=$((i+1)); sleep 0.005; done"
        )
        await until(lambda: here.path.exists() and here.path.stat().st_size, "the first output")
        rotations = 0
        while here.programs[0].poll() is None:
            await asyncio.to_thread(
                subprocess.run, [logrotate, "-f", "-s", str(tmp_path / "state"), str(config)], check=True
            )
            rotations += 1
            await asyncio.sleep(0.05)
        assert await here.ended(run)
        assert rotations > 5
        lines = _lines(here.path)
        assert all(line.isdigit() for line in lines), [line[:80] for line in lines if not line.isdigit()]
        found = [int(line) for line in lines]
        if (
            how == "copytruncate"
        ):  # each rotation loses one piece, how long depends on how busy the machine is
            gaps = sum(after != before + 1 for before, after in itertools.pairwise([*found, 200_000]))
            assert gaps <= 2 * rotations  # a line that the truncation cut in two counts twice
        else:
            assert found == list(range(200_000))

    scene(play, tmp_path)


def _bytes_of(path: Path) -> bytes:
    """Return what a log holds; nothing between its rename and its creation."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _me() -> str:
    import grp
    import pwd

    return f"{pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name}"


def _lines(path: Path) -> list[bytes]:
    import gzip

    parts = sorted(path.parent.glob(path.name + ".*"), key=lambda part: -int(part.name.split(".")[2]))
    data = b"".join(
        gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in (*parts, path)
    )
    return data.split(b"\n")[:-1]


def test_a_planted_link_is_not_followed_and_the_output_comes_when_it_is_gone(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        secret = tmp_path / "secret"
        secret.write_text("precious\n")
        here.path.symlink_to(secret)
        pipe = here.pipe()
        write_all(pipe, b"line\n")
        await until(lambda: here.status().problem, "the report")
        assert "too many levels of symbolic links" in here.status().problem
        assert secret.read_text() == "precious\n"
        here.path.unlink()
        await until(here.path.exists, "the log")
        await until(lambda: here.path.read_bytes() == b"line\n", "the line")
        await until(lambda: not here.status().problem, "the report of the mend")
        os.close(pipe)

    scene(play, tmp_path)


def test_a_second_name_of_somebodys_file_is_set_aside(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious\n")
        os.link(precious, here.path)
        assert await here.ended(here.run("echo line"))
        assert precious.read_text() == "precious\n"
        assert here.path.read_text() == "line\n"

    scene(play, tmp_path)


def test_a_fifo_or_directory_in_its_place_is_refused_and_reported(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        os.mkfifo(here.path)
        other = here.logs / "other.log"
        other.mkdir()
        pipes = [here.pipe(), here.pipe(entry="shop/other", path=other)]
        for pipe in pipes:
            write_all(pipe, b"line\n")
        await until(lambda: here.status().problem and here.status(other).problem, "both reports")
        assert "not a regular file" in here.status().problem
        assert "is a directory" in here.status(other).problem
        for pipe in pipes:
            os.close(pipe)

    scene(play, tmp_path)


def test_the_logs_of_a_project_keep_below_their_total(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        limits = LogLimits(max_bytes=100_000, backups=20, total_bytes=600_000)
        runs = [
            here.run("seq 1 200000", process=number, path=here.logs / f"w{number}.log", limits=limits)
            for number in (1, 2, 3)
        ]
        foreign = here.logs / "laravel.log.1"
        foreign.write_bytes(b"x" * 1_000_000)
        for run in runs:
            assert await here.ended(run, process=run)
        assert foreign.exists(), "what is not ours is not counted and not touched"
        ours = [part for part in here.logs.iterdir() if part != foreign]
        total = sum(part.stat().st_size for part in ours)
        assert 300_000 < total <= 600_000 + 600_000 // 32 + 3 * 65_536
        assert all(status.written_bytes == len(numbers(1, 200_000)) for status in here.capture.report())

    scene(play, tmp_path)


def test_a_reload_changes_limits_and_place_of_output_that_comes_already(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipe, moved = here.pipe(), here.logs / "moved.log"
        write_all(pipe, b"one\n")
        await until(lambda: here.path.exists() and here.path.read_bytes() == b"one\n", "the first line")
        here.capture.reload({ENTRY: (str(moved), PLENTY)})
        await until(lambda: any(s.path == str(moved) and s.pipes for s in here.capture.report()), "the move")
        write_all(pipe, b"two\n")
        await until(lambda: moved.exists() and moved.read_bytes() == b"two\n", "the second line")
        assert here.path.read_bytes() == b"one\n"
        here.capture.reload({ENTRY: (str(moved), LogLimits(max_bytes=4096, backups=1))})
        write_all(pipe, b"x" * 4095 + b"\n" + b"three\n")
        await until(lambda: _bytes_of(moved) == b"three\n", "the rotation")
        assert len(here.capture.report()) == 1
        os.close(pipe)

    scene(play, tmp_path)
