"""Properties of the cron maths, with a minute-by-minute walk and cronsim as second opinions."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cron_oracle import DAY, MINUTE, Case, cases, clock, daily, instants, is_due, walk
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shiftboss.core.cron import parse
from shiftboss.core.cron_times import DstPolicy, next_time, previous_time, times

# half-hour shift, negative daylight saving, two hours, a month without, a skipped day, none at all …
ODD_ZONES = (
    *("Australia/Lord_Howe", "Europe/Dublin", "Antarctica/Troll", "Africa/Casablanca", "Asia/Gaza"),
    *(
        "America/New_York",
        "Europe/Riga",
        "America/Nuuk",
        "Antarctica/Casey",
        "Africa/Cairo",
        "Asia/Kathmandu",
        "UTC",
    ),
)
POLICIES: tuple[DstPolicy, ...] = ("debian", "skip")


@cache
def shifts(name: str, first_year: int = 2020, last_year: int = 2040) -> tuple[datetime, ...]:
    """Return the first minutes with a new offset, found by halving the weeks in which the offset changes."""
    zone = ZoneInfo(name)
    start = datetime(first_year, 1, 1, tzinfo=UTC)
    weeks = [start + n * DAY for n in range(0, 366 * (last_year + 1 - first_year), 7)]
    offsets = [week.astimezone(zone).utcoffset() for week in weeks]
    return tuple(
        halve(zone, low, high) for (low, a), (high, b) in pairwise(zip(weeks, offsets, strict=True)) if a != b
    )


def halve(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    old = low.astimezone(zone).utcoffset()
    while high - low > MINUTE:
        middle = low + (high - low) // MINUTE // 2 * MINUTE
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == old else (low, middle)
    return high


@st.composite
def near_shifts(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    """Draw a zone with an instant that is, if the zone has shifts, within a day of one."""
    name = draw(st.sampled_from(ODD_ZONES))
    if not shifts(name) or draw(st.booleans()):
        return ZoneInfo(name), draw(instants())
    seconds = draw(st.one_of(st.integers(-10800, 10800), st.integers(-86400, 86400), st.just(0), st.just(-1)))
    return ZoneInfo(name), draw(st.sampled_from(shifts(name))) + timedelta(seconds=seconds)


def utc(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment.astimezone(UTC)


@given(cases(), near_shifts(), st.sampled_from(POLICIES))
def test_next_is_the_first_due_minute_of_a_walk(
    expected: Case, place: tuple[ZoneInfo, datetime], dst: DstPolicy
) -> None:
    """Strictly later, due by the minute walk, and no minute in between is due (looked at for three days)."""
    zone, after = place
    found = next_time(parse(expected.text), after, zone, dst)
    horizon = after.replace(second=0) + 3 * DAY
    first = next(walk(expected, zone, after.replace(second=0), horizon, dst), None)
    if found is None or first is None:
        assert first is None
        assert found is None or utc(found) > horizon
    else:
        assert after < utc(found) == first


@given(cases(), near_shifts(), st.sampled_from(POLICIES))
def test_previous_is_the_last_due_minute_of_a_walk(
    expected: Case, place: tuple[ZoneInfo, datetime], dst: DstPolicy
) -> None:
    """Strictly earlier, due by the minute walk, and no minute in between is due (looked at for two days)."""
    zone, before = place
    found = previous_time(parse(expected.text), before, zone, dst)
    start = before.replace(second=0) - 2 * DAY
    last = max((due for due in walk(expected, zone, start, before, dst) if due < before), default=None)
    if found is None or last is None:
        assert last is None
        assert found is None or utc(found) <= start
    else:
        assert before > utc(found) == last


@given(cases(), near_shifts(), st.sampled_from(POLICIES))
def test_next_and_previous_are_inverse(
    expected: Case, place: tuple[ZoneInfo, datetime], dst: DstPolicy
) -> None:
    """Going back from the next time never ends later than the start, and forward again is the same time."""
    expr, (zone, after) = parse(expected.text), place
    found = next_time(expr, after, zone, dst)
    assume(found is not None)
    back = previous_time(expr, utc(found), zone, dst)
    if back is not None:
        assert utc(back) <= after
        assert utc(next_time(expr, back, zone, dst)) == utc(found)


@given(cases(), st.sampled_from(sorted(available_timezones())), instants(1850, 2200))
def test_time_always_goes_on_in_every_zone_and_century(expected: Case, name: str, after: datetime) -> None:
    """Each of the next times is strictly later in UTC, also where clocks were set by seconds or by a day."""
    expr, zone = parse(expected.text), ZoneInfo(name)
    row = [after, *(utc(moment) for moment in times(expr, after, zone, 5))]
    assert all(earlier < later for earlier, later in pairwise(row))


@given(
    st.sets(st.integers(0, 59), min_size=1, max_size=4),
    st.sets(st.integers(0, 59), min_size=1, max_size=4),
    instants(),
    st.integers(0, 999_999),
)
def test_seconds_are_those_of_a_walk(
    seconds: set[int], minutes: set[int], after: datetime, microsecond: int
) -> None:
    """With six fields every matching second of every matching minute is due, and nothing else."""
    text = f"{','.join(map(str, seconds))} {','.join(map(str, minutes))} * * * *"
    due = (after + timedelta(seconds=n) for n in range(1, 3700))
    expected = list(islice((d for d in due if d.second in seconds and d.minute in minutes), 3))
    found = times(parse(text), after.replace(microsecond=microsecond), ZoneInfo("UTC"), len(expected))
    assert [utc(moment) for moment in found] == expected


@settings(max_examples=20)
@given(cases(), instants(1900, 2100))
def test_an_expression_without_a_date_is_answered_at_once(expected: Case, after: datetime) -> None:
    """What cannot match has neither next nor previous time: the search ends and nothing is raised."""
    minute, hour = expected.text.split()[:2]
    for dates in ("30 2 *", "31 2,4,6,9,11 *", "*/31 * 1#2", "30W 2 *", "L-29 2 *"):
        expr = parse(f"{minute} {hour} {dates}")
        assert next_time(expr, after, ZoneInfo("Europe/Riga")) is None
        assert previous_time(expr, after, ZoneInfo("Europe/Riga")) is None


def test_the_ends_of_time_are_no_error() -> None:
    """Near the first and the last year of datetime there is no time, and no exception either."""
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        for name in ("Pacific/Apia", "America/New_York", "UTC"):
            assert next_time(parse("* * * * *"), moment, ZoneInfo(name)) is None
            assert previous_time(parse("* * * * *"), moment, ZoneInfo(name)) is None


def test_a_naive_datetime_is_refused() -> None:
    """What time it means would depend on the machine."""
    for ask in (next_time, previous_time):
        with pytest.raises(ValueError, match="time zone"):
            ask(parse("* * * * *"), datetime(2026, 1, 1), ZoneInfo("UTC"))


# Every zone of the tz database, around each of its shifts

EVERYWHERE: tuple[tuple[Case, DstPolicy], ...] = (
    (daily("*/15", range(0, 60, 15), "*", range(24)), "debian"),
    (daily("0", {0}, "*/2", range(0, 24, 2)), "debian"),
    (daily("30", {30}, "0-4", range(5)), "debian"),
    (daily("5-55/25", {5, 30, 55}, "0,2,23", {0, 2, 23}), "debian"),
    (daily("10", {10}, "1", {1}), "debian"),
    (daily("30", {30}, "0-4", range(5)), "skip"),
)
AROUND = timedelta(hours=3)


def families() -> Iterator[tuple[str, tuple[datetime, ...]]]:
    """Yield one zone of each set of zones that change to the same offsets at the same instants."""
    seen = set()
    for name in sorted(available_timezones()):
        zone, found = ZoneInfo(name), shifts(name)
        key = tuple(
            (at, at.astimezone(zone).utcoffset(), (at - MINUTE).astimezone(zone).utcoffset()) for at in found
        )
        if key not in seen:
            seen.add(key)
            yield name, found


@pytest.mark.timeout(400)
def test_every_shift_of_every_zone_is_handled_as_by_the_walk() -> None:
    """For 2020-2040 the times around each shift, forwards and backwards, are those of the minute walk."""
    walked = 0
    for name, found in families():
        for at in found:
            walked += 1
            ticks = list(clock(ZoneInfo(name), at - AROUND, at + AROUND, settle=timedelta(0)))
            for expected, dst in EVERYWHERE:
                due = [instant for instant, wall, highest in ticks if is_due(expected, wall, highest, dst)]
                assert_times(expected, ZoneInfo(name), at, due, dst)
    assert walked > 1000


def assert_times(expected: Case, zone: ZoneInfo, at: datetime, due: list[datetime], dst: DstPolicy) -> None:
    """Check that between `at` -/+ AROUND exactly `due` is found, in both directions."""
    expr = parse(expected.text)
    found = [utc(moment) for moment in times(expr, at - AROUND, zone, len(due) + 1, dst)]
    assert found[:-1] == due, (expected, zone, at)
    assert found[-1] > at + AROUND
    back = [utc(previous_time(expr, moment, zone, dst)) for moment in found]
    assert back[1:] == due, (expected, zone, at)


# A library that was made from observations of the same daemon

CRONSIM_IS_WRONG = {
    "Australia/Lord_Howe": "half-hour shifts: it misses 01:30 in the repeated half hour",
}
CRONSIM_READS_OTHERWISE = re.compile(
    r"\b(\d+)-\1/"
)  # a range of one value with a step: it goes on to the end


@given(cases(extended=False), st.sampled_from(sorted({*ODD_ZONES} - {*CRONSIM_IS_WRONG})), instants())
def test_cronsim_agrees(expected: Case, name: str, after: datetime) -> None:
    """A second engine with Debian's rules finds the same next times, where it is known to be right."""
    zone = ZoneInfo(name)
    local = after.astimezone(zone)
    assume(not CRONSIM_READS_OTHERWISE.search(expected.text))
    assume(expected.wildcard or not local.fold)  # in a repeated hour its times go back to the first pass
    try:
        first = next(CronSim(expected.text, local))
    except (CronSimError, StopIteration):  # it refuses dates that never come, or gives up after 50 years
        return
    assert utc(next_time(parse(expected.text), after, zone)) == utc(first)
