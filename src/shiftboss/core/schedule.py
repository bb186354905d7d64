"""The life of a schedule's occurrences: what is started, skipped, queued, replaced, and how each of them ends.

`step` is pure and total: the clocks come in as an argument, what is to be done comes out as effects. What
becomes due is in `schedule_due`; `agenda` puts many schedules together and knows the limits and the disk.

What always holds (tests/unit/core/test_schedule_machine.py plays the world against it):

- Every time of a schedule ends as exactly one outcome, or is open; none is started twice.
- A run is only asked for after its row is on disk (`Begin` goes with `Keep`), and forgotten only after its
  outcome is.
- An occurrence is over when its process is: no lock, file or timeout can outlive it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from shiftboss.core.backoff import Tally
from shiftboss.core.occurrence import Ending, Occurrence, Result, Stage
from shiftboss.core.schedule_due import arise, take_due
from shiftboss.core.schedule_policy import MOST_LANES, RUNAWAY_WINDOW, most_starts
from shiftboss.core.schedule_values import (
    RUN_EVENTS,
    Admitted,
    Alert,
    Begin,
    Check,
    Checked,
    Closing,
    Effect,
    Event,
    Exited,
    Forget,
    Gone,
    Halt,
    Kill,
    Lost,
    NeverStarted,
    NotSpawned,
    Paused,
    Removed,
    Resumed,
    RunEvent,
    RunNow,
    Scene,
    Spawned,
    Step,
    StopRuns,
    SubMinute,
    TimePassed,
    Track,
    conclude,
    drop,
    in_turn,
    keep,
    put,
)

KILL_AGAIN_SECONDS = 5.0
_KILL_MARGIN_SECONDS = 2.0  # the keeper kills after the wait; ours follows only if that had no effect


def step(track: Track, event: Event, scene: Scene) -> Step:
    """Return the schedule after the event, and what is to be done, in that order."""
    match event:
        case TimePassed():
            return _time_passed(track, scene)
        case Admitted(number):
            return _admitted(track, number, scene)
        case Paused(who):
            return _paused(track, who, scene)
        case Resumed():
            return replace(track, paused="", halted="", starts=()), ()
        case SubMinute(known):
            return replace(track, sub_minute=known), ()
        case RunNow() | StopRuns() | Removed() | Closing():
            return _request(track, event, scene)
        case _:
            return _run_event(track, event, scene)


def _request(track: Track, event: RunNow | StopRuns | Removed | Closing, scene: Scene) -> Step:
    match event:
        case RunNow(cause):
            return _run_now(track, cause, scene)
        case StopRuns(who):
            return _stop_runs(track, who, scene)
        case Removed():
            return _removed(track, scene)
        case Closing():
            return _closing(track, scene)


def _run_event(track: Track, event: RunEvent, scene: Scene) -> Step:
    for occurrence in track.opens:
        if occurrence.run == event.run:
            return TABLE[occurrence.stage][type(event)](track, occurrence, event, scene)
    return track, ()


# ---- time


def _time_passed(track: Track, scene: Scene) -> Step:
    effects: list[Effect] = []
    if not track.removed:
        track, due = take_due(track, scene)
        effects += due
    track, aged = in_turn(track, track.opens, _age, scene)
    track, met = _meet(track, scene)
    return track, (*effects, *aged, *met)


def _age(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    """Look at one occurrence for what takes too long."""
    match occurrence.stage:
        case Stage.WAITING if scene.now.wall >= occurrence.latest:
            return _too_late(track, occurrence, scene)
        case Stage.RUNNING:
            return _age_run(track, occurrence, scene)
        case Stage.STOPPING | Stage.LEAVING if (
            occurrence.kill_at is not None and scene.now.mono >= occurrence.kill_at
        ):
            again = replace(occurrence, kill_at=scene.now.mono + KILL_AGAIN_SECONDS)
            return put(track, again), (Kill(scene.terms.address, occurrence.lane, occurrence.run),)
        case _:
            return track, ()


def _too_late(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    reason = scene.gap.words or "too late: there was no room for it within its time"
    track, effects = conclude(track, occurrence, Result("missed", reason), scene)
    return track, (*effects, Alert("missed", scene.terms.address, reason))


def _age_run(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    policy, address = scene.terms.policy, scene.terms.address
    lived = 0.0 if occurrence.since is None else scene.now.mono - occurrence.since
    if policy.timeout_seconds and lived >= policy.timeout_seconds:
        reason = f"it ran longer than {policy.timeout_seconds} s"
        return _halt(track, occurrence, Ending.TIMED_OUT, reason, scene)
    if policy.expect_within and lived >= policy.expect_within and not occurrence.told_slow:
        words = f"it has run for {lived:.0f} s, longer than the {policy.expect_within} s that are expected"
        return put(track, replace(occurrence, told_slow=True)), (Alert("slow", address, words),)
    return track, ()


def _halt(track: Track, occurrence: Occurrence, ending: Ending, reason: str, scene: Scene) -> Step:
    """Ask a run to end; what it is asked for first decides how it is told."""
    if occurrence.stage not in (Stage.CLAIMED, Stage.RUNNING):
        return track, ()
    kill_at = scene.now.mono + scene.terms.policy.stop_seconds + _KILL_MARGIN_SECONDS
    stopping = replace(
        occurrence,
        stage=Stage.STOPPING,
        ending=ending,
        ending_reason=reason,
        asked_at=scene.now.wall,
        kill_at=kill_at,
    )
    return put(track, stopping), (Halt(scene.terms.address, occurrence.lane, occurrence.run),)


# ---- overlap


def _is_ready(occurrence: Occurrence, scene: Scene) -> bool:
    """Return whether an occurrence waits, and not for its second."""
    if occurrence.stage is not Stage.WAITING:
        return False
    return scene.now.wall >= occurrence.start_at and scene.now.mono >= occurrence.resume


def _is_in_the_way(occurrence: Occurrence) -> bool:
    """Return whether a later occurrence has to care: it runs, or waits to be tried again."""
    return occurrence.is_busy or (occurrence.stage is Stage.WAITING and occurrence.attempt > 1)


def _meet(track: Track, scene: Scene) -> Step:
    """Decide about the occurrences whose second has come while others are in their way."""
    ready = [o for o in track.opens if o.attempt == 1 and _is_ready(o, scene)]
    return in_turn(track, ready, _meet_one, scene)


def _meet_one(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    others = [o for o in track.opens if o.number != occurrence.number and _is_in_the_way(o)]
    earlier = [
        o for o in track.opens if o.number < occurrence.number and o.attempt == 1 and _is_ready(o, scene)
    ]
    if not (others or earlier):
        return track, ()
    match scene.terms.policy.overlap:
        case "skip" if others:
            return conclude(track, occurrence, Result("skipped", f"overlap: {_obstacle(others[0])}"), scene)
        case "queue" if earlier:
            reason = "overlap: one occurrence waits already"
            return conclude(track, occurrence, Result("skipped", reason), scene)
        case "replace":
            return _replace(track, occurrence, [*others, *earlier], scene)
        case "allow" if _free_lane(track) is None:
            reason = f"overlap: {MOST_LANES} runs of it live already"
            return conclude(track, occurrence, Result("skipped", reason), scene)
        case _:
            return track, ()


def _obstacle(other: Occurrence) -> str:
    if other.stage is Stage.WAITING:
        return "an earlier occurrence is being tried again"
    return f"run {other.run} of an earlier occurrence has not ended"


def _replace(track: Track, newer: Occurrence, others: list[Occurrence], scene: Scene) -> Step:
    def give_way(track: Track, other: Occurrence, scene: Scene) -> Step:
        reason = "replaced by a later occurrence"
        if other.stage in (Stage.WAITING, Stage.CHECKING):
            result = Result("failed" if other.attempt > 1 else "skipped", f"overlap: {reason}")
            return conclude(track, other, result, scene)
        return _halt(track, other, Ending.REPLACED, reason, scene)

    return in_turn(track, [o for o in others if o.number < newer.number], give_way, scene)


def _free_lane(track: Track) -> int | None:
    taken = {o.lane for o in track.opens if o.lane}
    return next((lane for lane in range(1, MOST_LANES + 1) if lane not in taken), None)


def ready(track: Track, scene: Scene) -> Occurrence | None:
    """Return the occurrence that starts as soon as there is room (say `Admitted` then), None if there is none."""
    if track.halted or _free_lane(track) is None:
        return None
    waiting = (o for o in track.opens if _is_ready(o, scene))
    found = min(waiting, key=lambda o: o.number, default=None)
    if found is None or scene.terms.policy.overlap == "allow":
        return found
    others = [o for o in track.opens if o.number != found.number and _is_in_the_way(o)]
    return None if others else found


def _admitted(track: Track, number: int, scene: Scene) -> Step:
    occurrence = ready(track, scene)
    lane = _free_lane(track)
    if occurrence is None or occurrence.number != number or lane is None:
        return track, ()
    now = scene.now.mono
    starts = (*(start for start in track.starts if start > now - RUNAWAY_WINDOW), now)
    if len(starts) > most_starts(scene.terms):
        return _run_away(track, len(starts), scene)
    track = replace(track, counter=track.counter + 1, starts=starts)
    chosen = replace(occurrence, run=track.counter, lane=lane, keeper=scene.keeper)
    if scene.terms.policy.only_if and chosen.attempt == 1:
        checking = replace(chosen, stage=Stage.CHECKING)
        check = Check(scene.terms.address, lane, chosen.run)
        return _then_meet(put(track, checking), (keep(scene, checking), check), scene)
    return _then_meet(*_claim(track, chosen, scene), scene)


def _then_meet(track: Track, effects: tuple[Effect, ...], scene: Scene) -> Step:
    """Decide about those that have an occurrence in their way now."""
    track, met = _meet(track, scene)
    return track, (*effects, *met)


def _claim(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    claimed = replace(occurrence, stage=Stage.CLAIMED)
    begin = Begin(scene.terms.address, claimed.lane, claimed.run)
    return put(track, claimed), (keep(scene, claimed), begin)


def _run_away(track: Track, count: int, scene: Scene) -> Step:
    """Stop a schedule that starts more often than its times can mean; only `Resumed` lets it go on."""
    words = f"{count} starts within {RUNAWAY_WINDOW:.0f} s"
    track = replace(track, halted=words)
    waiting = [o for o in track.opens if o.stage is Stage.WAITING]
    track, effects = in_turn(track, waiting, _skip(f"it is stopped: {words}"), scene)
    return track, (Alert("runaway", scene.terms.address, words), *effects)


# ---- what people want


def _skip(reason: str) -> Callable[[Track, Occurrence, Scene], Step]:
    """Return the act that ends what waits for this reason: a retry was a failure already."""

    def act(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
        retried = occurrence.attempt > 1
        result = Result("failed", f"not tried again: {reason}") if retried else Result("skipped", reason)
        return conclude(track, occurrence, result, scene)

    return act


def _paused(track: Track, who: str, scene: Scene) -> Step:
    track = replace(track, paused=who)
    waiting = [o for o in track.opens if o.stage is Stage.WAITING]
    return in_turn(track, waiting, _skip(f"paused by {who}"), scene)


def _run_now(track: Track, cause: str, scene: Scene) -> Step:
    """Make an occurrence due; a pause stops what comes by itself, not what a person asks for."""
    due = int(scene.now.wall)
    track, effects = arise(track, scene, due, start_at=scene.now.wall, cause=cause)
    made = track.opens[-1]
    reason = f"it is stopped: {track.halted}" if track.halted else ""
    if track.paused and not cause.startswith("by "):
        reason = f"paused by {track.paused}"
    if reason:
        track, more = _skip(reason)(track, made, scene)
    else:
        track, more = _meet(track, scene)
    return track, (*effects, *more)


def _stop_runs(track: Track, who: str, scene: Scene) -> Step:
    def end(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
        if occurrence.stage in (Stage.WAITING, Stage.CHECKING):
            return _skip(f"stopped by {who}")(track, occurrence, scene)
        return _halt(track, occurrence, Ending.ASKED, f"stopped by {who}", scene)

    return in_turn(track, track.opens, end, scene)


def _closing(track: Track, scene: Scene) -> Step:
    def end(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
        return _halt(track, occurrence, Ending.ASKED, "shiftboss was shut down", scene)

    return in_turn(track, track.opens, end, scene)


def _removed(track: Track, scene: Scene) -> Step:
    track = replace(track, removed=True)
    waiting = [o for o in track.opens if o.stage in (Stage.WAITING, Stage.CHECKING)]
    return in_turn(track, waiting, _skip("the schedule was removed"), scene)


# ---- the end of a run


class _End(NamedTuple):
    """How a run ended, if nobody asked it to."""

    result: Result
    ended: float | None = None


def _finish(track: Track, occurrence: Occurrence, end: _End, scene: Scene) -> Step:
    """Decide what the end of a run means, in the light of what was asked of it."""
    if end.ended is not None and end.ended <= occurrence.asked_at:  # it ended by itself before it could hear
        occurrence = replace(occurrence, ending=None, ending_reason="")
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
    )
    if occurrence.ending is Ending.TIMED_OUT or (occurrence.ending is None and ran_out):
        reason = occurrence.ending_reason or f"it ran longer than {timeout} s"
        return Result("timed_out", reason, result.exit_status)
    if occurrence.ending is not None:
        return Result("failed", occurrence.ending_reason, result.exit_status)
    return result


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
    return put(track, waiting), (keep(scene, waiting), forget)


# ---- the table: (track, occurrence, event, scene) -> (track, effects)

RunAct = Callable[[Track, Occurrence, RunEvent, Scene], Step]


def _ignore(track: Track, _occurrence: Occurrence, _event: RunEvent, _scene: Scene) -> Step:
    return track, ()


def _checked(track: Track, occurrence: Occurrence, event: RunEvent, scene: Scene) -> Step:
    assert isinstance(event, Checked)
    if event.passed:
        return _claim(track, occurrence, scene)
    bare = replace(occurrence, run=0, lane=0)
    return conclude(track, bare, Result("skipped", f"condition: {event.words}"), scene)


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
    result = Result("ran" if event.ok else "failed", event.words, event.status)
    end = _End(result, event.ended)
    if not event.leftovers:
        return _finish(track, occurrence, end, scene)
    address = scene.terms.address
    if scene.terms.policy.leaves_background and occurrence.ending is None:
        return _detach(track, occurrence, end, scene)
    kill_at = scene.now.mono + scene.terms.policy.stop_seconds + _KILL_MARGIN_SECONDS
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
    shadow = replace(occurrence, number=track.counter, stage=Stage.DETACHED)
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
        Spawned: _ignore,
        NotSpawned: _ignore,
        Exited: _ignore,
        Gone: _shadow_gone,
        Lost: _shadow_gone,
        NeverStarted: _shadow_gone,
    },
}
