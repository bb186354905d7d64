"""What an agenda is told, what it asks for, and what is kept on disk of each schedule."""

from dataclasses import replace
from math import floor
from typing import NamedTuple

from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.schedule_values import (
    Alert,
    Begin,
    Check,
    Event,
    Exited,
    Forget,
    Halt,
    Kill,
    Track,
)
from shiftboss.core.timing import timing_text


class Limits(NamedTuple):
    """How many runs may live at once on this server, and of one project; 0: as many as are due."""

    server: int = 0
    project: int = 0


class Mark(NamedTuple):
    """What is kept of a schedule itself. Key: address. An empty `when` is that of a schedule that was removed."""

    address: str
    mark: int
    counter: int
    paused: str = ""
    halted: str = ""
    boot: str = ""
    when: str = ""


# ---- what an agenda is told


class Tick(NamedTuple):
    """A wake-up, or any other reason to look at the clocks."""


class Stored(NamedTuple):
    """The batch is on disk."""

    batch: int


class NotStored(NamedTuple):
    """The batch could not be written (and no part of it is on disk); `words` say why."""

    batch: int
    words: str


class Asked(NamedTuple):
    """Something happened to one schedule or one of its runs."""

    address: str
    event: Event


class Reload(NamedTuple):
    """These are all schedules from now on, and the limits."""

    terms: tuple[Terms, ...]
    limits: Limits = Limits()


class Held(NamedTuple):
    """The keeper holds this run: it lives since `began` (epoch) and `since` (monotonic), or has ended (`exited`)."""

    address: str
    lane: int
    run: int
    began: float
    since: float
    exited: Exited | None = None
    gone: bool = False


class Adopted(NamedTuple):
    """The keeper told of every run that it holds."""


class Close(NamedTuple):
    """Everything is being stopped: nothing is started any more."""


Incoming = Tick | Stored | NotStored | Asked | Reload | Held | Adopted | Close

# ---- what it asks for


class Save(NamedTuple):
    """Write all of this in one transaction, then say `Stored` (or `NotStored`); batches in their order.

    A row takes the place of the one with its address and number. `urgent`: a start waits for it.
    """

    batch: int
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    urgent: bool


class WakeAt(NamedTuple):
    """Say `Tick` at this real time or at that monotonic time (infinity: never), and whenever the clock is set.

    It takes the place of any earlier one.
    """

    wall: float
    mono: float


Outgoing = Save | Begin | Check | Halt | Kill | Forget | Alert | WakeAt


def mark_of(address: str, track: Track) -> Mark:
    """Return what is kept of a schedule."""
    when = "" if track.removed else track.when
    return Mark(address, track.mark, track.counter, track.paused, track.halted, track.boot, when)


def track_of(mark: Mark) -> Track:
    """Return a schedule as it was kept, without its occurrences."""
    return Track(
        mark.mark, mark.counter, paused=mark.paused, halted=mark.halted, boot=mark.boot, when=mark.when
    )


def new_track(terms: Terms, wall: float, boot: str, counter: int = 0) -> Track:
    """Return a schedule that begins now: nothing of the past is due."""
    return Track(floor(wall), counter, boot=boot, when=timing_text(terms.timing))


def returning_track(terms: Terms, wall: float, boot: str, past: Mark | None) -> Track:
    """Return a schedule that begins now, and was there before (`past`).

    Who paused one that nobody removed (it could not be read) did so still.
    """
    track = new_track(terms, wall, boot, past.counter if past else 0)
    return replace(track, paused=past.paused, halted=past.halted) if past and past.when else track
