"""Reading what is captured: the last lines, following, and readers that do not read."""

import asyncio
import os
import weakref
from pathlib import Path

import pytest
from capture_world import ENTRY, World, numbers, scene, until, waiting, write_all

from shiftboss.core.errors import HostError
from shiftboss.core.rotation import LogLimits
from shiftboss.engine.log_reader import Follower, LogLine


async def take(follower: Follower, count: int) -> list[LogLine]:
    async with asyncio.timeout(20):
        return [await anext(follower) for _ in range(count)]


def test_the_last_lines_reach_back_into_the_backups(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        run = here.run("seq 1 5000; printf unfinished", limits=LogLimits(max_bytes=4096, backups=4))
        assert await here.ended(run)
        assert await here.capture.tail(ENTRY, 3) == ["4999", "5000", "unfinished"]
        last = await here.capture.tail(ENTRY, 2000)
        assert last == [str(number) for number in range(3002, 5001)] + ["unfinished"]
        everything = await here.capture.tail(ENTRY, 100_000)
        assert everything[-2:] == ["5000", "unfinished"]
        assert len(everything) > 3000
        assert await here.capture.tail(ENTRY, 0) == []
        assert await here.capture.tail("shop/unknown", 5) == []

    scene(play, tmp_path)


def test_the_last_lines_have_what_was_written_a_moment_ago(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipe = here.pipe()
        for number in range(50):
            write_all(pipe, b"%d\n" % number)
            assert await here.capture.tail(ENTRY, 1) == [str(number)]
        os.close(pipe)

    scene(play, tmp_path)


def test_the_last_lines_of_a_stopped_entry_can_be_read(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        here.path.write_bytes(b"from long ago\n\xff\xfe bytes\n")
        here.capture.reload({ENTRY: (str(here.path), LogLimits())})
        assert await here.capture.tail(ENTRY, 9) == ["from long ago", "\ufffd\ufffd bytes"]

    scene(play, tmp_path)


def test_a_log_that_cannot_be_read_is_an_error_for_people(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        here.path.symlink_to("/etc/passwd")
        here.capture.reload({ENTRY: (str(here.path), LogLimits())})
        with pytest.raises(HostError) as caught:
            await here.capture.tail(ENTRY, 9)
        assert caught.value.message == f"cannot read the log of {ENTRY}: too many levels of symbolic links"

    scene(play, tmp_path)


def test_a_follower_gets_the_backlog_and_each_new_line_once(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipe = here.pipe(limits=LogLimits(max_bytes=4096, backups=3))
        write_all(pipe, numbers(1, 1000) + b"half")
        follower = here.capture.subscribe(ENTRY, backlog=2)
        assert [line.text for line in await take(follower, 2)] == ["999", "1000"]
        write_all(pipe, b" and half\n" + numbers(1001, 3000))
        lines = await take(follower, 2001)
        assert lines[0] == LogLine(ENTRY, 1, "half and half")
        assert [line.text for line in lines[1:]] == [str(number) for number in range(1001, 3001)]
        follower.close()
        assert [line async for line in follower] == []
        os.close(pipe)

    scene(play, tmp_path)


def test_followers_see_which_process_wrote_and_only_their_entry(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipes = {
            (entry, number): here.pipe(entry=entry, process=number)
            for entry in (ENTRY, "shop/b")
            for number in (1, 2)
        }
        followers = {entry: here.capture.subscribe(entry) for entry in (ENTRY, "shop/b")}
        await here.capture.tail(ENTRY, 1)  # comes after the subscriptions
        for (entry, number), pipe in pipes.items():
            write_all(pipe, f"{entry} {number}\n".encode())
        for entry, follower in followers.items():
            lines = await take(follower, 2)
            assert {(line.process, line.text) for line in lines} == {(1, f"{entry} 1"), (2, f"{entry} 2")}
            follower.close()
        for pipe in pipes.values():
            os.close(pipe)

    scene(play, tmp_path)


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("is_logged", [True, False])
def test_a_follower_gets_a_last_line_without_its_newline(
    tmp_path: Path, others: int, is_logged: bool
) -> None:
    """An error message of a program that ends is the one line that must not be missing."""

    async def play(here: World) -> None:
        here.capture.reload({ENTRY: (str(here.path) if is_logged else "", LogLimits())})
        ends = []
        for number in range(1 + others):
            read, write = os.pipe()
            path = str(here.path) if is_logged else ""
            here.capture.attach(ENTRY, number + 1, 1, read, path, LogLimits())
            ends.append(write)
        follower = here.capture.subscribe(ENTRY)
        await here.capture.tail(ENTRY, 1)
        write_all(ends[0], b"whole\nno space")
        os.close(ends[0])
        assert [line.text for line in await take(follower, 2)] == ["whole", "no space"]
        for end in ends[1:]:
            os.close(end)

    scene(play, tmp_path)


def test_a_follower_of_nothing_ends_at_once(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        assert [line async for line in here.capture.subscribe("shop/unknown", 5)] == []

    scene(play, tmp_path)


def test_a_silent_log_does_not_keep_followers_that_have_left(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        here.capture.reload({ENTRY: (str(here.path), LogLimits())})
        left = []
        for _ in range(5):
            follower = here.capture.subscribe(ENTRY)
            await here.capture.tail(ENTRY, 1)  # which comes after it
            follower.close()
            left.append(weakref.ref(follower))
        last = here.capture.subscribe(ENTRY)
        await here.capture.tail(ENTRY, 1)
        del follower
        await until(lambda: not any(gone() for gone in left), "their end")
        last.close()

    scene(play, tmp_path)


def test_a_follower_that_does_not_read_misses_lines_and_is_told_how_many(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        here.capture.reload({ENTRY: (str(here.path), LogLimits())})
        sleepy = here.capture.subscribe(ENTRY)
        await here.capture.tail(ENTRY, 1)
        run = here.run("seq 1 500000")
        assert await here.ended(run)
        assert here.status().lost_bytes == 0
        assert here.path.stat().st_size == len(numbers(1, 500_000))
        first = await take(sleepy, 1)
        assert first[0].text == "1"
        held = len(sleepy._lines)
        assert 1000 < held < 50_000
        await take(sleepy, held)
        pipe = here.pipe(run=9)
        write_all(pipe, b"last\n")
        assert (await take(sleepy, 1))[0] == LogLine(ENTRY, 1, "last", lost=500_000 - held - 1)
        sleepy.close()
        os.close(pipe)

    scene(play, tmp_path)


def test_an_entry_without_a_log_is_read_and_its_newest_output_kept(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        read, write = os.pipe()
        here.capture.attach("shop/queue#health", 1, 1, read, "", LogLimits())
        for _ in range(100):
            write_all(write, b"x" * 60_000 + b"\n")
            await until(lambda: not waiting(write), "the pipe to be read")
        write_all(write, b"healthy\n")
        os.close(write)
        assert await here.capture.finish("shop/queue#health", 1, 1)
        assert await here.capture.tail("shop/queue#health", 1) == ["healthy"]
        assert list(here.logs.iterdir()) == []

    scene(play, tmp_path)
