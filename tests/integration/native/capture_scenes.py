"""Scenes on disks that are full, frozen or gone: `capture_scenes.py SCENE DIRECTORY`, logs in DIRECTORY/logs, prints "ok".

They run in a process of their own, because they need a mount namespace or a limit.
"""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

from capture_world import ENTRY, World, content, numbers, until, world, write_all

from shiftboss.core.rotation import LogLimits

FLOOD = "i=0; while :; do echo $i line of a busy program; i=$((i+1)); done"


def lines_of(data: bytes) -> list[bytes]:
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


async def full(here: World) -> None:
    """A file system of 1 MiB that is full: no writer waits, the loss is counted, told and marked; then it heals."""
    ballast = here.logs / "ballast"
    ballast.write_bytes(b"x" * 700_000)
    run = here.run("seq 1 400000; echo end of flood", limits=LogLimits(0, 0))
    await until(lambda: here.status().problem, "the report")
    assert here.status().problem == f"cannot write to {here.path}: no space left on device"
    await until(lambda: here.programs[0].poll() == 0, "the writer, which must not wait for the disk")
    await until(lambda: here.status().lost_bytes > 1_000_000, "the count of what was lost")
    ballast.unlink()
    await until(
        lambda: b"end of flood\n" in here.path.read_bytes(), "the newest output, after the disk has room"
    )
    assert await here.ended(run)
    await until(lambda: not here.status().problem, "the end of the report")
    status = here.status()
    data = here.path.read_bytes()
    marks = [line for line in lines_of(data) if line.startswith(b"[shiftboss: ")]
    told = sum(int(mark.split()[1]) for mark in marks)
    assert told == status.lost_bytes
    assert all(mark.endswith(b" bytes of output dropped here: no space left on device]") for mark in marks)
    kept = len(data) - sum(len(mark) + 1 for mark in marks)
    whole = len(numbers(1, 400_000)) + len("end of flood\n")
    # a line cut by the full disk was given a newline of its own
    assert 0 <= kept + told - whole <= len(marks)
    rest = [line for line in lines_of(data) if line not in marks]
    assert rest[-1] == b"end of flood"


async def full_rotates(here: World) -> None:
    """A full disk on which our own rotation makes room goes on by itself."""
    run = here.run("seq 1 300000", limits=LogLimits(100_000, 3))
    assert await here.ended(run)
    assert numbers(1, 300_000).endswith(content(here.path))
    assert here.status().lost_bytes == 0


