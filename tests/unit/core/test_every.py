"""Intervals: their texts, and instants that depend on nothing but the clock."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.errors import UserError
from shiftboss.core.every import ANCHOR, duration_text, next_instant, parse_duration, previous_instant


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("90s", 90, "90 seconds"),
        ("1s", 1, "1 second"),
        ("5m", 300, "5 minutes"),
        ("1h30m", 5400, "1 hour 30 minutes"),
        ("1h 30m", 5400, "1 hour 30 minutes"),
        ("2d", 172_800, "2 days"),
    ],
)
def test_lengths_of_time(text: str, seconds: int, words: str) -> None:
    assert parse_duration(text) == seconds
    assert duration_text(seconds) == words


@pytest.mark.parametrize(
    "text", ["", "90", "s", "0s", "-5s", "1.5h", "30m1h", "5 minutes", "1w", "400d", "٣s"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_duration(text)
    assert refused.value.hint


def test_the_anchor_is_a_monday_midnight() -> None:
    moment = datetime.fromtimestamp(ANCHOR, UTC)
    assert (moment.isoweekday(), moment.hour, moment.minute, moment.second) == (1, 0, 0, 0)


@given(st.integers(1, 10**6), st.floats(0, 4e9))
def test_next_and_previous_are_the_nearest_multiples(seconds: int, moment: float) -> None:
    """Strictly later and strictly earlier, on the grid of the anchor, and not a whole interval away."""
    following, before = next_instant(seconds, moment), previous_instant(seconds, moment)
    assert (following - ANCHOR) % seconds == (before - ANCHOR) % seconds == 0
    assert before < moment < following
    assert following - moment <= seconds
    assert moment - before <= seconds
    assert previous_instant(seconds, following + 0.5 if seconds > 1 else following + 1) == following
