"""Disks that are full, slow or gone, and programs that print without end: no worker waits, all is told."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from capture_world import World, content, numbers, scene, until, write_all

from shiftboss.core.rotation import LogLimits

HERE = Path(__file__).parent
SECONDS = 110
needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def play(name: str, directory: Path, prepare: str = "") -> None:
    """Play a scene of capture_scenes.py; `prepare` is done first, in a mount namespace of its own."""
    (directory / "logs").mkdir(exist_ok=True)
    argv = [sys.executable, str(HERE / "capture_scenes.py"), name, str(directory)]
    if prepare:
        script = f'set -e; cd "$0"; {prepare}; exec "$@"'
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(directory), *argv]
    path = os.pathsep.join(sys.path)
    result = subprocess.run(
        argv, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "PYTHONPATH": path}
    )
    assert result.stdout == "ok\n", result.stderr
    shutil.rmtree(directory)  # pytest would keep many megabytes


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A directory with an image of a small file system, `disk`."""
    if not shutil.which("mkfs.ext4", path="/usr/sbin:/usr/bin"):
        pytest.skip("mkfs.ext4 is needed")
    with open(tmp_path / "disk", "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", tmp_path / "disk"], check=True)
    return tmp_path


@needs_mounts
def test_a_full_disk_stops_no_writer_and_heals_by_itself(tmp_path: Path) -> None:
    play("full", tmp_path, "mount -t tmpfs -o size=1m tmpfs logs")


@needs_mounts
def test_rotation_keeps_within_a_small_disk(tmp_path: Path) -> None:
    play("full_rotates", tmp_path, "mount -t tmpfs -o size=1m tmpfs logs")


@needs_mounts
def test_a_file_system_that_is_read_only_is_reported_and_used_again(tmp_path: Path) -> None:
    play("read_only", tmp_path, "mount -t tmpfs -o size=1m,ro tmpfs logs")


@needs_mounts
def test_a_disk_that_hangs_stops_neither_writers_nor_other_disks_nor_the_loop(image: Path) -> None:
    play("frozen", image, "mount -o loop disk logs")


@needs_mounts
def test_a_disk_that_is_slow_again_and_again_does_not_hold_up_others(image: Path) -> None:
    play("slow", image, "mount -o loop disk logs")


def test_a_write_that_is_refused_stops_no_writer(tmp_path: Path) -> None:
    play("file_size_limit", tmp_path)


def test_a_line_of_a_gigabyte_does_not_grow_memory(tmp_path: Path) -> None:
    play("long_line", tmp_path)


def test_a_rotation_that_is_refused_loses_nothing_and_is_tried_again(tmp_path: Path) -> None:
    async def playing(here: World) -> None:
        (here.logs / "queue.log.1").mkdir()
        limits = LogLimits(max_bytes=4096, backups=1)
        pipe = here.pipe(limits=limits)
        write_all(pipe, numbers(1, 2000))
        await until(
            lambda: here.path.exists() and here.path.stat().st_size == len(numbers(1, 2000)), "all of it"
        )
        assert here.status().problem == f"cannot rotate {here.path}: is a directory"
        (here.logs / "queue.log.1").rmdir()

        def rotated() -> bool:
            write_all(pipe, b"more\n")
            return here.status().rotations > 0

        await until(rotated, "the rotation")  # tried again after a second
        await until(lambda: not here.status().problem, "the end of the report")
        os.close(pipe)
        await until(lambda: not here.status().pipes, "the end of the pipe")
        assert content(here.path).startswith(numbers(1, 2000))
        assert here.status().lost_bytes == 0

    scene(playing, tmp_path)


def test_a_log_directory_that_disappears_is_made_again(tmp_path: Path) -> None:
    async def playing(here: World) -> None:
        pipe = here.pipe()
        write_all(pipe, b"one\n")
        await until(lambda: here.path.exists() and here.path.read_bytes() == b"one\n", "the first line")
        shutil.rmtree(here.logs)
        write_all(pipe, b"two\n")
        await until(lambda: here.path.exists() and here.path.read_bytes() == b"two\n", "the second line")
        os.close(pipe)

    scene(playing, tmp_path)


def test_a_log_directory_that_is_replaced_is_followed(tmp_path: Path) -> None:
    async def playing(here: World) -> None:
        pipe = here.pipe()
        write_all(pipe, b"one\n")
        await until(lambda: here.path.exists() and here.path.read_bytes() == b"one\n", "the first line")
        here.logs.rename(tmp_path / "old")
        here.logs.mkdir()

        def arrived() -> bool:
            write_all(pipe, b"two\n")
            return here.path.exists()

        await until(arrived, "the new directory")  # which is looked at once a second
        assert (tmp_path / "old" / "queue.log").read_bytes().startswith(b"one\n")
        await until(lambda: here.path.read_bytes().startswith(b"two\n"), "the new log")
        os.close(pipe)

    scene(playing, tmp_path)


def test_a_directory_that_cannot_be_made_is_reported_and_output_waits_for_it(tmp_path: Path) -> None:
    async def playing(here: World) -> None:
        path = tmp_path / "not" / "there" / "x.log"
        pipe = here.pipe(path=path)
        write_all(pipe, b"line\n")
        await until(lambda: here.status(path).problem, "the report")
        assert here.status(path).problem == f"cannot write to {path}: no such file or directory"
        path.parent.parent.mkdir()
        await until(path.exists, "the log")
        await until(lambda: path.read_bytes() == b"line\n", "the line")
        await until(lambda: not here.status(path).problem, "the end of the report")
        os.close(pipe)

    scene(playing, tmp_path)


def test_a_link_of_a_stranger_on_the_way_is_not_followed() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    directory = Path(tempfile.mkdtemp(prefix="capture-"))
    try:
        directory.chmod(0o755)
        (directory / "target").mkdir()
        (directory / "logs").symlink_to(directory / "target")
        os.lchown(directory / "logs", 65534, 65534)

        async def playing(here: World) -> None:
            path = directory / "logs" / "x.log"
            pipe = here.pipe(path=path)
            write_all(pipe, b"line\n")
            await until(lambda: here.status(path).problem, "the report")
            assert "is a link made by uid 65534" in here.status(path).problem
            assert list((directory / "target").iterdir()) == []
            os.close(pipe)

        (directory / "world").mkdir()
        scene(playing, directory / "world")
    finally:
        shutil.rmtree(directory)


def test_a_busy_program_does_not_hold_up_the_output_of_a_quiet_one(tmp_path: Path) -> None:
    async def playing(here: World) -> None:
        for number in range(1, 5):
            here.run(
                "yes 'a program that prints without end'", process=number, path=here.logs / f"w{number}.log"
            )
        await until(lambda: all(s.written_bytes > 1_000_000 for s in here.capture.report()), "the flood")
        pipe = here.pipe(entry="blog/web", path=here.logs / "web.log")
        for number in range(20):
            write_all(pipe, b"%d\n" % number)
            seen = b"%d\n" % number
            await until(
                lambda seen=seen: seen in content_or_nothing(here.logs / "web.log"), "the quiet line", 1.0
            )
        os.close(pipe)

    scene(playing, tmp_path)


def content_or_nothing(path: Path) -> bytes:
    return content(path) if path.exists() else b""
