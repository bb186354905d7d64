"""The life of a schedule's occurrences: what is started, skipped, queued, replaced, and how each of them ends.

`step` is pure and total: the clocks come in as an argument, what is to be done comes out as effects. What
becomes due is in `schedule_due`; `agenda` puts many schedules together and knows the limits and the disk.

What always holds (tests/unit/core/test_schedule_machine.py plays the world against it):

- Every time of a schedule ends as exactly one outcome, or is open; none is started twice.
- A run is only asked for after its row is on disk (`Begin` goes with `Keep`), and forgotten only after its
  outcome is.
- An occurrence is over when its process is: no lock, file or timeout can outlive it.
"""

from collections.abc import Callable
from dataclasses import replace

from shiftboss.core.occurrence import Ending, Occurrence, Result, Stage
from shiftboss.core.run_policy import MOST_RUNS
from shiftboss.core.schedule_due import arise, take_due
from shiftboss.core.schedule_policy import MOST_LANES, RUNAWAY_WINDOW, most_starts
from shiftboss.core.schedule_runs import KILL_MARGIN_SECONDS, TABLE, claim
from shiftboss.core.schedule_values import (
    Admitted,
    Alert,
    Check,
    Closing,
    Effect,
    Event,
    Halt,
    Kill,
    Paused,
    Removed,
    Resumed,
    RunEvent,
    RunNow,
    Scene,
    Step,
    StopRuns,
    TimePassed,
    Track,
    conclude,
    in_turn,
    keep,
    put,
)

KILL_AGAIN_SECONDS = 5.0
_RUNS_NAMED = 5


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
        case Removed(words):
            return _removed(track, words, scene)
        case Closing():
            return _closing(track, scene)


def _run_event(track: Track, event: RunEvent, scene: Scene) -> Step:
    for occurrence in track.opens:
        if occurrence.run == event.run:
            after, effects = TABLE[occurrence.stage][type(event)](track, occurrence, event, scene)
            return _then_meet(after, effects, scene) if _is_retried(occurrence, after) else (after, effects)
    return track, ()


def _is_retried(occurrence: Occurrence, after: Track) -> bool:
    """Return whether it waits to be tried again: it is in the way of what waited for its run then."""
    return any(o.number == occurrence.number and o.attempt > occurrence.attempt for o in after.opens)


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
        case Stage.DETACHED if occurrence.kill_at is None:
            return _age_background(track, occurrence, scene)
        case Stage.STOPPING | Stage.LEAVING | Stage.DETACHED if (
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
    lived = _lived(occurrence, scene)
    if policy.timeout_seconds and lived >= policy.timeout_seconds:
        reason = f"it ran longer than {policy.timeout_seconds} s"
        return _halt(track, occurrence, Ending.TIMED_OUT, reason, scene)
    if policy.expect_within and lived >= policy.expect_within and not occurrence.told_slow:
        words = f"it has run for {lived:.0f} s, longer than the {policy.expect_within} s that are expected"
        return put(track, replace(occurrence, told_slow=True)), (Alert("slow", address, words),)
    return track, ()


def _lived(occurrence: Occurrence, scene: Scene) -> float:
    return 0.0 if occurrence.since is None else scene.now.mono - occurrence.since


def _age_background(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    """End what a run has left behind when the run's time is up; its outcome stays what it was."""
    timeout = scene.terms.policy.timeout_seconds
    if not timeout or _lived(occurrence, scene) < timeout:
        return track, ()
    words = f"what run {occurrence.run} left in the background lived longer than {timeout} s and is ended"
    track, effects = _halt_background(track, occurrence, scene)
    return track, (*effects, Alert("failed", scene.terms.address, words))


def _halt_background(track: Track, occurrence: Occurrence, scene: Scene) -> Step:
    """Ask what a run has left behind to end. Nothing of it is told: the run has its outcome."""
    if occurrence.kill_at is not None:
        return track, ()
    halted = replace(occurrence, kill_at=_kill_at(scene))
    return put(track, halted), (Halt(scene.terms.address, occurrence.lane, occurrence.run),)


def _kill_at(scene: Scene) -> float:
    return scene.now.mono + scene.terms.policy.stop_seconds + KILL_MARGIN_SECONDS


def _halt(track: Track, occurrence: Occurrence, ending: Ending, reason: str, scene: Scene) -> Step:
    """Ask a run to end; what it is asked for first decides how it is told."""
    if occurrence.stage is Stage.DETACHED:
        return _halt_background(track, occurrence, scene)
    if occurrence.stage not in (Stage.CLAIMED, Stage.RUNNING):
        return track, ()
    stopping = replace(
        occurrence,
        stage=Stage.STOPPING,
        ending=ending,
        ending_reason=reason,
        asked_at=scene.now.wall,
        kill_at=_kill_at(scene),
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
    overlap = scene.terms.policy.overlap
    full = _no_room(track) if overlap == "allow" or not others else ""
    if full:
        return _crowded(track, occurrence, full, scene)
    if not (others or earlier):
        return track, ()
    match overlap:
        case "skip" if others:
            return conclude(track, occurrence, Result("skipped", f"overlap: {_obstacle(others[0])}"), scene)
        case "queue" if earlier:
            reason = "overlap: one occurrence waits already"
            return conclude(track, occurrence, Result("skipped", reason), scene)
        case "replace":
            return _replace(track, occurrence, [*others, *earlier], scene)
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


def _no_room(track: Track) -> str:
    """Return why nothing more of a schedule can be started beside what lives of it, "" if it can.

    What an ended run left in the background keeps its lane: to the keeper that is the number of a process, and
    nothing starts under one of which something lives.
    """
    going = [o for o in track.opens if o.is_busy and o.run]
    if len(going) >= MOST_RUNS:
        return f"{len(going)} runs of it go on already ({_named(going)})"
    if _free_lane(track) is None:
        left = [o for o in track.opens if o.stage is Stage.DETACHED]
        return f"what {len(left)} of its runs left in the background lives on ({_named(left)})"
    return ""


def _named(occurrences: list[Occurrence]) -> str:
    """Return the runs by their numbers: the first ones and the last."""
    runs = sorted(o.run for o in occurrences)
    shown = [*runs[:3], "…", runs[-1]] if len(runs) > _RUNS_NAMED else runs
    return f"run {', '.join(map(str, shown))}"


def _crowded(track: Track, occurrence: Occurrence, reason: str, scene: Scene) -> Step:
    """Leave an occurrence out, and tell somebody: of all that is due nothing may start until some of it ends."""
    words = f"overlap: {reason}"
    track, effects = conclude(track, occurrence, Result("skipped", words), scene)
    return track, (*effects, Alert("missed", scene.terms.address, words))


def _free_lane(track: Track) -> int | None:
    taken = {o.lane for o in track.opens if o.lane}
    return next((lane for lane in range(1, MOST_LANES + 1) if lane not in taken), None)


def ready(track: Track, scene: Scene) -> Occurrence | None:
    """Return the occurrence that starts as soon as there is room (say `Admitted` then), None if there is none."""
    if track.halted or _no_room(track):
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
    return _then_meet(*claim(track, chosen, scene), scene)


def _then_meet(track: Track, effects: tuple[Effect, ...], scene: Scene) -> Step:
    """Decide about those that have an occurrence in their way now."""
    track, met = _meet(track, scene)
    return track, (*effects, *met)


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


def _removed(track: Track, words: str, scene: Scene) -> Step:
    track = replace(track, removed=True)
    waiting = [o for o in track.opens if o.stage in (Stage.WAITING, Stage.CHECKING)]
    return in_turn(track, waiting, _skip(words), scene)
