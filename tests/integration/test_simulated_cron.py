"""The same schedules in simulated time on Debian's own cron, on our engine's agenda, and by our rules: the same minutes.

CI simulates the weeks of the clock changes; `make cron-year` (SHIFTBOSS_CRON_YEAR=1) the whole year.
"""

import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from shiftboss.core.cron import Expression, parse
from shiftboss.core.cron_times import next_time
from shiftboss.core.cron_zones import next_shift
from shiftboss.core.errors import UserError
from tests.simulated_cron import simulated_starts
from tests.simulated_engine import Simulated, engine_starts

YEAR = 2027
# Half an hour at night, an hour at night, an hour at midnight (a day without 00:00), and none.
ZONES = (
    "Europe/Riga",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Africa/Cairo",
    "UTC",
)
WHOLE_YEAR = os.environ.get("SHIFTBOSS_CRON_YEAR") == "1"
CASES = Path(__file__).parents[1] / "unit/core/cron_cases.json"
AT_NIGHT = (
    *("0 3 * * *", "30 3 * * *", "15 2 * * *", "45 1 * * *", "30 0 * * *", "0 0 * * *", "0 4 * * *"),
    *("30 1 * * *", "15 0 * * *", "0 1-5 * * *", "0 0-23 * * *", "10-50/20 0-3 * * *", "0-59 3 * * *"),
    *("* 3 * * *", "* 0 * * *", "*/20 2 * * *", "*,5 3 * * *", "0 */3 * * *", "30 * * * *", "0 * * * *"),
    *("7 */2 * * *", "*/30 1 * * *", "@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@midnight"),
)

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("cron", "gcc"))) or os.geteuid() != 0, reason="needs cron, gcc and root"
)


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="shiftboss-cron-", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def rare_expressions(chance: random.Random, count: int) -> Iterator[str]:
    """Yield expressions of every form that start a few times a day at most."""
    days = ("*", "*", "*/2", "1,15", "28-31", "1-7", "31", "*/10", "29")
    months = ("*", "*", "*", "jan-mar", "*/3", "2", "mar,apr,sep,oct,nov")
    weekdays = ("*", "*", "1-5", "sun", "7", "0-2", "*/7", "*/2", "5-7", "mon,fri", "fri-sun", "fri-mon")
    for _ in range(count):
        minute = chance.choice((str(chance.randrange(60)), "*/30", "17-43/13", "0,30", "50-10", "5~9"))
        hour = chance.choice(
            (str(chance.randrange(6)), str(chance.randrange(24)), "*/8", "1-4", "22-2", "0,3")
        )
        yield " ".join((minute, hour, chance.choice(days), chance.choice(months), chance.choice(weekdays)))


def expressions(zone: str) -> list[str]:
    """Return what is compared in a zone: each text once, those that Debian's cron takes."""
    cases = [case["expr"] for case in json.loads(CASES.read_text())["cases"]]
    made = [*AT_NIGHT, *rare_expressions(random.Random(zone), 200), *cases]
    return [text for text in dict.fromkeys(made) if _is_rare_enough(text)]


def _is_rare_enough(text: str) -> bool:
    try:
        expr = parse(text, "debian")
    except UserError:
        return False
    # more than 60 a day would only take long; `* 3 * * *` is in
    a_day = expr.minutes.bit_count() * expr.hours.bit_count()
    return not expr.at_reboot and (a_day <= 60 or not WHOLE_YEAR)


