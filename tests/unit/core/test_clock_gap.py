"""Three clocks tell a clock step from a suspend from a standstill."""

import pytest

from shiftboss.core.clock_gap import Gap, Moment, classify

START = Moment(1_800_000_000.0, 500.0, 700.0)


@pytest.mark.parametrize(
    ("wall", "mono", "boot", "expected", "kind", "seconds"),
    [
        (10, 10, 10, 10, "none", 0),
        (10.4, 10, 10, 10, "none", 0),
        (3610, 10, 10, 10, "stepped", 3600),
        (-3590, 10, 10, 10, "stepped", -3600),
        (11.5, 10, 10, 10, "stepped", 1.5),
        (600, 10, 600, 10, "suspended", 590),
        (300, 300, 300, 10, "stopped", 290),
        (11, 11, 11, 10, "none", 0),
        (300, 300, 300, None, "none", 0),
        (4200, 10, 600, 10, "stepped", 3600),
        (700, 100, 600, 10, "suspended", 500),
    ],
)
def test_the_largest_cause_is_named(
    wall: float, mono: float, boot: float, expected: float | None, kind: str, seconds: float
) -> None:
    now = Moment(START.wall + wall, START.mono + mono, START.boot + boot)
    found = classify(START, now, None if expected is None else START.mono + expected)
    assert (found.kind, found.seconds) == (kind, pytest.approx(seconds))
    assert bool(found.words) == (kind != "none")


def test_words() -> None:
    assert Gap("stepped", -3600).words == "the clock was set back by 3600 s"
    assert Gap("stepped", 60).words == "the clock was set forward by 60 s"
    assert Gap("suspended", 5).words == "the machine was suspended for 5 s"
