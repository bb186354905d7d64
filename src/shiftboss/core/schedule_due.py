"""Which times of a schedule have come since it was last looked at, and what becomes of each of them."""

from dataclasses import replace
from math import floor, inf

from shiftboss.core.occurrence import Occurrence, OutcomeName, Row, Stage
from shiftboss.core.schedule_policy import LATE_SECONDS, Terms, latest_start, planned_start
from shiftboss.core.schedule_values import Alert, Effect, Keep, Scene, Step, Track, keep, put
from shiftboss.core.timing import follows_clock, left_out, next_due, previous_due, timing_of_text

LARGE_STEP_SECONDS = 3 * 3600
"""A clock set back by more is obeyed by every schedule, as cron(8) does."""
_MOST_COUNTED = 16
_NO_HURRY = frozenset({"queue", "replace"})


def take_due(track: Track, scene: Scene) -> Step:
    """Account for every time from the mark until now; the last of them may become an occurrence.

    Never more than one: what was missed while nothing ran makes no storm.
    """
    terms, wall = scene.terms, scene.now.wall
    first = next_due(terms.timing, track.mark)
    if first is None or first > wall:
        return track, ()
    if first <= track.mark:
        if track.halted:
            return track, ()
        words = "the next time is not later than the last one"
        return replace(track, halted=words), (Alert("runaway", terms.address, words),)
    last = max(first, previous_due(terms.timing, floor(wall) + 1) or first)
    track, effects = _tell_left_out(track, scene)
    track, more = _settle(replace(track, mark=last), scene, first, last)
    return track, (*effects, *more)


def _settle(track: Track, scene: Scene, first: int, last: int) -> Step:
    """Decide about the times from `first` to `last`."""
    if track.halted or track.paused:
        reason = f"it is stopped: {track.halted}" if track.halted else f"paused by {track.paused}"
        return _span(track, scene, (first, last), "skipped", reason)
    if first == last:
        return _latest(track, scene, last)
    final = previous_due(scene.terms.timing, last) or first
    track, effects = _span(track, scene, (first, final), "missed", _why_late(scene, "a later time has come"))
    track, more = _latest(track, scene, last, others="times before it were missed")
    return track, (*effects, *more)


def _latest(track: Track, scene: Scene, due: int, others: str = "") -> Step:
    """Decide about the only time that has come, or the latest of several."""
    terms, wall = scene.terms, scene.now.wall
    start_at = planned_start(terms, due)
    latest = latest_start(terms, due, start_at)
    if wall >= latest:
        reason = _why_late(scene, f"it could only have started {wall - start_at:.0f} s late")
        track, effects = _span(track, scene, (due, due), "missed", reason)
        return track, (*effects, Alert("missed", terms.address, reason))
    late = ""
    if others or wall - start_at > LATE_SECONDS:
        late = (
            f"late by {max(0.0, wall - start_at):.0f} s: {_why_late(scene, others or 'the engine was busy')}"
        )
    if terms.policy.overlap in _NO_HURRY and terms.policy.deadline_seconds is None:
        latest = inf
    return arise(track, scene, due, start_at=start_at, latest=latest, late=late)


def _why_late(scene: Scene, otherwise: str) -> str:
    return scene.gap.words or f"too late: {otherwise}"


def arise(
    track: Track,
    scene: Scene,
    due: int,
    *,
    start_at: float = 0.0,
    latest: float = inf,
    cause: str = "",
    late: str = "",
) -> Step:
    """Make an occurrence that waits for its start."""
    number = track.counter + 1
    made = Occurrence(number, due, start_at=start_at, latest=latest, cause=cause, late=late)
    track = put(replace(track, counter=number), made)
    return track, (keep(scene, made),)


def _span(track: Track, scene: Scene, span: tuple[int, int], outcome: OutcomeName, reason: str) -> Step:
    """Record times that share one fate as one row."""
    first, last = span
    number = track.counter + 1
    row = Row(
        scene.terms.address,
        number,
        first,
        last,
        _count(scene.terms, first, last),
        outcome=outcome,
        reason=reason,
    )
    return replace(track, counter=number), (Keep(row),)


def _count(terms: Terms, first: int, last: int) -> int:
    """Return how many times lie in [first, last], 0 if they are too many to count."""
    count, moment = 1, first
    while moment < last:
        following = next_due(terms.timing, moment)
        if following is None or count >= _MOST_COUNTED:
            return 0
        count, moment = count + 1, following
    return count


def _tell_left_out(track: Track, scene: Scene) -> Step:
    """Record what clock changes took from the schedule."""
    effects: list[Effect] = []
    for note in left_out(scene.terms.timing, track.mark, scene.now.wall):
        track = replace(track, counter=track.counter + 1)
        at = int(note.at.timestamp())
        reason = f"daylight saving: {note.message}"
        row = Row(scene.terms.address, track.counter, at, at, 0, outcome="skipped", reason=reason)
        effects.append(Keep(row))
    return track, tuple(effects)


def set_back(track: Track, scene: Scene) -> Track:
    """Return the track as it goes on when the clock shows less than the mark.

    The times between were accounted for already. What follows the clock on the wall (intervals, wildcard
    jobs) goes on at its pace, unless a small step would only repeat its last time; fixed-time jobs do not run again
    until their mark is passed, but a clock that is set back by hours is believed (cron(8)).
    """
    terms, wall = scene.terms, scene.now.wall
    moved = scene.gap.seconds if scene.gap.kind == "stepped" else wall - track.mark
    if track.opens:
        track = replace(track, opens=tuple(_near(o, wall) for o in track.opens))
    if track.mark <= wall:
        return track
    following = next_due(terms.timing, wall)
    pauses = moved < -LATE_SECONDS or (following is not None and following < track.mark)
    if moved < -LARGE_STEP_SECONDS or (follows_clock(terms.timing) and pauses):
        return replace(track, mark=floor(wall))
    return track


def _near(occurrence: Occurrence, wall: float) -> Occurrence:
    """Return a waiting occurrence that waits no longer than was planned, though its time is to come once more.

    After a small step it waits for its very second.
    """
    if occurrence.stage is not Stage.WAITING or occurrence.due - wall <= LATE_SECONDS:
        return occurrence
    start_at = wall + max(0.0, occurrence.start_at - occurrence.due)
    patience = occurrence.latest - occurrence.start_at
    return replace(occurrence, start_at=start_at, latest=start_at + patience)


def may_have_been_due(track: Track, address: str, wall: float) -> bool:
    """Tell whether a time has come since the mark, by the times that the schedule had then (`Track.when`)."""
    timing = timing_of_text(track.when, address)
    if timing is None:
        return not track.when.startswith(("after ", "@reboot", "by hand"))
    due = next_due(timing, track.mark)
    return due is not None and due <= wall