def periods(zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Return what is simulated: the year, or the two days around each clock change of it."""
    start, end = datetime(YEAR, 1, 1, tzinfo=UTC), datetime(YEAR + 1, 1, 1, tzinfo=UTC)
    if WHOLE_YEAR:
        return [(start, end)]
    found = []
    at = start.replace(tzinfo=None)
    while shift := next_shift(zone, at, end.replace(tzinfo=None)):
        at = shift.at
        moment = at.replace(tzinfo=UTC)
        found.append((moment - timedelta(days=1), moment + timedelta(days=1)))
    return found or [(start, start + timedelta(days=2))]


def our_starts(expr: Expression, zone: ZoneInfo, start: datetime, end: datetime) -> set[int]:
    """Return the minutes later than `start` and earlier than `end` in which we start it."""
    found = set()
    moment = next_time(expr, start, zone)
    while moment and moment < end:
        found.add(int(moment.timestamp()))
        moment = next_time(expr, moment, zone)
    return found


def gaps(zone: ZoneInfo, start: datetime, end: datetime) -> set[int]:
    """Return the first instants after hours that do not exist."""
    found, at = set(), start.replace(tzinfo=None)
    while shift := next_shift(zone, at, end.replace(tzinfo=None)):
        at = shift.at
        if shift.is_gap:
            found.add(int(at.replace(tzinfo=UTC).timestamp()))
    return found


@pytest.mark.timeout(3600 if WHOLE_YEAR else 400)
@pytest.mark.parametrize("zone", ZONES)
def test_same_minutes_as_the_real_cron_and_more_at_once_only_after_a_gap(zone: str, directory: Path):
    texts, compared, bursts = expressions(zone), 0, 0
    for number, (start, end) in enumerate(periods(ZoneInfo(zone))):
        place = directory / str(number)
        place.mkdir()
        theirs = simulated_starts(place, texts, zone, start, end, deadline=3000 if WHOLE_YEAR else 100)
        engine = engine_starts(texts, zone, start, end)
        after_gap = gaps(ZoneInfo(zone), start, end)
        wrong = {}
        for text, seen, started in zip(texts, theirs, engine.starts, strict=True):
            expr = parse(text, "debian")
            ours = our_starts(expr, ZoneInfo(zone), start, end)
            by_rule = _differences(expr, ours, seen, after_gap)
            if differences := [*by_rule, *_differences_of_engine(started, seen)]:
                wrong[text] = differences
            compared += seen.total()
            bursts += seen.total() - len(seen)
        assert not wrong, f"{len(wrong)} of {len(texts)} differ: {dict(list(wrong.items())[:8])}"
        _assert_nothing_was_missed(engine)
    assert compared > 1000
    print(
        f"{zone}: {len(texts)} schedules, {compared} starts compared, {bursts} of them in bursts after a gap"
    )


def _differences_of_engine(started: Counter[int], theirs: Counter[int]) -> list[str]:
    """Return in words in which minutes only one of both starts, and where the engine starts more than once."""
    told = [f"engine only {datetime.fromtimestamp(at, UTC)}" for at in sorted(started.keys() - theirs)]
    told += [f"engine not {datetime.fromtimestamp(at, UTC)}" for at in sorted(theirs.keys() - started)]
    told += [
        f"engine {n} at once {datetime.fromtimestamp(at, UTC)}" for at, n in sorted(started.items()) if n > 1
    ]
    return told[:4]


def _assert_nothing_was_missed(engine: Simulated) -> None:
    """Each start is told as `ran`; beside that only what daylight saving took away is told."""
    assert engine.outcomes["ran"] == sum(starts.total() for starts in engine.starts)
    assert engine.outcomes.keys() <= {"ran", "skipped"}


def _differences(expr: Expression, ours: set[int], theirs: Counter[int], after_gap: set[int]) -> list[str]:
    """Return in words what is not the same, and not on the page about daylight saving."""
    told = [f"only ours {datetime.fromtimestamp(at, UTC)}" for at in sorted(ours - theirs.keys())]
    told += [f"only cron {datetime.fromtimestamp(at, UTC)}" for at in sorted(theirs.keys() - ours)]
    for at, count in theirs.items():
        if count > 1 and (expr.follows_wall_clock or at not in after_gap):
            told.append(f"{count} at once {datetime.fromtimestamp(at, UTC)}")
    return told[:4]
