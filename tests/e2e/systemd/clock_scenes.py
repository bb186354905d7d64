"""What the clock of a server goes through, in Riga: steps both ways and both changes to and from summer time.

Each leg says, by hand, what is to become of every time that it touches. Where the clock is set back, a time that
comes a second time is run again, or not, as cron(8) does it: what has a fixed time of the day only if the clock was
set back by more than three hours, what has a star always (steps of a minute or less repeat nothing).
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

BEAT_SECONDS = 3
# half past three is in both hours that summer time takes and gives: 28 March and 31 October 2027
PROJECT = f"""
[schedules.beat]
every = "{BEAT_SECONDS}s"
backend = "native"
command = ["/bin/true"]

[schedules.daily]
cron = "30 3 * * *"
backend = "native"
command = ["/bin/true"]

[schedules.hourly]
cron = "0 * * * *"
backend = "native"
command = ["/bin/true"]

[schedules.thirds]
cron = "*/20 3 * * *"
backend = "native"
command = ["/bin/true"]
"""
ZONE = "Europe/Riga"
WATCHED = ("daily", "hourly", "thirds")
HOUR, DAY = 3600, 86_400
Outcomes = dict[str, str]  # by time


@dataclass(frozen=True)
class Leg:
    """Set to `at`, at the time `when` set by `step` seconds, gone on to `until`; then this is in the history.

    `rows` None: not told here (a way of months to the next scene).
    """

    name: str
    at: str = ""
    when: str = ""
    step: float = 0
    until: str = ""
    rows: dict[str, Outcomes] | None = field(default_factory=dict)

    def order(self) -> dict[str, float]:
        """Return what clock_walk.py wants to know."""
        times = {name: moment(text) for name in ("at", "when", "until") if (text := getattr(self, name))}
        return times | ({"step": self.step} if self.step else {})


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def past(name: str, due: str, rows: dict[str, Outcomes]) -> Leg:
    """Return the leg from a moment before a time to a moment after it."""
    at = datetime.fromisoformat(due)
    before, after = at - timedelta(seconds=1.5), at + timedelta(seconds=1)
    return Leg(name, at=before.isoformat(), until=after.isoformat(), rows=rows)


def times(first: str, last: str, outcome: str, minutes: int = 60) -> Outcomes:
    """Return the times from first to last, by default each full hour, all with one outcome."""
    found, at = {}, datetime.fromisoformat(first)
    while at <= datetime.fromisoformat(last):
        found[at.isoformat()] = outcome
        at += timedelta(minutes=minutes)
    return found


SECOND = (
    Leg("to a day in winter", at="2027-01-12T10:10+02:00", rows=None),
    Leg(
        "a second forward, over a full hour",
        at="2027-01-12T10:59:58.500+02:00",
        when="2027-01-12T10:59:59.500+02:00",
        step=1,
        until="2027-01-12T11:00:01+02:00",
        rows={"hourly": {"2027-01-12T11:00+02:00": "ran"}},
    ),
    Leg(
        "a second back, over a full hour: once",
        at="2027-01-12T11:59:58.500+02:00",
        when="2027-01-12T12:00:00.700+02:00",
        step=-1,
        until="2027-01-12T12:00:01+02:00",
        rows={"hourly": {"2027-01-12T12:00+02:00": "ran"}},
    ),
)

HOURS = (
    Leg(
        "an hour forward",
        at="2027-01-13T02:59:56+02:00",
        when="2027-01-13T02:59:57+02:00",
        step=HOUR,
        until="2027-01-13T04:00:01+02:00",
        rows={
            "daily": {"2027-01-13T03:30+02:00": "ran"},
            "hourly": times("2027-01-12T13:00+02:00", "2027-01-13T03:00+02:00", "missed")
            | {"2027-01-13T04:00+02:00": "ran"},
            "thirds": times("2027-01-13T03:00+02:00", "2027-01-13T03:40+02:00", "missed", 20),
        },
    ),
    Leg("an hour back", step=-HOUR),
    past(
        "its fixed time comes again",
        "2027-01-13T03:30+02:00",
        rows={"thirds": {"2027-01-13T03:20+02:00": "missed"}},
    ),
    past(
        "its full hour comes again",
        "2027-01-13T04:00+02:00",
        rows={
            "hourly": {"2027-01-13T04:00+02:00": "ran"},
            "thirds": {"2027-01-13T03:40+02:00": "missed"},
        },
    ),
)

DAYS = (
    Leg(
        "a day forward",
        at="2027-01-13T04:10+02:00",
        step=DAY,
        rows={
            "daily": {"2027-01-14T03:30+02:00": "ran"},
            "hourly": times("2027-01-13T05:00+02:00", "2027-01-14T04:00+02:00", "missed"),
            "thirds": times("2027-01-14T03:00+02:00", "2027-01-14T03:40+02:00", "missed", 20),
        },
    ),
    Leg("a day back", step=-DAY),
    past(
        "the day comes again",
        "2027-01-13T05:00+02:00",
        rows={"hourly": {"2027-01-13T05:00+02:00": "ran"}},
    ),
)

# 03:00 becomes 04:00 on 28 March 2027, which is 01:00 UTC
SPRING = (
    Leg("to the spring", at="2027-03-28T02:10+02:00", rows=None),
    Leg(
        "an hour forward, over the change",
        at="2027-03-28T02:59:56+02:00",
        when="2027-03-28T02:59:57+02:00",
        step=HOUR,
        until="2027-03-28T05:00:01+03:00",
        rows={
            "daily": {"2027-03-28T04:00+03:00": "ran"},
            "hourly": {"2027-03-28T04:00+03:00": "missed", "2027-03-28T05:00+03:00": "ran"},
        },
    ),
    Leg("an hour back", step=-HOUR),
    Leg("a day back", step=-DAY),
    past(
        "to the change",
        "2027-03-28T04:00+03:00",
        rows={
            "daily": {"2027-03-27T03:30+02:00": "ran", "2027-03-28T04:00+03:00": "ran"},
            "hourly": times("2027-03-27T04:00+02:00", "2027-03-28T02:00+02:00", "missed")
            | {"2027-03-28T04:00+03:00": "ran"},
            "thirds": times("2027-03-27T03:20+02:00", "2027-03-27T03:40+02:00", "missed", 20),
        },
    ),
    past(
        "the day after, which tells what the change took",
        "2027-03-29T03:00+03:00",
        rows={
            "hourly": times("2027-03-28T05:00+03:00", "2027-03-29T02:00+03:00", "missed")
            | {"2027-03-29T03:00+03:00": "ran"},
            "thirds": {"2027-03-28T04:00+03:00": "skipped", "2027-03-29T03:00+03:00": "ran"},
        },
    ),
)

# 04:00 becomes 03:00 on 31 October 2027, which is 01:00 UTC
AUTUMN = (
    Leg("to the autumn", at="2027-10-31T03:22+03:00", rows=None),
    past(
        "its fixed time, for the first time",
        "2027-10-31T03:30+03:00",
        rows={"daily": {"2027-10-31T03:30+03:00": "ran"}},
    ),
    Leg(
        "an hour forward, over the change",
        step=HOUR,
        rows={
            "hourly": {"2027-10-31T03:00+02:00": "missed"},
            "thirds": {
                "2027-10-31T03:40+03:00": "missed",
                "2027-10-31T03:00+02:00": "missed",
                "2027-10-31T03:20+02:00": "missed",
            },
        },
    ),
    Leg("an hour back, over the change", step=-HOUR),
    past(
        "through the change",
        "2027-10-31T03:00+02:00",
        rows={
            "hourly": {"2027-10-31T03:00+02:00": "ran"},
            "thirds": {"2027-10-31T03:40+03:00": "missed", "2027-10-31T03:00+02:00": "ran"},
        },
    ),
    past(
        "its fixed time comes again",
        "2027-10-31T03:30+02:00",
        rows={"thirds": {"2027-10-31T03:20+02:00": "missed"}},
    ),
    past(
        "the day after, which tells what the change took",
        "2027-11-01T03:30+02:00",
        rows={
            "daily": {"2027-10-31T03:00+02:00": "skipped", "2027-11-01T03:30+02:00": "ran"},
            "hourly": times("2027-10-31T04:00+02:00", "2027-11-01T03:00+02:00", "missed"),
            "thirds": {"2027-10-31T03:40+02:00": "missed"}
            | times("2027-11-01T03:00+02:00", "2027-11-01T03:20+02:00", "missed", 20),
        },
    ),
)

LEGS = (*SECOND, *HOURS, *DAYS, *SPRING, *AUTUMN)


def orders(project: str, legs: tuple[Leg, ...] = LEGS) -> str:
    """Return the argument of clock_walk.py."""
    watched = [f"{project}/{name}" for name in WATCHED]
    return json.dumps({"beat": f"{project}/beat", "watched": watched, "legs": [leg.order() for leg in legs]})


def check(project: str, told: list[dict[str, Any]], legs: tuple[Leg, ...] = LEGS) -> None:
    """Compare what the walk tells with what each leg wants."""
    assert len(told) == len(legs)
    for leg, found in zip(legs, told, strict=True):
        for name in WATCHED if leg.rows is not None else ():
            _check_rows(
                f"{leg.name}: {name}", (leg.rows or {}).get(name, {}), found["rows"][f"{project}/{name}"]
            )
        _check_beats(leg, found["rows"][f"{project}/beat"], found["seconds"])


def _check_rows(what: str, wanted: Outcomes, rows: list[list[Any]]) -> None:
    """Check that each time that is wanted is in exactly one row, of this outcome and with a reason; and no other is."""
    open_times = {moment(text): outcome for text, outcome in wanted.items()}
    assert len(open_times) == len(wanted)
    for due, last, outcome, reason in rows:
        within = [at for at in open_times if due <= at <= last]
        assert within, f"{what}: {rows} has what nobody wants, or twice"
        assert (due, last) == (min(within), max(within)), f"{what}: {rows}"
        assert {open_times.pop(at) for at in within} == {outcome}, f"{what}: {rows}"
        assert reason or outcome == "ran", f"{what}: {rows}"
    assert not open_times, f"{what}: {rows} lacks {open_times}"


def _check_beats(leg: Leg, rows: list[list[Any]], seconds: float) -> None:
    """Check that what is due every few seconds made no storm, and that no time is in two rows of a leg, or in none."""
    ran = [row for row in rows if row[2] == "ran"]
    assert len(ran) <= seconds / BEAT_SECONDS + 2, f"{leg.name}: {len(ran)} starts in {seconds:.0f} s"
    assert {row[2] for row in rows} <= {"ran", "missed", "skipped"}, f"{leg.name}: {rows}"
    if leg.step >= 0:
        gaps = [after[0] - before[1] for before, after in pairwise(rows)]
        assert set(gaps) <= {BEAT_SECONDS}, f"{leg.name}: {rows}"
