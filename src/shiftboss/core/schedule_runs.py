"""What the reports about a run mean for its occurrence: one total table over (stage, event)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from shiftboss.core.backoff import Tally
from shiftboss.core.occurrence import Ending, Occurrence, Result, Stage
from shiftboss.core.schedule_values import (
    RUN_EVENTS,
    Begin,
    Checked,
    Exited,
    Forget,
    Gone,
    Halt,
    Lost,
    NeverStarted,
    NotSpawned,
    RunEvent,
    Scene,
    Spawned,
    Step,
    Track,
    conclude,
    drop,
    keep,
    put,
)

KILL_MARGIN_SECONDS = 2.0
"""The keeper kills after the wait of the schedule; our order to kill follows only if that had no effect."""


def claim(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    """Start an occurrence: its row first."""
    claimed = replace(occurrence, stage=Stage.CLAIMED)
    begin = Begin(scene.terms.address, claimed.lane, claimed.run)
    return put(track, claimed), (keep(scene, claimed), begin)


class _End(NamedTuple):
    """How a run ended, if nobody asked it to."""

    result: Result
    ended: float | None = None


def _finish(track: Track, occurrence: Occurrence, end: _End, scene: Scene) -> Step:
    """Decide what the end of a run means, in the light of what was asked of it."""
    return _settle(track, occurrence, end._replace(result=_judged(occurrence, end, scene)), scene)


def _settle(track: Track, occurrence: Occurrence, end: _End, scene: Scene) -> Step:
    """Decide whether there is another attempt, or an outcome."""
    result = end.result
    may_retry = occurrence.ending in (None, Ending.TIMED_OUT) and result.outcome in ("failed", "timed_out")
    wanted = not (track.paused or track.halted or track.removed)
    if may_retry and wanted and occurrence.attempt <= scene.terms.policy.retries:
        return _retry(track, occurrence, scene)
    if occurrence.attempt > 1 and result.outcome in ("failed", "timed_out"):
        result = result._replace(reason=f"{result.reason} (attempt {occurrence.attempt})")
    return conclude(track, occurrence, result, scene, end.ended)


def _judged(occurrence: Occurrence, end: _End, scene: Scene) -> Result:
    result, timeout = end.result, scene.terms.policy.timeout_seconds
    ran_out = (
        timeout > 0
        and result.outcome == "failed"
        and occurrence.began is not None
        and end.ended is not None
        and end.ended - occurrence.began >= timeout
        and _has_lived(occurrence, timeout, scene)
    )
    if occurrence.ending is Ending.TIMED_OUT or (occurrence.ending is None and ran_out):
        reason = occurrence.ending_reason or f"it ran longer than {timeout} s"
        return Result("timed_out", reason, result.exit_status)
    if occurrence.ending is not None:
        return Result("failed", occurrence.ending_reason, result.exit_status)
    return result


def _has_lived(occurrence: Occurrence, seconds: int, scene: Scene) -> bool:
    """Return whether a run can have lived so long: by the real clock alone, one that was set would end it."""
    return occurrence.since is None or scene.now.mono - occurrence.since >= seconds


def _retry(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    policy, address = scene.terms.policy, scene.terms.address
    share = (occurrence.due * 7 + occurrence.attempt * 13) % 10 / 10
    delay = policy.backoff.delay(Tally(failures=occurrence.attempt), share)
    waiting = Occurrence(
        occurrence.number,
        occurrence.due,
        start_at=min(occurrence.start_at, scene.now.wall),
        attempt=occurrence.attempt + 1,
        resume=scene.now.mono + delay,
        cause=occurrence.cause,
        late=occurrence.late,
    )
    forget = Forget(address, occurrence.lane, occurrence.run)
    # another engine, perhaps after a boot, has no use for our monotonic time
    kept = replace(waiting, start_at=scene.now.wall + delay)
    return put(track, waiting), (keep(scene, kept), forget)


# ---- the table: (track, occurrence, event, scene) -> (track, effects)

RunAct = Callable[[Track, Occurrence, RunEvent, Scene], Step]


def _ignore(track: Track, _occurrence: Occurrence, _event: RunEvent, _scene: Scene) -> Step:
    return track, ()


def _checked(track: Track, occurrence: Occurrence, event: RunEvent, scene: Scene) -> Step:
    assert isinstance(event, Checked)
    reason = "" if event.passed else f"condition: {event.words}"
    if track.paused and not occurrence.cause.startswith("by "):  # somebody did so while it was asked
        reason = f"paused by {track.paused}"
    if not reason:
        return claim(track, occurrence, scene)
    bare = replace(occurrence, run=0, lane=0)
    return conclude(track, bare, Result("skipped", reason), scene)


def _check_again(track: Track, occurrence: Occurrence, _event: RunEvent, _scene: Scene) -> Step:
    return put(track, replace(occurrence, stage=Stage.WAITING, run=0, lane=0)), ()


def _lives(track: Track, occurrence: Occurrence, event: RunEvent, scene: Scene) -> Step:
    assert isinstance(event, Spawned)
    running = replace(occurrence, stage=Stage.RUNNING, began=event.began, since=event.since)
    return put(track, running), (keep(scene, running),)


def _lives_still(track: Track, occurrence: Occurrence, event: RunEvent, _scene: Scene) -> Step:
    """Take over what is known of a run from before."""
    assert isinstance(event, Spawned)
    return put(track, replace(occurrence, began=event.began, since=event.since)), ()


def _halt_late(track: Track, occurrence: Occurrence, event: RunEvent, scene: Scene) -> Step:
    """Ask again: its end was asked for before it lived."""
    assert isinstance(event, Spawned)
    known = replace(occurrence, began=event.began, since=event.since)
    return put(track, known), (Halt(scene.terms.address, occurrence.lane, occurrence.run),)


def _not_spawned(track: Track, occurrence: Occurrence, event: RunEvent, scene: Scene) -> Step:
    assert isinstance(event, NotSpawned)
    return _finish(track, occurrence, _End(Result("failed", event.words)), scene)


def _exited(track: Track, occurrence: Occurrence, event: RunEvent, scene: Scene) -> Step:
    assert isinstance(event, Exited)
    if event.ended <= occurrence.asked_at and not event.signalled:  # it ended by itself before it could hear
        occurrence = replace(occurrence, ending=None, ending_reason="")
    result = Result("ran" if event.ok else "failed", event.words, event.status)
    end = _End(result, event.ended)
    if not event.leftovers:
        return _finish(track, occurrence, end, scene)
    address = scene.terms.address
    if scene.terms.policy.leaves_background and occurrence.ending is None:
        return _detach(track, occurrence, end, scene)
    kill_at = scene.now.mono + scene.terms.policy.stop_seconds + KILL_MARGIN_SECONDS
    leaving = replace(
        occurrence,
        stage=Stage.LEAVING,
        result=_judged(occurrence, end, scene),
        ended=event.ended,
        kill_at=occurrence.kill_at or kill_at,
    )
    return put(track, leaving), (Halt(address, occurrence.lane, occurrence.run),)


def _detach(track: Track, occurrence: Occurrence, end: _End, scene: Scene) -> Step:
    """Conclude the occurrence, and let what it left behind live."""
    track, effects = _finish(track, occurrence, end, scene)
    rest = tuple(e for e in effects if not isinstance(e, Forget))
    track = replace(track, counter=track.counter + 1)
    shadow = replace(occurrence, number=track.counter, stage=Stage.DETACHED, kill_at=None)
    return put(track, shadow), rest


def _gone_untold(track: Track, occurrence: Occurrence, _event: RunEvent, scene: Scene) -> Step:
    result = Result("unknown", "the run is gone, and how it ended is not known")
    return _finish(track, occurrence, _End(result), scene)


def _left(track: Track, occurrence: Occurrence, _event: RunEvent, scene: Scene) -> Step:
    assert occurrence.result is not None
    return _settle(track, occurrence, _End(occurrence.result, occurrence.ended), scene)


def _lost(track: Track, occurrence: Occurrence, _event: RunEvent, scene: Scene) -> Step:
    told = {
        Stage.CLAIMED: "it was about to be started when all ended; whether it was is not known, and it is not started again",
        Stage.RUNNING: "it ran when all ended; how it ended is not known",
    }
    reason = told.get(occurrence.stage, "it was being stopped when all ended; how it ended is not known")
    return conclude(track, occurrence, Result("unknown", reason), scene)


def _never(track: Track, occurrence: Occurrence, _event: RunEvent, scene: Scene) -> Step:
    waiting = replace(occurrence, stage=Stage.WAITING, run=0, lane=0, kill_at=None, ending=None)
    if occurrence.ending is not None:
        return conclude(track, occurrence, Result("skipped", occurrence.ending_reason), scene)
    return put(track, waiting), (keep(scene, waiting),)


def _shadow_gone(track: Track, occurrence: Occurrence, _event: RunEvent, scene: Scene) -> Step:
    return drop(track, occurrence), (Forget(scene.terms.address, occurrence.lane, occurrence.run),)


S = Stage
TABLE: Mapping[Stage, Mapping[type[RunEvent], RunAct]] = {
    S.WAITING: dict.fromkeys(RUN_EVENTS, _ignore),
    S.CHECKING: {
        Checked: _checked,
        Spawned: _ignore,
        NotSpawned: _ignore,
        Exited: _ignore,
        Gone: _ignore,
        Lost: _check_again,
        NeverStarted: _check_again,
    },
    S.CLAIMED: {
        Checked: _ignore,
        Spawned: _lives,
        NotSpawned: _not_spawned,
        Exited: _exited,
        Gone: _gone_untold,
        Lost: _lost,
        NeverStarted: _never,
    },
    S.RUNNING: {
        Checked: _ignore,
        Spawned: _lives_still,
        NotSpawned: _ignore,
        Exited: _exited,
        Gone: _gone_untold,
        Lost: _lost,
        NeverStarted: _lost,
    },
    S.STOPPING: {
        Checked: _ignore,
        Spawned: _halt_late,
        NotSpawned: _not_spawned,
        Exited: _exited,
        Gone: _gone_untold,
        Lost: _lost,
        NeverStarted: _never,
    },
    S.LEAVING: {
        Checked: _ignore,
        Spawned: _ignore,
        NotSpawned: _ignore,
        Exited: _ignore,
        Gone: _left,
        Lost: _left,
        NeverStarted: _left,
    },
    S.DETACHED: {
        Checked: _ignore,
        Spawned: _lives_still,
        NotSpawned: _ignore,
        Exited: _ignore,
        Gone: _shadow_gone,
        Lost: _shadow_gone,
        NeverStarted: _shadow_gone,
    },
}
