"""What happened to time between two looks at the clocks: nothing, a clock step, a suspend, a standstill."""

from typing import Literal, NamedTuple

GapKind = Literal["none", "stepped", "suspended", "stopped", "down"]
STEP_SECONDS = 1.0  # ntp slews smaller differences; a step is larger
STOP_SECONDS = 2.0  # a wake-up that is later than this was not load alone


class Moment(NamedTuple):
    """The three clocks at one moment, in seconds: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME (clock_gettime(2)).

    While the machine is suspended the boot time goes on and the monotonic time stands still; only the real
    time can be set.
    """

    wall: float
    mono: float
    boot: float


class Gap(NamedTuple):
    """Why time was lost, and how much of it; `seconds` is negative where the clock was set back."""

    kind: GapKind = "none"
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """The gap in words, an empty string for none."""
        length = f"{abs(self.seconds):.0f} s"
        match self.kind:
            case "stepped":
                return f"the clock was set {'back' if self.seconds < 0 else 'forward'} by {length}"
            case "suspended":
                return f"the machine was suspended for {length}"
            case "stopped":
                return f"the engine stood still for {length}"
            case "down":
                return "shiftboss was not running"
            case "none":
                return ""


NO_GAP = Gap()


def classify(before: Moment, now: Moment, expected: float | None = None) -> Gap:
    """Return what happened between two moments of one boot; of several causes the largest.

    `expected` is the monotonic time at which the second look was to be taken, if one was asked for: whoever
    comes later than that was stopped (SIGSTOP) or starved.
    """
    stepped = (now.wall - before.wall) - (now.boot - before.boot)
    suspended = (now.boot - before.boot) - (now.mono - before.mono)
    late = 0.0 if expected is None else now.mono - expected
    found: list[Gap] = []
    if abs(stepped) >= STEP_SECONDS:
        found.append(Gap("stepped", stepped))
    if suspended >= STEP_SECONDS:
        found.append(Gap("suspended", suspended))
    if late >= STOP_SECONDS:
        found.append(Gap("stopped", late))
    return max(found, key=lambda gap: abs(gap.seconds), default=NO_GAP)
