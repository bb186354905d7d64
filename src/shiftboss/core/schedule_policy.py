"""What follows from the wishes of a schedule: planned seconds, last seconds, defaults that depend on its times."""

from msgspec import Struct

from shiftboss.core.run_policy import Policy
from shiftboss.core.stable_hash import stable_number
from shiftboss.core.timing import (
    AfterTiming,
    BootTiming,
    Timing,
    has_seconds,
    is_daily_or_rarer,
    next_due,
    shortest_seconds,
)

LATE_SECONDS = 60
"""How late a start may be where nothing is made up for, if the next time is not nearer."""
SPREAD_SECONDS = 55
"""Spread starts lie in the first seconds of the minute: a start in its last ones may slip into the next."""
MOST_LANES = 256
"""As many may live at once, with those that have ended and left something in the background."""
RUNAWAY_WINDOW = 60.0
"""Starts are counted over so many seconds."""
RUNAWAY_SPARE = 20
"""As many more starts than twice those that are due are no runaway."""


class Terms(Struct, frozen=True):
    """One schedule as the engine needs to know it. `address` is `project/schedule`."""

    address: str
    timing: Timing
    policy: Policy = Policy()

    @property
    def project(self) -> str:
        """The project's name."""
        return self.address.partition("/")[0]


def catches_up(terms: Terms) -> bool:
    """Return whether one missed time is made up for: by default what is due once a day or more rarely is."""
    if terms.policy.catch_up is None:
        return is_daily_or_rarer(terms.timing)
    return terms.policy.catch_up == "once"


def planned_start(terms: Terms, due: int) -> float:
    """Return the second at which the occurrence `due` is to start, with spread and jitter; never its next time.

    Both are stable: the spread is that of the project, the jitter that of the occurrence.
    """
    offset = spread_offset(terms)
    jitter = terms.policy.jitter_seconds
    if not (offset or jitter):
        return float(due)
    following = next_due(terms.timing, due)
    room = float(offset + jitter) if following is None else max(0.0, following - 1.0 - due)
    start = min(float(offset), room)
    return due + start + _share(f"{terms.address}\0{due}") * min(jitter, room - start)


def spread_offset(terms: Terms) -> int:
    """Return the second of the minute in which a project's schedules start, 0 where times are not full minutes.

    What has tasks inside is only told to spread if none of them repeats within the minute (`facts.FindRepeats`).
    """
    policy = terms.policy
    is_clock_time = not isinstance(terms.timing, AfterTiming | BootTiming)
    if not policy.spread or not is_clock_time or has_seconds(terms.timing):
        return 0
    return int(_share(terms.project) * SPREAD_SECONDS)


def latest_start(terms: Terms, due: int, start_at: float) -> float:
    """Return the last second at which the occurrence may start (infinity: any).

    Without `starting_deadline` that is a minute, and never the next time; a time that is made up for, or one
    that may wait for another run, has no limit.
    """
    policy = terms.policy
    if policy.deadline_seconds is not None:
        return start_at + policy.deadline_seconds
    if catches_up(terms):
        return float("inf")
    following = next_due(terms.timing, due)
    latest = start_at + LATE_SECONDS
    return latest if following is None else min(latest, following)


def most_starts(terms: Terms) -> int:
    """Return how many starts within RUNAWAY_WINDOW can be meant."""
    due = RUNAWAY_WINDOW / max(1, shortest_seconds(terms.timing))
    return int(2 * due) + RUNAWAY_SPARE


def _share(text: str) -> float:
    """Return a number in [0, 1) that is always the same for the same text."""
    return stable_number(text, 6) / 2**48