async def file_size_limit(here: World) -> None:
    """RLIMIT_FSIZE stands for any refusal of a write; a log that may rotate before it never meets it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    small = here.logs / "small.log"
    runs = [
        here.run("seq 1 300000; echo end", limits=LogLimits(0, 0)),
        here.run("seq 1 100000", process=2, path=small, limits=LogLimits(100_000, 100)),
    ]
    await until(lambda: all(program.poll() == 0 for program in here.programs), "both writers")
    await until(lambda: here.status().problem, "the report")
    assert "file too large" in here.status().problem
    assert await here.ended(runs[1], process=2)
    assert content(small) == numbers(1, 100_000)
    assert here.status(small).problem == ""
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await until(lambda: not here.status().problem, "the mend")
    await here.ended(runs[0])
    lines = lines_of(here.path.read_bytes())
    assert lines[-1] == b"end"
    assert any(line.startswith(b"[shiftboss: ") for line in lines)


async def read_only(here: World) -> None:
    """A read-only file system (as after an error of the disk) that is mended."""
    pipe = here.pipe()
    write_all(pipe, b"one\n")
    await until(lambda: here.status().problem, "the report")
    assert "read-only file system" in here.status().problem
    write_all(pipe, b"two\n")
    done("mount", "-o", "remount,rw", here.logs)
    await until(here.path.exists, "the log")
    await until(lambda: here.path.read_bytes() == b"one\ntwo\n", "the lines")
    assert here.status().lost_bytes == 0
    os.close(pipe)


async def frozen(here: World) -> None:
    """A disk that hangs for some seconds: nobody waits but the thread that has asked it, and all is told."""
    elsewhere = here.logs.parent / "elsewhere"
    elsewhere.mkdir()
    other = elsewhere / "other.log"
    busy = [here.run(FLOOD, process=number, path=here.logs / f"w{number}.log") for number in (1, 2)]
    quiet = here.pipe(entry="blog/web", path=other)
    await until(lambda: all((here.logs / f"w{number}.log").exists() for number in (1, 2)), "the first output")
    done("fsfreeze", "-f", here.logs)
    try:
        await until(lambda: any("has not answered" in s.problem for s in here.capture.report()), "the report")
        # the other disk hangs until we thaw it: whatever time these take, they did not wait for it
        write_all(quiet, b"other disk\n")
        await until(lambda: other.exists() and other.read_bytes() == b"other disk\n", "the other disk's log")
        late = here.pipe(entry="blog/late", path=elsewhere / "late.log")
        write_all(late, b"new\n")
        await until(lambda: (elsewhere / "late.log").exists(), "a log that was attached meanwhile")
        os.close(late)
        # both writers go on: what does not fit into their pipes is dropped
        for number in (1, 2):
            path = here.logs / f"w{number}.log"
            await until(
                lambda path=path: here.status(path).lost_bytes > 100_000, "the count of what was lost"
            )
        longest = await longest_pause(2.0)
        assert longest < 1, f"the engine's loop stood still for {longest:.2f} s"
    finally:
        done("fsfreeze", "-u", here.logs)
    for number in (1, 2):
        path = here.logs / f"w{number}.log"
        await until(lambda path=path: b"dropped here" in content(path), "the mark of the loss")
        assert here.status(path).problem == ""
    for program, run, number in zip(here.programs, busy, (1, 2), strict=False):
        program.kill()
        assert await here.ended(run, process=number)
    write_all(quiet, b"again\n")
    await until(lambda: other.read_bytes() == b"other disk\nagain\n", "the other log goes on")
    os.close(quiet)


async def slow(here: World) -> None:
    """A disk that is slow again and again (less than a hang) gets a thread of its own: other disks go on at once."""
    elsewhere = here.logs.parent / "elsewhere"
    elsewhere.mkdir()
    busy, quiet = here.pipe(), here.pipe(entry="blog/web", path=elsewhere / "web.log")
    for pipe in (busy, quiet):
        write_all(pipe, b"started\n")
    await until(lambda: sum(s.written_bytes for s in here.capture.report()) == 16, "the first lines")
    for _ in range(3):
        await freeze_for(0.2, here.logs, busy)
    await until(lambda: len(here.capture._pool._drainers) == 2, "the second thread")
    done("fsfreeze", "-f", here.logs)
    try:
        write_all(busy, b"waits\n")
        await asyncio.sleep(0.05)
        write_all(quiet, b"at once\n")
        await until(
            lambda: (elsewhere / "web.log").read_bytes().endswith(b"at once\n"), "the other disk's line", 0.3
        )
        assert b"waits" not in here.path.read_bytes()
    finally:
        done("fsfreeze", "-u", here.logs)
    await until(lambda: here.path.read_bytes().endswith(b"waits\n"), "the line that waited")
    assert all(not s.lost_bytes and not s.problem for s in here.capture.report())
    for pipe in (busy, quiet):
        os.close(pipe)


async def freeze_for(seconds: float, directory: Path, pipe: int) -> None:
    done("fsfreeze", "-f", directory)
    try:
        write_all(pipe, b"line\n")
        await asyncio.sleep(seconds)
    finally:
        done("fsfreeze", "-u", directory)
    await asyncio.sleep(0.05)


async def longest_pause(seconds: float) -> float:
    """Return the longest time for which the loop did not come round."""
    longest, end = 0.0, time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    return longest


async def long_line(here: World) -> None:
    """A line of 1 GB, alone in its log, and one in a log that others write to: memory stays where it is."""
    gigabyte = "head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo end"
    shared = here.logs / "shared.log"
    limits = LogLimits(10_000_000, 3)
    runs = [
        here.run(gigabyte, limits=limits),
        here.run(gigabyte, entry="shop/shared", path=shared, limits=limits),
    ]
    other = here.pipe(process=2, entry="shop/shared", path=shared, limits=limits)
    follower = here.capture.subscribe("shop/shared")
    await asyncio.sleep(0)
    before = memory()

    def all_ended() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.write(other, b"other\n")
        return all(program.poll() == 0 for program in here.programs)

    await until(all_ended, "the long lines", 90)
    for run, entry in ((runs[0], ENTRY), (runs[1], "shop/shared")):
        assert await here.capture.finish(entry, 1, run, 60)
    grown = memory() - before
    assert grown < 8_000_000, f"memory grew by {grown / 1e6:.1f} MB"
    assert here.status().written_bytes == 1_000_000_005
    assert here.path.read_bytes().endswith(b"x\nend\n")
    assert content(here.path).count(b"line cut") == 0
    assert max(part.stat().st_size for part in here.logs.iterdir()) <= 10_000_000 + 65_536 + 100
    lines = lines_of(content(shared))
    assert lines.count(b"end") == 1
    pieces = [line for line in lines if line.endswith(b"x [line cut by shiftboss]")]
    assert len(pieces) > 300
    assert {len(piece) for piece in pieces[1:]} == {65_536 + 24}
    assert {line for line in lines if not line.startswith(b"x")} <= {b"other", b"end"}
    follower.close()
    os.close(other)


def done(*argv: str | Path) -> None:
    subprocess.run(argv, check=True)


def memory() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * next(
        int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty:")
    )


def give_up(directory: Path) -> None:
    subprocess.run(["fsfreeze", "-u", directory / "logs"], check=False)
    os._exit(3)


async def main() -> None:
    scene, directory = sys.argv[1], Path(sys.argv[2])
    watchdog = threading.Timer(
        100, give_up, [directory]
    )  # a call that hangs must not keep the scene from ending
    watchdog.daemon = True
    watchdog.start()
    async with world(directory) as here:
        await globals()[scene](here)
    sys.stdout.write("ok\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
