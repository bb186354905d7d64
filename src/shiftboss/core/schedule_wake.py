"""When a schedule has to be looked at again."""

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from shiftboss.core.occurrence import Occurrence, Stage
from shiftboss.core.run_policy import Policy
from shiftboss.core.schedule_values import Scene, Track

_TIMED = frozenset({Stage.RUNNING, Stage.DETACHED})


class Wake(NamedTuple):
    """The next moments by the real-time clock and by the monotonic one; infinity: none."""

    wall: float = inf
    mono: float = inf


def next_wake(track: Track, due: int | None, scene: Scene) -> Wake:
    """Return when `TimePassed` has something to do; `due` is the next time after the mark (None: there is none)."""
    wall = inf if due is None or due <= track.mark or track.removed else float(due)
    mono = inf
    for occurrence in track.opens:
        if occurrence.stage is Stage.WAITING:
            wall = min(
                [wall, *(at for at in (occurrence.start_at, occurrence.latest) if at > scene.now.wall)]
            )
            mono = min([mono, *(at for at in (occurrence.resume,) if at > scene.now.mono)])
        else:
            mono = min([mono, *_run_times(occurrence, scene.terms.policy)])
    return Wake(wall, mono)


def _run_times(occurrence: Occurrence, policy: Policy) -> Iterator[float]:
    if occurrence.kill_at is not None:
        yield occurrence.kill_at
    elif occurrence.stage in _TIMED and occurrence.since is not None:
        if policy.timeout_seconds:
            yield occurrence.since + policy.timeout_seconds
        if policy.expect_within and not occurrence.told_slow and occurrence.stage is Stage.RUNNING:
            yield occurrence.since + policy.expect_within
