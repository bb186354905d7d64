"""What a schedule wants besides its times and its command: frozen values, cheap to import."""

from typing import Literal

from msgspec import Struct

from shiftboss.core.backoff import Backoff

Overlap = Literal["skip", "queue", "replace", "allow"]
"""What becomes of an occurrence while a run of an earlier one lives: it is left out, it waits (one of them), it
takes the place of the run, or both run."""

CatchUp = Literal["none", "once"]
"""What becomes of times that were missed: nothing, or one run for all of them."""

MOST_RUNS = 32
"""As many runs of one schedule may go on at once, whatever it allows."""


class Policy(Struct, frozen=True):
    """The wishes of one schedule. Lengths are seconds; 0 means: no limit, or none.

    `catch_up`: None is the default, see `schedule_policy.catches_up`. `deadline_seconds`: a start later than
    that after its planned second does not happen (None: the default, see `schedule_policy.latest_start`).
    `spread` is what holds: the backend takes it from a command whose tasks inside would suffer. `asks_inside`: the
    command has such tasks, with times of their own (Laravel). `leaves_background`: what a run leaves behind is meant
    to live on.
    """

    overlap: Overlap = "skip"
    timeout_seconds: int = 0
    stop_seconds: int = 30
    retries: int = 0
    backoff: Backoff = Backoff(first_seconds=10.0, cap_seconds=3600.0)
    catch_up: CatchUp | None = None
    deadline_seconds: int | None = None
    jitter_seconds: int = 0
    spread: bool = False
    only_if: bool = False
    expect_within: int = 0
    asks_inside: bool = False
    leaves_background: bool = False
