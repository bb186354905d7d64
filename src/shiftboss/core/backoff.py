"""How long to wait before the next start. Pure: the jitter is an argument."""

from msgspec import Struct

_MOST_DOUBLINGS = 32  # 2**32 seconds is past any cap; keeps the power small after a year of failures


class Tally(Struct, frozen=True):
    """The disappointments in a row of one process, since its last good run or since somebody started it.

    `failures`: starts that failed, and runs that ended before they counted as running.
    `brief`: runs that did count as running, and ended soon after.
    """

    failures: int = 0
    brief: int = 0


class Backoff(Struct, frozen=True):
    """The delay before a restart: none after a run that lasted, exponential otherwise (seconds).

    A run of `good_seconds` clears the tally. A run that lasted, but not that long, is followed at once
    too, `burst` times in a row; after that the delay grows, so that a program that lives a moment longer
    than its start seconds does not loop for ever (Supervisor does that).
    """

    first_seconds: float = 1.0
    cap_seconds: float = 60.0
    good_seconds: float = 10.0
    burst: int = 5

    def count(self, tally: Tally, uptime: float, *, lasted: bool, starved: bool = False) -> Tally:
        """Return the tally after a run of `uptime` seconds. One that ran out of memory has failed, though it lasted."""
        if lasted and uptime >= self.good_seconds:
            return Tally(int(starved))
        if lasted and not starved:
            return Tally(0, tally.brief + 1)
        return Tally(tally.failures + 1, tally.brief)

    def delay(self, tally: Tally, jitter: float) -> float:
        """Return the seconds to wait; `jitter` in [0, 1) takes up to half of the delay away."""
        steps = max(tally.failures, tally.brief - self.burst)
        if steps <= 0:
            return 0.0
        full = self.first_seconds * 2.0 ** min(steps - 1, _MOST_DOUBLINGS)
        return min(full, self.cap_seconds) * (1 - jitter / 2)


DEFAULT_BACKOFF = Backoff()
