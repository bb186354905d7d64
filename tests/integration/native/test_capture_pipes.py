"""Pipes: silent ones cost nothing, busy ones grow within the budget, shared logs get whole lines."""

import asyncio
import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path

import pytest
from capture_world import ENTRY, PLENTY, World, content, numbers, scene, until, waiting, write_all

from shiftboss.core.rotation import CUT_MARK, LogLimits
from shiftboss.engine.capture import Capture
from shiftboss.engine.splice import LARGE, SMALL, Peephole, Pipe, PipeBudget


def switches() -> int:
    """Return how often threads of this process have gone to sleep."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return total


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


def boot() -> int:
    return int(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:16], 16)


def test_silent_pipes_wake_nobody(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipes = [here.pipe(process=number, path=here.logs / f"{number}.log") for number in range(1, 301)]
        pipes += [here.pipe(process=number, entry="shop/shared") for number in (1, 2)]
        for pipe in pipes:
            write_all(pipe, b"started\nunfinished line")
        await until(
            lambda: sum(s.written_bytes for s in here.capture.report()) >= 300 * 23 + 16, "the output"
        )
        await quiet()
        before = switches()
        stand_still(1.5)  # the loop as well
        assert switches() - before <= 2
        for pipe in pipes:
            os.close(pipe)

    async def quiet() -> None:
        end = time.monotonic() + 10
        while True:
            before = switches()
            await asyncio.sleep(0.7)
            if switches() - before <= 3:
                return
            assert time.monotonic() < end

    scene(play, tmp_path)


def test_a_busy_pipe_grows_and_shrinks_again(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        pipe = here.pipe(limits=LogLimits(0, 0))
        largest = SMALL

        def flooded() -> bool:
            nonlocal largest
            with contextlib.suppress(BlockingIOError):
                os.write(pipe, b"x" * 65_535 + b"\n")
            largest = max(largest, fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ))
            return largest == LARGE

        end = time.monotonic() + 10
        while not flooded():
            assert time.monotonic() < end, largest
            await asyncio.sleep(0)
        await until(lambda: fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == SMALL, "the pipe to shrink")
        os.close(pipe)

    scene(play, tmp_path)


def test_pipes_grow_within_half_of_what_the_user_may_have() -> None:
    budget = PipeBudget(soft_limit=1024)  # pages; 512 for us, a small pipe takes 16
    ends = [os.pipe() for _ in range(4)]
    pipes = [Pipe(read) for read, _ in ends]
    for pipe in pipes:
        budget.add(pipe)
        for _ in range(3):
            budget.grow(pipe)
    assert [pipe.capacity for pipe in pipes] == [LARGE, LARGE, SMALL, SMALL]
    budget.shrink(pipes[0])
    budget.grow(pipes[2])
    assert [pipe.capacity for pipe in pipes] == [SMALL, LARGE, 4 * SMALL, SMALL]
    for pipe, (_, write) in zip(pipes, ends, strict=True):
        pipe.close()
        os.close(write)


def test_looking_into_a_pipe_leaves_the_bytes_there() -> None:
    read, write = os.pipe()
    pipe, peephole = Pipe(read), Peephole()
    with pytest.raises(BlockingIOError):
        peephole.look(pipe, 100)
    write_all(write, b"some bytes")
    for count, seen in ((4, b"some"), (100, b"some bytes"), (100, b"some bytes")):
        assert peephole.data[: peephole.look(pipe, count)] == seen
    assert waiting(write) == 10
    os.close(write)
    assert os.read(read, 100) == b"some bytes"
    assert peephole.look(pipe, 100) == 0
    peephole.close()
    pipe.close()


def test_an_unfinished_line_of_a_shared_log_waits_in_its_pipe(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        one, two = here.pipe(process=1), here.pipe(process=2)
        write_all(one, b"first of one\nbegin ")
        write_all(two, b"first of two\n")
        await until(lambda: here.path.exists() and here.path.stat().st_size == 26, "both lines")
        assert waiting(one) == 6
        write_all(two, b"second of two\n")
        await until(lambda: here.path.stat().st_size == 40, "the third line")
        write_all(one, b"and end\n")
        await until(lambda: here.path.read_bytes().endswith(b"begin and end\n"), "the finished line")
        write_all(one, b"last words")
        os.close(one)
        await until(lambda: here.path.read_bytes().endswith(b"last words\n"), "the end of process 1")
        os.close(two)

    scene(play, tmp_path)


def test_a_line_begun_alone_is_finished_before_another_process_writes(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        one = here.pipe(process=1)
        write_all(one, b"begin ")
        await until(lambda: here.path.exists() and here.path.stat().st_size == 6, "the beginning")
        two = here.pipe(process=2)
        write_all(two, b"two\n")
        await asyncio.sleep(0.03)  # less than others wait for the rest
        write_all(one, b"and end\n")
        await until(lambda: here.path.stat().st_size == 18, "both lines")
        assert here.path.read_bytes() == b"begin and end\ntwo\n"
        for pipe in (one, two):
            os.close(pipe)

    scene(play, tmp_path)


def test_a_line_that_is_never_finished_holds_up_nobody_for_long(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        one = here.pipe(process=1)
        write_all(one, b"prompt> ")
        await until(lambda: here.path.exists() and here.path.stat().st_size == 8, "the beginning")
        two = here.pipe(process=2)
        write_all(two, b"two\n")
        await until(lambda: here.path.read_bytes() == b"prompt> " + CUT_MARK + b"two\n", "the other line", 2)
        for pipe in (one, two):
            os.close(pipe)

    scene(play, tmp_path)


@pytest.mark.parametrize("piece", [1, 2049, 4096, 65_536])
def test_a_line_longer_than_64_kib_is_cut_at_the_same_place_however_it_is_written(
    tmp_path: Path, piece: int
) -> None:
    """2049 bytes a write fill a page each, so that a pipe of 64 KiB is full before the line is that long."""
    line = b"x" * 150_000 + b"\n"

    async def play(here: World) -> None:
        one, two = here.pipe(process=1), here.pipe(process=2)
        write_all(two, b"other\n")
        await until(lambda: here.path.exists() and here.path.stat().st_size == 6, "the other line")
        sent = 0
        end = time.monotonic() + 20
        while sent < len(line):
            assert time.monotonic() < end, f"the writer waits at {sent}"
            try:
                sent += os.write(one, line[sent : sent + piece])
            except BlockingIOError:
                await asyncio.sleep(0.001)
        cut = line[:65_536] + CUT_MARK + line[65_536:131_072] + CUT_MARK + line[131_072:]
        await until(lambda: here.path.stat().st_size == 6 + len(cut), "all pieces")
        assert here.path.read_bytes() == b"other\n" + cut
        for pipe in (one, two):
            os.close(pipe)

    scene(play, tmp_path)


def test_without_room_to_grow_a_long_line_is_cut_earlier_rather_than_stop_its_writer(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        here.capture._pool.budget._left = 0  # as with hundreds of pipes
        one, two = here.pipe(process=1), here.pipe(process=2)
        line, sent, end = b"x" * 150_000 + b"\n", 0, time.monotonic() + 20
        while sent < len(line):
            assert time.monotonic() < end, f"the writer waits at {sent}"
            try:
                sent += os.write(one, line[sent : sent + 2049])
            except BlockingIOError:
                await asyncio.sleep(0.001)
        await until(lambda: here.path.exists() and here.path.read_bytes().endswith(b"x\n"), "the end")
        assert here.path.read_bytes().replace(CUT_MARK, b"") == line
        for pipe in (one, two):
            os.close(pipe)

    scene(play, tmp_path)


def test_the_rest_of_a_torn_line_comes_first_after_a_takeover(tmp_path: Path) -> None:
    """An engine was killed within a splice: the file ends in a line of process 1, its pipe has the rest."""
    log, record = tmp_path / "queue.log", str(tmp_path / "takeover")
    ends = [os.pipe(), os.pipe()]

    async def first() -> None:
        capture = Capture(record)
        capture.settled()
        capture.attach(ENTRY, 2, 1, os.dup(ends[1][0]), str(log), PLENTY)
        capture.attach(ENTRY, 1, 1, os.dup(ends[0][0]), str(log), PLENTY)
        write_all(ends[1][1], b"two\n")
        await until(lambda: log.exists() and log.stat().st_size == 4, "the line of process 2")
        write_all(ends[0][1], b"one\nbegin of a line and ")
        await until(lambda: log.stat().st_size == 8, "the line of process 1")
        await capture.close()

    async def second() -> None:
        capture = Capture(record)
        write_all(ends[1][1], b"two again\n")
        capture.attach(ENTRY, 2, 1, ends[1][0], str(log), PLENTY)
        await asyncio.sleep(0.2)
        assert log.read_bytes() == b"two\none\nbegin of a line and "
        capture.attach(ENTRY, 1, 1, ends[0][0], str(log), PLENTY)
        capture.settled()
        write_all(ends[0][1], b"its end\n")
        await until(lambda: log.read_bytes().endswith(b"two again\n"), "the lines")
        assert log.read_bytes() == b"two\none\nbegin of a line and its end\ntwo again\n"
        await capture.close()

    asyncio.run(first())
    with open(log, "ab") as file:  # the kill: a splice that had moved a part
        file.write(os.read(ends[0][0], 20))
    assert log.read_bytes().endswith(b"begin of a line and ")
    asyncio.run(second())
    for _, write in ends:
        os.close(write)


def test_a_takeover_does_not_wait_for_a_pipe_that_is_gone(tmp_path: Path) -> None:
    log, record = tmp_path / "queue.log", tmp_path / "takeover"

    async def play() -> None:
        log.write_bytes(b"begin")
        facts = log.stat()
        record.write_bytes(struct.pack("<QQQQ", boot(), facts.st_dev, facts.st_ino, 123456789))
        read, write = os.pipe()
        write_all(write, b"next\n")
        capture = Capture(str(record))
        capture.attach(ENTRY, 2, 1, read, str(log), PLENTY)
        await asyncio.sleep(0.1)
        assert log.read_bytes() == b"begin"
        capture.settled()
        await until(lambda: log.read_bytes() == b"begin\nnext\n", "the line", 2)
        os.close(write)
        await capture.close()

    asyncio.run(play())


def test_a_pipe_that_is_told_twice_is_captured_once(tmp_path: Path) -> None:
    async def play(here: World) -> None:
        read, write = os.pipe()
        second = os.dup(read)
        here.capture.attach(ENTRY, 1, 1, read, str(here.path), PLENTY)
        here.capture.attach(ENTRY, 1, 1, second, str(here.path), PLENTY)
        with pytest.raises(OSError):
            os.fstat(second)
        write_all(write, numbers(1, 100))
        os.close(write)
        assert await here.capture.finish(ENTRY, 1, 1)
        assert content(here.path) == numbers(1, 100)
        assert await here.capture.finish(ENTRY, 1, 1), "a run that is gone is finished"

    scene(play, tmp_path)


@pytest.mark.parametrize("last_words", [b"", b"last words\n", b"no newline", b"x" * 40_000 + b"\n"])
def test_the_end_of_a_pipe_is_seen_by_itself_also_together_with_the_last_words(
    tmp_path: Path, last_words: bytes
) -> None:
    """Nobody says that such a run is gone when the keeper is dead: the engine ends at the last end of file."""

    async def play(here: World) -> None:
        for process in range(1, 21):
            pipe = here.pipe(process=process, path=here.logs / f"{process}.log")
            if process % 2:
                write_all(pipe, b"first words\n")
                await until(lambda p=process: (here.logs / f"{p}.log").exists(), "the first words")  # type: ignore[misc]
            if last_words:
                write_all(pipe, last_words)
            os.close(pipe)
        await until(lambda: not any(log.pipes for log in here.capture.report()), "the end of every pipe", 5)
        for process in range(1, 21):
            assert content(here.logs / f"{process}.log").endswith(last_words)

    scene(play, tmp_path)


def test_file_systems_that_cannot_splice_are_written_all_the_same(tmp_path: Path) -> None:
    """splice(2) refuses a descriptor with O_APPEND as it refuses such file systems: EINVAL."""

    async def play(here: World) -> None:
        pipe = here.pipe()
        write_all(pipe, b"one\n")
        await until(lambda: here.path.exists() and here.path.stat().st_size == 4, "the first line")
        (log,) = here.capture._logs.values()
        fcntl.fcntl(log.file.descriptor, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
        with pytest.raises(OSError, match="Invalid argument"):
            os.splice(_pipe_with_a_byte(), log.file.descriptor, 10)
        write_all(pipe, numbers(1, 10_000))
        await until(lambda: here.path.stat().st_size == 4 + len(numbers(1, 10_000)), "the rest")
        assert here.path.read_bytes() == b"one\n" + numbers(1, 10_000)
        os.close(pipe)

    scene(play, tmp_path)


def _pipe_with_a_byte() -> int:
    read, write = os.pipe()
    os.write(write, b"x")
    os.close(write)
    return read
