"""All schedules of an engine together: the disk, the limits of parallel runs, who comes after whom, the next wake-up.

Plain state with one owner, and no effect of its own: `take` is given what happened and the clocks, and returns
what is to be done. The same inputs give the same outputs. Before `Adopted` nothing is started: the keeper says
first what lives.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import floor

from shiftboss.core.agenda_ledger import Ledger
from shiftboss.core.agenda_values import (
    Adopted,
    Asked,
    Close,
    Held,
    Incoming,
    Limits,
    Mark,
    NotStored,
    Outgoing,
    Reload,
    Stored,
    Tick,
    WakeAt,
    mark_of,
    new_track,
    returning_track,
    track_of,
)
from shiftboss.core.agenda_wakes import Wakes
from shiftboss.core.clock_gap import NO_GAP, Gap, Moment, classify
from shiftboss.core.occurrence import HAS_RUN, Occurrence, Row, Stage, reopened
from shiftboss.core.schedule import ready, step
from shiftboss.core.schedule_due import may_have_been_due, set_back
from shiftboss.core.schedule_policy import Terms, latest_start
from shiftboss.core.schedule_values import (
    Admitted,
    Begin,
    Closing,
    Effect,
    Event,
    Forget,
    Gone,
    Keep,
    Lost,
    NeverStarted,
    Removed,
    RunNow,
    Scene,
    Spawned,
    Succeeded,
    TimePassed,
    Track,
    keep,
    put,
)
from shiftboss.core.timing import AfterTiming, BootTiming, NoTiming, timing_text

DOWN = Gap("down")


class Agenda:
    """The schedules of one engine.

    `keeper` names the life of the keeper, `boot` that of the machine (boot_id; in a container the keeper's):
    claims of the same keeper that it does not hold were never started, @reboot is due once per boot.
    """

    def __init__(self, *, keeper: str, boot: str) -> None:
        self._keeper, self._boot = keeper, boot
        self._limits = Limits()
        self._terms: dict[str, Terms] = {}
        self._tracks: dict[str, Track] = {}
        self._past: dict[str, Mark] = {}  # of schedules that are no more, or cannot be read
        self._followers: dict[str, list[str]] = {}
        self._waiting: set[str] = set()
        self._ending: set[str] = set()
        self._busy: dict[str, int] = {}
        self._confirmed: set[tuple[str, int]] = set()
        self._ledger, self._wakes = Ledger(), Wakes()
        self._now, self._gap = Moment(0.0, 0.0, 0.0), NO_GAP
        self._expected: float | None = None
        self._wake = WakeAt(0.0, 0.0)
        self._is_adopted = self._is_closing = False
        self._out: list[Outgoing] = []

    # ---- what can be asked

    def track(self, address: str) -> Track | None:
        """Return what is known of a schedule, None if there is none of that address."""
        return self._tracks.get(address)

    def addresses(self) -> Iterable[str]:
        """Return the addresses of all schedules, also of removed ones whose last run lives."""
        return self._tracks.keys()

    # ---- the beginning

    def load(
        self, terms: Iterable[Terms], marks: Iterable[Mark], rows: Iterable[Row], limits: Limits, now: Moment
    ) -> None:
        """Take over what is wanted, and what is on disk: the marks, and the rows without an outcome."""
        self._now, self._limits = now, limits
        self._set_terms(terms)
        known = {mark.address: mark for mark in marks}
        opens: dict[str, list[Occurrence]] = {}
        for row in sorted(rows, key=lambda row: row.number):
            opens.setdefault(row.address, []).append(reopened(row))
        for address in {*self._terms, *known, *opens}:
            self._load_one(address, known.get(address), tuple(opens.get(address, ())))

    def _load_one(self, address: str, mark: Mark | None, opens: tuple[Occurrence, ...]) -> None:
        wanted = self._terms.get(address)
        if wanted is None and not opens:
            self._past |= {address: mark} if mark else {}
            return
        terms = wanted or self._stranger(address)
        if mark and mark.when:
            track = track_of(mark)
        else:
            # in a container the keeper's start is the boot, and its state is often as new
            boot = "" if mark is None and self._boot == self._keeper else self._boot
            track = new_track(terms, self._now.wall, boot, mark.counter if mark else 0)
        if opens:
            counter = max([track.counter, *(max(o.number, o.run) for o in opens)])
            track = replace(track, opens=opens, counter=counter)
        self._set(address, track)

    def _stranger(self, address: str) -> Terms:
        """Return terms for a schedule that nobody wants, but of which something is left."""
        terms = self._terms[address] = Terms(address, NoTiming())
        return terms

    def _set_terms(self, terms: Iterable[Terms]) -> None:
        self._terms = {each.address: each for each in terms}
        self._followers = {}
        for address, each in self._terms.items():
            if isinstance(each.timing, AfterTiming):
                self._followers.setdefault(each.timing.address, []).append(address)

    # ---- taking what happens

    def take(self, event: Incoming, now: Moment) -> tuple[Outgoing, ...]:
        """Return what is to be done, in that order, after this happened at that moment."""
        before, self._now = self._now, now
        if self._is_adopted and not self._is_closing:
            self._gap = classify(before, now, self._expected)
            self._look()
        self._do(event)
        self._gap = NO_GAP
        if self._is_adopted and not self._is_closing:
            self._admit()
        return self._finish()

    def _do(self, event: Incoming) -> None:
        match event:
            case Stored() | NotStored():
                self._disk(event)
            case Asked(address, what):
                if address in self._tracks:
                    self._apply(address, what)
            case Held() | Adopted():
                self._take_over_runs(event)
            case Reload(terms, limits):
                self._reload({each.address: each for each in terms}, limits)
            case Close():
                self._close()
            case Tick():
                pass  # time was looked at already

    def _disk(self, event: Stored | NotStored) -> None:
        if isinstance(event, Stored):
            self._out += self._ledger.stored(event.batch)
        else:
            self._out += self._ledger.not_stored(event, self._now.mono)

    def _close(self) -> None:
        self._is_closing = True
        for begin in self._ledger.withdraw():
            self._apply(begin.address, NeverStarted(begin.run))
        for address in list(self._tracks):
            self._apply(address, Closing())

    def _look(self) -> None:
        """Let time pass for every schedule that it concerns."""
        if self._gap.kind == "stepped" and self._gap.seconds < 0:
            for address in list(self._tracks):
                self._set(address, set_back(self._tracks[address], self._scene(address)))
                self._apply(address, TimePassed())
        for address in self._wakes.come(self._now):
            if address in self._tracks:
                self._apply(address, TimePassed())

    def _scene(self, address: str) -> Scene:
        return Scene(self._terms[address], self._now, self._gap, self._keeper)

    def _apply(self, address: str, event: Event) -> None:
        """Put an event through the machine of one schedule, and do what follows."""
        track, effects = step(self._tracks[address], event, self._scene(address))
        self._set(address, track)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Keep(row):
                self._ledger.row(row)
                self._ledger.mark(mark_of(row.address, self._tracks[row.address]))
            case Begin() | Forget():
                self._ledger.after(effect)
            case Succeeded(address):
                for follower in filter(self._is_wanted, self._followers.get(address, ())):
                    self._apply(follower, RunNow(f"after {address}"))
            case _:
                self._out.append(effect)

    def _is_wanted(self, address: str) -> bool:
        track = self._tracks.get(address)
        return track is not None and not track.removed

    def _set(self, address: str, track: Track) -> None:
        """Become this track: what is counted and kept of it follows."""
        before = self._tracks.get(address)
        self._tracks[address] = track
        if before is not track:
            self._count(address, before, track)
            if before is None or mark_of(address, before) != mark_of(address, track):
                self._ledger.mark(mark_of(address, track))
        if track.removed:
            self._ending.add(address)
        if any(o.stage is Stage.WAITING for o in track.opens):
            self._waiting.add(address)
        else:
            self._waiting.discard(address)
        self._wakes.plan(address, track, self._scene(address))

    def _count(self, address: str, before: Track | None, track: Track) -> None:
        if not track.opens and not (before and before.opens):
            return
        was = sum(o.is_busy for o in before.opens) if before else 0
        change = sum(o.is_busy for o in track.opens) - was
        for key in ("", self._terms[address].project):
            self._busy[key] = self._busy.get(key, 0) + change

    # ---- room

    def _admit(self) -> None:
        """Start what waits, the longest due first, as far as there is room."""
        if not self._has_room(""):
            return
        found = [
            (o.due, address, o.number)
            for address in self._waiting
            if (o := ready(self._tracks[address], self._scene(address)))
        ]
        for _, address, number in sorted(found):
            self._admit_one(address, number)

    def _admit_one(self, address: str, number: int) -> None:
        project = self._terms[address].project
        while self._has_room("") and self._has_room(project):
            self._apply(address, Admitted(number))
            following = ready(self._tracks[address], self._scene(address))
            if following is None or following.number <= number:
                return
            number = following.number

    def _has_room(self, project: str) -> bool:
        limit = self._limits.project if project else self._limits.server
        return not limit or self._busy.get(project, 0) < limit

    # ---- what is wanted changes

    def _reload(self, wanted: dict[str, Terms], limits: Limits) -> None:
        """Take over changed schedules: history, runs and marks of those that stay are not touched."""
        self._limits = limits
        before = self._terms
        for address in [address for address in self._tracks if address not in wanted]:
            self._apply(address, Removed())
        kept = {address: before[address] for address in self._tracks if address not in wanted}
        self._set_terms([*wanted.values(), *kept.values()])
        for address, terms in wanted.items():
            self._take_over(address, terms)

    def _take_over(self, address: str, terms: Terms) -> None:
        track = self._tracks.get(address)
        self._ending.discard(address)
        if track is None:
            track = self._new(address, terms)
        elif self._is_adopted and (track.removed or track.when != timing_text(terms.timing)):
            fresh = new_track(terms, self._now.wall, self._boot)
            mark = max(fresh.mark, track.mark)
            track = replace(track, mark=mark, boot=fresh.boot, when=fresh.when, removed=False)
        self._set(address, track)

    def _new(self, address: str, terms: Terms) -> Track:
        return returning_track(terms, self._now.wall, self._boot, self._past.pop(address, None))

    def _sweep(self) -> None:
        """Forget the removed schedules of which nothing lives any more; their numbers go on if they come back."""
        for address in [a for a in self._ending if not self._tracks[a].opens]:
            self._ending.discard(address)
            self._past[address] = mark_of(address, self._tracks.pop(address))
            self._terms.pop(address, None)
            self._wakes.drop(address)

    # ---- taking over from an engine before

    def _take_over_runs(self, event: Held | Adopted) -> None:
        if isinstance(event, Held):
            self._held(event)
        elif not self._is_adopted:
            self._adopted()

    def _held(self, held: Held) -> None:
        address, run = held.address, held.run
        if address not in self._tracks:
            self._stranger(address)
            track = self._new(address, self._terms[address])
            self._set(address, replace(track, removed=True))
        self._confirmed.add((address, run))
        track = self._tracks[address]
        if track.counter < run:
            self._set(address, replace(track, counter=run))
        if not any(o.run == run for o in track.opens):
            self._unexpected(held)
        self._apply(address, Spawned(run, held.began, held.since))
        if held.exited:
            self._apply(address, held.exited)
        if held.gone:
            self._apply(address, Gone(run))

    def _unexpected(self, held: Held) -> None:
        """Take over a run without an open row: its outcome is written already, or its claim never could be."""
        address, lane, run = held.address, held.lane, held.run
        if self._is_adopted and held.gone:
            self._perform(Forget(address, lane, run))
        if self._is_adopted:
            return
        track = self._tracks[address]
        number = track.counter + 1
        stage = Stage.DETACHED if held.exited else Stage.CLAIMED
        cause = "found running"
        found = Occurrence(
            number, int(held.began), stage, run=run, lane=lane, cause=cause, keeper=self._keeper
        )
        self._set(address, put(replace(track, counter=number), found))
        if stage is Stage.CLAIMED:
            self._perform(keep(self._scene(address), found))

    def _adopted(self) -> None:
        """Resolve every claim that nobody confirmed, then let the time pass in which nothing ran."""
        self._is_adopted, self._gap = True, DOWN
        for address in sorted(self._tracks):
            self._resolve(address)
            if not self._tracks[address].removed:
                self._catch_up(address)
        self._confirmed.clear()

    def _resolve(self, address: str) -> None:
        for occurrence in self._tracks[address].opens:
            if occurrence.stage not in HAS_RUN or (address, occurrence.run) in self._confirmed:
                continue
            proved = occurrence.stage is Stage.CLAIMED and occurrence.keeper == self._keeper
            self._apply(address, (NeverStarted if proved else Lost)(occurrence.run))

    def _catch_up(self, address: str) -> None:
        terms, track = self._terms[address], self._tracks[address]
        if isinstance(terms.timing, NoTiming):
            self._apply(address, Removed("the schedule was removed, or its entry cannot be read any more"))
            return
        if track.when != timing_text(terms.timing):
            self._retimed(address)
        else:
            self._set(address, set_back(track, self._scene(address)))
        self._shorten_patience(address)
        if isinstance(terms.timing, BootTiming) and self._tracks[address].boot != self._boot:
            self._set(address, replace(self._tracks[address], boot=self._boot))
            self._apply(address, RunNow("after the start of the machine"))
        self._apply(address, TimePassed())

    def _retimed(self, address: str) -> None:
        """Begin anew: which times were due under which terms while nothing ran cannot be known, only if none was."""
        track, wall = self._tracks[address], floor(self._now.wall)
        number, when = track.counter + 1, timing_text(self._terms[address].timing)
        if not may_have_been_due(track, address, wall):
            self._set(address, replace(track, mark=wall, when=when))
            return
        reason = f"its times were changed from {track.when} while shiftboss was not running"
        first = min(track.mark + 1, wall)
        row = Row(address, number, first, wall, 0, outcome="missed", reason=reason)
        self._set(address, replace(track, mark=wall, counter=number, when=when))
        self._perform(Keep(row))

    def _shorten_patience(self, address: str) -> None:
        """What waited behind a run that is no more has no reason to be later than others."""
        terms, track = self._terms[address], self._tracks[address]
        if any(o.is_busy or o.attempt > 1 for o in track.opens):
            return  # what it waits for is still there
        for o in track.opens:
            if o.stage is Stage.WAITING and not o.cause:
                latest = min(o.latest, latest_start(terms, o.due, max(o.start_at, o.due)))
                track = put(track, replace(o, latest=latest))
        self._set(address, track)

    # ---- the end of a take

    def _finish(self) -> tuple[Outgoing, ...]:
        if self._is_adopted:
            self._sweep()
        batch = self._ledger.close_batch(self._now.mono) if self._is_adopted else []
        out, self._out = (*batch, *self._out), []
        return (*out, *self._wake_up()) if self._is_adopted else out

    def _wake_up(self) -> tuple[WakeAt, ...]:
        first, retry_at = self._wakes.first(), self._ledger.retry_at
        wake = WakeAt(first.wall, first.mono if retry_at is None else min(first.mono, retry_at))
        self._expected = min(wake.mono, self._now.mono + max(0.0, wake.wall - self._now.wall))
        if wake == self._wake:
            return ()
        self._wake = wake
        return (wake,)
