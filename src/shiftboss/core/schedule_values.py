"""The values of the schedule machine: what is known of one schedule, what can happen to it, what it asks for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from shiftboss.core.clock_gap import NO_GAP, Gap, Moment
from shiftboss.core.occurrence import Occurrence, Result, Row, ended_row, open_row
from shiftboss.core.schedule_policy import Terms


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one schedule.

    Every time of it up to `mark` (seconds, epoch) is accounted for: it has an outcome, or is in `opens`. Mark
    and rows change in one transaction; that is why no time is run twice. `counter` is the last number that
    was given to an occurrence or a run. `paused` is who paused it, `halted` why it was stopped as a runaway,
    `boot` the boot for which @reboot was answered, `when` the times that `mark` was made with. `starts` are
    the monotonic times of the latest starts. `removed`: it is not wanted any more and ends with its last run.
    """

    mark: int
    counter: int = 0
    opens: tuple[Occurrence, ...] = ()
    paused: str = ""
    halted: str = ""
    boot: str = ""
    when: str = ""
    starts: tuple[float, ...] = ()
    removed: bool = False


class Scene(NamedTuple):
    """Under which circumstances something happens: the schedule's terms, the clocks, the gap before, the keeper's life."""

    terms: Terms
    now: Moment
    gap: Gap = NO_GAP
    keeper: str = ""


# ---- what can happen to a schedule


class TimePassed(NamedTuple):
    """Look at the clocks: what is due, what is too late, what takes too long."""


class Admitted(NamedTuple):
    """There is room for the occurrence of this number (see `schedule.ready`)."""

    number: int


class Paused(NamedTuple):
    """Somebody does not want it to run for now."""

    who: str


class Resumed(NamedTuple):
    """Somebody wants it to run again."""

    who: str


class RunNow(NamedTuple):
    """Somebody or something makes an occurrence due now; `cause` is told with it (`by root`, `after myapp/dump`)."""

    cause: str


class StopRuns(NamedTuple):
    """Somebody wants its present runs to end."""

    who: str


class Removed(NamedTuple):
    """Nobody wants the schedule any more, or nobody can read when it runs (`words`). What runs, runs to its end."""

    words: str = "the schedule was removed"


class Closing(NamedTuple):
    """All ends now: what runs is stopped, what waits goes on waiting for the next start."""


TrackEvent = TimePassed | Admitted | Paused | Resumed | RunNow | StopRuns | Removed | Closing
TRACK_EVENTS: tuple[type[TrackEvent], ...] = (
    TimePassed,
    Admitted,
    Paused,
    Resumed,
    RunNow,
    StopRuns,
    Removed,
    Closing,
)

# ---- what can happen to one run


class Checked(NamedTuple):
    """The `only_if` command of this run ended; `words` say how, if it does not allow the start."""

    run: int
    passed: bool
    words: str = ""


class Spawned(NamedTuple):
    """The run lives: since `began` (seconds, epoch) and `since` (monotonic)."""

    run: int
    began: float
    since: float


class NotSpawned(NamedTuple):
    """The run could not be started."""

    run: int
    words: str


class Exited(NamedTuple):
    """The main program of the run ended at `ended` (seconds, epoch); `words` tell the exit reason.

    `leftovers`: it left others behind. `status` is the exit status, 128 + n for signal n. `signalled`: the keeper had
    sent it a signal, perhaps of itself, while it was shutting down and before anybody here was told.
    """

    run: int
    ok: bool
    status: int
    words: str
    ended: float
    leftovers: bool = False
    signalled: bool = False


class Gone(NamedTuple):
    """Nothing of the run lives any more."""

    run: int


class Lost(NamedTuple):
    """Nobody knows anything of this run: whether it was started, or how it ended."""

    run: int


class NeverStarted(NamedTuple):
    """It is proved that this run was never started."""

    run: int


RunEvent = Checked | Spawned | NotSpawned | Exited | Gone | Lost | NeverStarted
RUN_EVENTS: tuple[type[RunEvent], ...] = (Checked, Spawned, NotSpawned, Exited, Gone, Lost, NeverStarted)
Event = TrackEvent | RunEvent

# ---- what a schedule asks for


class Keep(NamedTuple):
    """Write this row, in one transaction with the mark of its schedule."""

    row: Row


class Begin(NamedTuple):
    """Start this run, once its row is on disk."""

    address: str
    lane: int
    run: int


class Check(NamedTuple):
    """Run the `only_if` command and say `Checked`, also if it does not end in time."""

    address: str
    lane: int
    run: int


class Halt(NamedTuple):
    """Ask everything of this run to end. Asking twice is as asking once."""

    address: str
    lane: int
    run: int


class Kill(NamedTuple):
    """SIGKILL everything of this run."""

    address: str
    lane: int
    run: int


class Forget(NamedTuple):
    """Nothing more need be remembered of this run, once its outcome is on disk."""

    address: str
    lane: int
    run: int


class Alert(NamedTuple):
    """Tell somebody; `kind` is `failed`, `missed`, `slow`, `runaway`, `unknown` or `unwritten`."""

    kind: str
    address: str
    words: str


class Succeeded(NamedTuple):
    """An occurrence of this schedule ran well: those that come after it are due."""

    address: str


Effect = Keep | Begin | Check | Halt | Kill | Forget | Alert | Succeeded
Step = tuple[Track, tuple[Effect, ...]]


def put(track: Track, occurrence: Occurrence) -> Track:
    """Return the track with this occurrence in the place of the one of its number, or behind the others."""
    if any(o.number == occurrence.number for o in track.opens):
        opens = tuple(occurrence if o.number == occurrence.number else o for o in track.opens)
    else:
        opens = (*track.opens, occurrence)
    return replace(track, opens=opens)


def drop(track: Track, occurrence: Occurrence) -> Track:
    """Return the track without this occurrence."""
    return replace(track, opens=tuple(o for o in track.opens if o.number != occurrence.number))


def keep(scene: Scene, occurrence: Occurrence) -> Keep:
    """Return the wish to write how far an occurrence has come."""
    return Keep(open_row(scene.terms.address, occurrence))


def conclude(
    track: Track, occurrence: Occurrence, result: Result, scene: Scene, ended: float | None = None
) -> Step:
    """End an occurrence: its outcome is written, its run forgotten; who is to know of it is told."""
    address = scene.terms.address
    row = ended_row(address, occurrence, result, ended)
    effects: list[Effect] = [Keep(row)]
    if occurrence.run and occurrence.lane:
        effects.append(Forget(address, occurrence.lane, occurrence.run))
    if result.outcome in ("failed", "timed_out"):
        effects.append(Alert("failed", address, result.reason))
    elif result.outcome == "unknown":
        effects.append(Alert("unknown", address, result.reason))
    elif result.outcome == "ran":
        effects.append(Succeeded(address))
    return drop(track, occurrence), tuple(effects)


Act = Callable[[Track, Occurrence, Scene], Step]


def in_turn(track: Track, occurrences: Iterable[Occurrence], act: Act, scene: Scene) -> Step:
    """Apply `act` to several occurrences one after the other."""
    effects: list[Effect] = []
    for occurrence in occurrences:
        track, more = act(track, occurrence, scene)
        effects += more
    return track, tuple(effects)
