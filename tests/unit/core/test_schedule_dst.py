"""Both clock changes through the whole agenda: what is started at which instant, and what is told of the rest.

Riga, 2027: on 28 March the clock goes at 01:00 UTC from 03:00 to 04:00, on 31 October from 04:00 back to 03:00.
The expected instants are in UTC and worked out by hand.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from schedule_world import World

from shiftboss.core.cron import parse
from shiftboss.core.cron_times import DstPolicy
from shiftboss.core.occurrence import Row
from shiftboss.core.run_policy import Policy
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.timing import EveryTiming, Timing, cron_timing

SPRING = datetime(2027, 3, 28, 1, tzinfo=UTC)
AUTUMN = datetime(2027, 10, 31, 1, tzinfo=UTC)
BEFORE, AFTER = timedelta(hours=3, minutes=-1), timedelta(hours=4)
FIRST_HOUR = [f"00:{minute:02}" for minute in range(60)]
SECOND_HOUR = [f"01:{minute:02}" for minute in range(60)]
HALF_PAST = [f"{hour:02}:30" for hour in (22, 23, 0, 1, 2, 3, 4)]


def world(timing: Timing, wall: datetime, **policy: object) -> World:
    made = World({"p/a": Terms("p/a", timing, Policy(**policy))}, wall=wall.timestamp() + 0.5)  # type: ignore[arg-type]
    made.start_engine()
    made.settle()
    return made


def riga(text: str, dst: DstPolicy) -> Timing:
    return cron_timing(parse(text), ZoneInfo("Europe/Riga"), dst)


def live(made: World, minutes: int) -> None:
    """Let minutes pass; each run ends well within its minute."""
    for _ in range(minutes):
        made.pass_time(60)
        for key in made.alive():
            made.end_run(key)
    made.settle()


def started(made: World) -> list[str]:
    assert all(0 <= start.wall - start.due < 1 for start in made.starts), "none is late"
    return [f"{datetime.fromtimestamp(start.due, UTC):%H:%M}" for start in made.starts]


def told(made: World, outcome: str) -> list[Row]:
    found = [row for row in made.rows.values() if row.outcome == outcome]
    return sorted(found, key=lambda row: row.number)


def assert_told(made: World, is_told: bool) -> None:
    """What daylight saving took is one row, at the latest with the next time after it."""
    live(made, 24 * 60)
    assert [row.reason.partition(":")[0] for row in told(made, "skipped")] == ["daylight saving"] * is_told
    assert not told(made, "missed")


def assert_lived_through(change: datetime, timing: Timing, expected: list[str], is_told: bool) -> None:
    """Live from three hours before a change to four after it: exactly this is started, each time once."""
    made = world(timing, change - BEFORE)
    live(made, 7 * 60 - 2)
    assert started(made) == expected
    assert len(told(made, "ran")) == len(expected)
    assert_told(made, is_told)


@pytest.mark.parametrize(
    ("text", "dst", "expected", "is_told"),
    [
        ("30 3 * * *", "debian", ["01:00"], False),
        ("0-59 3 * * *", "debian", ["01:00"], True),
        ("0 3,4 * * *", "debian", ["01:00"], True),
        ("0 4 * * *", "debian", ["01:00"], False),
        ("30 4 * * *", "debian", ["01:30"], False),
        ("* 3 * * *", "debian", [], True),
        ("*/20 3 * * *", "debian", [], True),
        ("30 * * * *", "debian", HALF_PAST, False),
        ("30 3 * * *", "skip", [], True),
        ("0-59 3 * * *", "skip", [], True),
        ("0 3,4 * * *", "skip", ["01:00"], True),
        ("* 3 * * *", "skip", [], True),
        ("30 * * * *", "skip", HALF_PAST, False),
    ],
)
def test_an_hour_that_does_not_exist(text: str, dst: DstPolicy, expected: list[str], is_told: bool) -> None:
    """Fixed times run at its end, together as one start; wildcards do not; what is lost is told as skipped."""
    assert_lived_through(SPRING, riga(text, dst), expected, is_told)


@pytest.mark.parametrize(
    ("text", "dst", "expected", "is_told"),
    [
        ("30 3 * * *", "debian", ["00:30"], True),
        ("0-59 3 * * *", "debian", FIRST_HOUR, True),
        ("0 4 * * *", "debian", ["02:00"], False),
        ("* 3 * * *", "debian", [*FIRST_HOUR, *SECOND_HOUR], False),
        ("*/20 3 * * *", "debian", ["00:00", "00:20", "00:40", "01:00", "01:20", "01:40"], False),
        ("30 * * * *", "debian", HALF_PAST, False),
        ("30 3 * * *", "skip", ["00:30"], True),
        ("0-59 3 * * *", "skip", FIRST_HOUR, True),
        ("* 3 * * *", "skip", [*FIRST_HOUR, *SECOND_HOUR], False),
        ("30 * * * *", "skip", HALF_PAST, False),
    ],
)
def test_an_hour_that_comes_twice(text: str, dst: DstPolicy, expected: list[str], is_told: bool) -> None:
    """Fixed times run in the first one only, which is told once; wildcards run in both."""
    assert_lived_through(AUTUMN, riga(text, dst), expected, is_told)


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@pytest.mark.parametrize("how", ["killed", "stopped", "suspended"])
@pytest.mark.parametrize(("text", "starts"), [("30 3 * * *", 1), ("0-59 3 * * *", 0), ("*/20 3 * * *", 0)])
def test_nobody_looks_while_the_clock_changes(change: datetime, how: str, text: str, starts: int) -> None:
    """What is due once a day is made up for, once; the rest is told; nothing comes twice and there is no storm."""
    made = world(riga(text, "debian"), change - timedelta(hours=2))
    made.pass_time(60)
    away = timedelta(hours=3, minutes=30).total_seconds()
    if how == "killed":
        made.kill_engine()
        made.stand_still(away)
        made.start_engine()
    else:
        {"stopped": made.stand_still, "suspended": made.suspend}[how](away)
    made.settle()
    assert len(made.starts) == starts
    live(made, 60)
    assert len(made.starts) == starts
    assert not [row for row in made.rows.values() if row.outcome is None]


@pytest.mark.parametrize("how", ["stopped", "suspended"])
@pytest.mark.parametrize("pace", [1, 5, 60])
def test_five_minutes_without_a_look(how: str, pace: int) -> None:
    """Each second has one outcome, and at most one start is made up for."""
    made = world(EveryTiming(pace), SPRING)
    live_by_seconds(made, 150)
    before = len(made.starts)
    {"stopped": made.stand_still, "suspended": made.suspend}[how](300)
    made.settle()
    assert len(made.starts) - before <= 1
    live_by_seconds(made, 150)
    times = list(_times(sorted(made.rows.values(), key=lambda row: row.due), pace))
    assert times == list(range(times[0], times[-1] + 1, pace))
    assert times[-1] - times[0] >= 450
    (missed,) = told(made, "missed")
    words = {"stopped": "the engine stood still", "suspended": "the machine was suspended"}[how]
    assert missed.reason.startswith(words)


def live_by_seconds(made: World, seconds: int) -> None:
    for _ in range(seconds):
        made.pass_time(1)
        for key in made.alive():
            made.end_run(key)
    made.settle()


def _times(rows: Sequence[Row], pace: int) -> Iterator[int]:
    """Yield every time that has a row."""
    for row in rows:
        yield from range(row.due, row.last + 1, pace)
