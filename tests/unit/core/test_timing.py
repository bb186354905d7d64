"""Timings: what is due when, and the facts about them that defaults follow from."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.cron import parse
from shiftboss.core.timing import (
    AfterTiming,
    BootTiming,
    EveryTiming,
    NoTiming,
    Timing,
    cron_timing,
    follows_clock,
    has_seconds,
    is_daily_or_rarer,
    left_out,
    next_due,
    previous_due,
    shortest_seconds,
    timing_of_text,
    timing_text,
)

RIGA = ZoneInfo("Europe/Riga")


def cron(text: str, zone: ZoneInfo = RIGA, dst: str = "debian") -> Timing:
    return cron_timing(parse(text), zone, dst)  # type: ignore[arg-type]


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


@given(
    st.sampled_from(
        [cron("*/5 * * * *"), cron("30 3 * * *"), cron("* * * * * *"), EveryTiming(90), cron("0 1-5 * * *")]
    ),
    st.floats(at(2026, 3, 28), at(2026, 3, 30)) | st.floats(at(2026, 10, 24), at(2026, 10, 26)),
)
def test_due_instants_are_whole_seconds_around_any_moment(timing: Timing, moment: float) -> None:
    """Strictly later and earlier, and the way back finds the same instant."""
    following, before = next_due(timing, moment), previous_due(timing, moment)
    assert following is not None
    assert before is not None
    assert before < moment < following
    assert next_due(timing, before) in (following, int(moment))
    assert previous_due(timing, following + 1) == following


@pytest.mark.parametrize(
    ("timing", "daily", "follows", "seconds", "shortest", "text"),
    [
        (cron("* * * * *"), False, True, False, 60, "* * * * * (Europe/Riga)"),
        (cron("*/20 * * * * *"), False, True, True, 20, "*/20 * * * * * (Europe/Riga)"),
        (cron("30 2 * * 1-5"), True, False, False, 86_400, "30 2 * * 1-5 (Europe/Riga)"),
        (cron("0 2,3 * * *", dst="skip"), False, False, False, 3600, "0 2,3 * * * (Europe/Riga, dst skip)"),
        (cron("50,5 8 * * *"), False, False, False, 15 * 60, "50,5 8 * * * (Europe/Riga)"),
        (cron("@reboot"), True, False, False, 1, "@reboot"),
        (EveryTiming(90), False, True, True, 90, "every 90 seconds"),
        (EveryTiming(86_400), True, True, False, 86_400, "every 1 day"),
        (AfterTiming("p/dump"), True, False, False, 1, "after p/dump"),
        (NoTiming(), True, False, False, 1, "by hand"),
    ],
)
def test_facts(timing: Timing, daily: bool, follows: bool, seconds: bool, shortest: int, text: str) -> None:
    found = (is_daily_or_rarer(timing), follows_clock(timing), has_seconds(timing), shortest_seconds(timing))
    assert found == (daily, follows, seconds, shortest)
    assert timing_text(timing) == text


@pytest.mark.parametrize("timing", [BootTiming(), AfterTiming("p/a"), NoTiming()])
def test_what_has_no_clock_is_never_due_by_it(timing: Timing) -> None:
    assert next_due(timing, 0) is None
    assert previous_due(timing, 4e9) is None
    assert left_out(timing, 0, 4e9) == ()


@pytest.mark.parametrize(
    ("text", "dst", "told"),
    [
        ("30 3 * * *", "debian", ["repeat"]),
        ("30 3 * * *", "skip", ["gap", "repeat"]),
        ("0-59 3 * * *", "debian", ["gap", "repeat"]),
        ("*/20 3 * * *", "debian", ["gap"]),
        ("* * * * *", "debian", []),
        ("0 12 * * *", "debian", []),
    ],
)
def test_what_clock_changes_take_from_a_schedule_is_told(text: str, dst: str, told: list[str]) -> None:
    notes = left_out(cron(text, dst=dst), at(2026, 1, 1), at(2026, 12, 31))
    assert [note.kind for note in notes] == told


@pytest.mark.parametrize(
    "timing",
    [
        cron_timing(parse("30 2 * * 1-5"), RIGA),
        cron_timing(parse("*/10 * * * * *"), RIGA, "skip"),
        cron_timing(parse("H 2 * * *", "native", "shop/a"), RIGA),
        *(EveryTiming(seconds) for seconds in (1, 90, 120, 3600, 5400, 86_400, 2 * 86_400 + 3 * 3600 + 4)),
    ],
    ids=timing_text,
)
def test_a_timing_is_read_from_its_text(timing: Timing) -> None:
    assert timing_of_text(timing_text(timing), "shop/a") == timing


@pytest.mark.parametrize(
    "text", ["", "after shop/b", "@reboot", "by hand", "every now", "x (Y)", "0 2 * * * (Mars/Base)"]
)
def test_a_text_that_tells_no_times_is_no_timing(text: str) -> None:
    assert timing_of_text(text, "shop/a") is None
