"""The checker of the test that kills: it finds what it is there for, and nothing else."""

import pytest
from occurrence_check import faults, share_that_ran

from shiftboss.api.calls import Occurrence

NAMES = ["i/app/tick/1/11", "i/app/tick/1/12", "i/app/tick/1/15"]


def row(number: int, due: int, outcome: str | None = "ran", *, last: int = 0, run: int = 0) -> Occurrence:
    return Occurrence("app/tick", number, due, last or due, outcome=outcome, run=run)


GOOD = [
    row(1, 100, run=11),
    row(2, 101, "failed", run=12),
    row(3, 102, "missed", last=104),
    row(4, 105, "unknown", run=15),
    row(5, 106, "skipped"),
]


def test_a_history_that_fits_has_no_faults() -> None:
    assert faults(GOOD, NAMES) == []
    assert share_that_ran(GOOD) == 2 / 7


@pytest.mark.parametrize(
    ("rows", "names", "fault"),
    [
        (GOOD, [*NAMES, NAMES[0]], "run 11 was started 2 times"),
        ([*GOOD, row(6, 106, run=16)], [*NAMES, "i/app/tick/1/16"], "second 106 is told 2 times"),
        ([*GOOD, row(6, 103, run=16)], [*NAMES, "i/app/tick/1/16"], "second 103 is told 2 times"),
        ([*GOOD, row(6, 107, run=11)], NAMES, "run 11 is told 2 times"),
        (GOOD, [*NAMES, "i/app/tick/2/14"], "run 14 is not in the history"),
        (GOOD[:1] + GOOD[2:], [NAMES[0], NAMES[2]], "second 101 is unaccounted"),
        ([GOOD[0], *GOOD[3:]], [NAMES[0], NAMES[2]], "second 104 is unaccounted"),
        ([*GOOD, row(6, 107, None)], NAMES, "occurrence 6 has no outcome"),
        ([*GOOD, row(6, 107, run=17)], NAMES, "run 17 is told as ran and was not started"),
        (
            [*GOOD, row(6, 107, "missed", run=17)],
            [*NAMES, "i/app/tick/1/17"],
            "run 17 is told as missed and was started",
        ),
        ([], [], "no second is accounted for"),
    ],
)
def test_what_is_doubled_or_unaccounted_is_found(
    rows: list[Occurrence], names: list[str], fault: str
) -> None:
    assert fault in faults(rows, names)


def test_an_engine_that_tells_nearly_all_as_missed_has_a_small_share() -> None:
    rows = [row(1, 100, run=11), row(2, 101, "missed", last=198), row(3, 199, run=12)]
    assert not faults(rows, NAMES[:2])
    assert share_that_ran(rows) == 0.02
