"""The alarm on a real timer of the kernel: it rings at its time, at the latest one that was set, or never."""

import asyncio
import os
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest

from shiftboss.engine.alarm import Alarm

DEADLINE = 10.0
YEAR_2040 = 2_208_988_800.0


@contextmanager
def alarm(ring: Callable[[], None]) -> Iterator[Alarm]:
    made = Alarm(asyncio.get_running_loop(), ring)
    try:
        yield made
    finally:
        made.close()


def run(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), DEADLINE))


def seconds_left() -> float:
    """Return how long the timer of this process still runs, as the kernel tells it."""
    [timer] = [fd for fd in os.listdir("/proc/self/fd") if _is_timer(fd)]
    found = re.search(r"it_value: \((\d+), (\d+)\)", Path(f"/proc/self/fdinfo/{timer}").read_text())
    assert found
    return int(found[1]) + int(found[2]) / 1e9


def _is_timer(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[timerfd]"
    except FileNotFoundError:  # that of the listing itself
        return False


@pytest.mark.parametrize("clock", ["wall", "mono"])
def test_it_rings_at_its_time_and_not_before(clock: str) -> None:
    async def scene() -> None:
        rung = asyncio.Event()
        with alarm(rung.set) as bell:
            began = time.monotonic()
            wall = time.time() + 0.3 if clock == "wall" else inf
            bell.set(wall, began + 0.3 if clock == "mono" else inf)
            await rung.wait()
            assert time.monotonic() - began > 0.29

    run(scene)


def test_a_time_that_is_past_rings_at_once() -> None:
    async def scene() -> None:
        for wall, mono in ((time.time() - 60, inf), (0.0, inf), (-5.0, inf), (inf, time.monotonic() - 1)):
            rung = asyncio.Event()
            with alarm(rung.set) as bell:
                bell.set(wall, mono)
                await rung.wait()

    run(scene)


def test_what_is_set_later_takes_the_place_of_what_was_set_before() -> None:
    async def scene() -> None:
        heard: list[str] = []
        rung = asyncio.Event()
        with alarm(lambda: heard.append("never")) as other, alarm(rung.set) as bell:
            other.set(time.time() + 0.1, time.monotonic() + 0.1)
            other.set(inf, inf)
            bell.set(time.time() + 1000, time.monotonic() + 1000)
            bell.set(time.time() + 0.4, inf)
            await rung.wait()
            rung.clear()
            bell.set(time.time() + 0.2, inf)
            await rung.wait()
        assert not heard

    run(scene)


def test_after_it_has_rung_it_is_quiet_until_it_is_set_again() -> None:
    async def scene() -> None:
        count = 0
        rung, later = asyncio.Event(), asyncio.Event()

        def ring() -> None:
            nonlocal count
            count += 1
            rung.set()

        with alarm(ring) as bell, alarm(later.set) as other:
            bell.set(time.time() + 0.05, inf)
            await rung.wait()
            other.set(time.time() + 0.5, inf)
            await later.wait()
            assert count == 1

    run(scene)


@pytest.mark.parametrize("wall", [YEAR_2040, 2_147_483_648.0, 4_102_444_800.0])
def test_times_after_january_2038_are_times_like_others(wall: float) -> None:
    """A timer that is set to 2**31 instead would ring at once from then on, each time that it is set."""

    async def scene() -> None:
        with alarm(lambda: None) as bell:
            bell.set(wall, inf)
            assert abs(seconds_left() - (wall - time.time())) < 1

    run(scene)


def test_never_is_far_away_also_in_2040() -> None:
    async def scene() -> None:
        with alarm(lambda: None) as bell:
            bell.set(inf, inf)
            assert time.time() + seconds_left() > YEAR_2040 + 100 * 365 * 86_400

    run(scene)


def test_closed_it_rings_no_more_and_gives_its_descriptor_back() -> None:
    async def scene() -> None:
        before = len(os.listdir("/proc/self/fd"))
        heard: list[None] = []
        later = asyncio.Event()
        with alarm(lambda: heard.append(None)) as bell:
            bell.set(time.time() + 0.1, time.monotonic() + 0.1)
        assert len(os.listdir("/proc/self/fd")) == before
        with alarm(later.set) as other:
            other.set(time.time() + 0.4, inf)
            await later.wait()
        assert not heard

    run(scene)
