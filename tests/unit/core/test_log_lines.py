"""Times at the beginning of log lines, and what people mean by --since."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.errors import UserError
from shiftboss.core.log_lines import harmless, lines_since, parse_since, stamp

RIGA = ZoneInfo("Europe/Riga")
NOW = datetime(2026, 11, 23, 14, 30, tzinfo=RIGA)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h ago", NOW - timedelta(hours=2)),
        (" 3 d ", NOW - timedelta(days=3)),
        ("08:15", NOW.replace(hour=8, minute=15)),
        ("14:30", NOW),
        ("14:31", NOW.replace(minute=31) - timedelta(days=1)),
        ("23:00", datetime(2026, 11, 22, 23, tzinfo=RIGA)),
        ("08:15:30", NOW.replace(hour=8, minute=15, second=30)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=RIGA)),
        ("2026-11-22T06:00", datetime(2026, 11, 22, 6, tzinfo=RIGA)),
        ("2026-11-22T06:00:00Z", datetime(2026, 11, 22, 6, tzinfo=UTC)),
    ],
)
def test_since_is_read_as_people_write_it(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        (
            "2027-03-28T01:15Z",
            "30m",
            "2027-03-28T00:45Z",
        ),  # an hour of the clock on the wall was left out since
        ("2027-03-28T01:15Z", "2h", "2027-03-27T23:15Z"),
        ("2027-10-31T01:10Z", "1h", "2027-10-31T00:10Z"),  # 03:10 for the second time
        ("2027-10-31T01:10Z", "03:30", "2027-10-31T00:30Z"),  # that was in the first of the two hours
        ("2027-10-31T01:10Z", "03:05", "2027-10-31T01:05Z"),
        ("2027-10-31T03:00Z", "03:05", "2027-10-31T01:05Z"),
    ],
)
def test_since_counts_real_time_where_the_clock_on_the_wall_changes(now: str, text: str, moment: str) -> None:
    found = parse_since(text, datetime.fromisoformat(now).astimezone(RIGA))
    assert found.astimezone(UTC) == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:00", "10", "10w", "2026-13-01", "999999d", "-5m", "x" * 300]
)
def test_since_that_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UserError, match="is not a time") as error:
        parse_since(text, NOW)
    assert "14:30" in error.value.hint
    assert len(error.value.message) < 80


@given(st.text(max_size=12))
def test_since_of_any_text_is_a_time_with_a_zone_or_an_error_for_people(text: str) -> None:
    try:
        moment = parse_since(text, NOW)
    except UserError:
        return
    assert moment.tzinfo is not None


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("[2026-11-23 14:00:00] local.INFO: done", datetime(2026, 11, 23, 14, tzinfo=RIGA)),
        ("2026-11-23 14:00:00,123 INFO", datetime(2026, 11, 23, 14, tzinfo=RIGA)),
        ("2026-11-23T14:00:00+00:00 x", datetime(2026, 11, 23, 14, tzinfo=UTC)),
        ("2026-11-23T14:00:00.5Z x", datetime(2026, 11, 23, 14, tzinfo=UTC)),
        ("2026-11-23T14:00:00-0500 x", datetime(2026, 11, 23, 19, tzinfo=UTC)),
        ("2026-13-23 14:00:00 no such month", None),
        ("  2026-11-23 14:00:00 not at the beginning", None),
        ("14:00 no date", None),
        ("", None),
    ],
)
def test_the_time_of_a_line_is_the_one_at_its_beginning(line: str, moment: datetime | None) -> None:
    assert stamp(line, RIGA) == moment


def test_lines_without_a_time_belong_to_the_one_before() -> None:
    lines = [
        "before",
        "[2026-11-23 14:00:00] old",
        "  trace",
        "[2026-11-23 14:20:00] new",
        "  trace",
        "[2026-11-23 14:10:00] late",
    ]

    assert lines_since(lines, NOW - timedelta(minutes=10), 1) == lines[3:]
    assert lines_since(lines, NOW - timedelta(days=1), 1) == lines[1:]
    assert lines_since(lines, NOW, 1) == ()


def test_a_log_without_times_is_kept_whole() -> None:
    assert lines_since(["a", "b", "c"], NOW, 2) == ["b", "c"]
    assert lines_since(["a", "b"], NOW, 0) == ()


def test_only_colours_reach_a_terminal() -> None:
    line = "\x1b[1;31mred\x1b[0m \x1b[2Jcleared \x1b]0;title\x07 a\tb \x9b31m \x7f\r"

    assert harmless(line) == "\x1b[1;31mred\x1b[0m [2Jcleared ]0;title a\tb 31m "


@given(st.text(max_size=40))
def test_what_is_harmless_stays_harmless(text: str) -> None:
    once = harmless(text)
    assert harmless(once) == once
    assert "\r" not in once
