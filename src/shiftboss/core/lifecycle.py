"""The life of one process as a total table over (state, event). Everything that decides it is in this file.

The wish (up or down) is kept apart from the state: "down, but wanted up" needs no state of its own.
`step` is pure: the time at which the event happened, the policy and the jitter come in as arguments,
and what is to be done comes out as effects.

What always holds (tests/unit/core/test_lifecycle.py plays the world against it):

- Nothing rests in STOPPED, EXITED, FATAL, BACKOFF or WAITING while anything of a run lives or is being
  started. A process whose main program ended, but which left others behind, is STOPPING until they are gone.
- Timers carry an epoch and messages a run number; those of the past change nothing.
- Whoever is wished up and can run, runs again: no sequence of events ends in a dead end, except FATAL
  and EXITED, and those only where the unit's policy asks for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, NamedTuple

from shiftboss.core.backoff import DEFAULT_BACKOFF, Backoff, Tally

RestartWhen = Literal["always", "on-failure", "never"]
WAIT_FIRST_SECONDS = 1.0  # how soon a missing release or command is looked for again; doubles…
WAIT_CAP_SECONDS = 60.0  # …up to this
CLEAN = Tally()
KILL_AGAIN_SECONDS = 5.0  # SIGKILL can be late (a process in disk sleep): it is repeated until all is gone


class State(Enum):
    """Supervisor's words, and WAITING: there is nothing to run yet."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    WAITING = "WAITING"


class Wish(Enum):
    """What somebody wants."""

    UP = "up"
    DOWN = "down"


RESTING = frozenset({State.STOPPED, State.BACKOFF, State.EXITED, State.FATAL, State.WAITING})


class Start(NamedTuple):
    """Somebody wants it to run."""


class Stop(NamedTuple):
    """Somebody wants it not to run."""


class Restart(NamedTuple):
    """Somebody wants a new run."""


class Released(NamedTuple):
    """The project's `current` leads somewhere else than before."""


class Spawned(NamedTuple):
    """The run lives."""

    run: int


class Missing(NamedTuple):
    """The run could not start because the release or the command does not exist."""

    run: int


class SpawnFailed(NamedTuple):
    """The run could not start for another reason."""

    run: int


class Exited(NamedTuple):
    """The main program of the run ended; `ok`: as a success; `leftovers`: it left others behind.

    `starved`: it ran out of memory; the next start waits, however long this run lasted.
    """

    run: int
    ok: bool
    leftovers: bool
    starved: bool = False


class Gone(NamedTuple):
    """Nothing of the run lives any more."""

    run: int


class Elapsed(NamedTuple):
    """The timer of this epoch ran out."""

    epoch: int


Event = Start | Stop | Restart | Released | Spawned | Missing | SpawnFailed | Exited | Gone | Elapsed
EVENTS: tuple[type[Event], ...] = (
    Start,
    Stop,
    Restart,
    Released,
    Spawned,
    Missing,
    SpawnFailed,
    Exited,
    Gone,
    Elapsed,
)


class Spawn(NamedTuple):
    """Start this run."""

    run: int


class Halt(NamedTuple):
    """Ask everything of this run to stop, the way the unit wants it. Asking twice is as asking once."""

    run: int


class Kill(NamedTuple):
    """SIGKILL everything of this run."""

    run: int


class Arm(NamedTuple):
    """Send `Elapsed(epoch)` after so many seconds; any earlier timer of the process is void."""

    epoch: int
    seconds: float


Effect = Spawn | Halt | Kill | Arm


@dataclass(frozen=True, slots=True)
class Policy:
    """What the unit wants. `limit`: FATAL after so many failed starts in a row; 0 (the default): never."""

    restart: RestartWhen = "always"
    start_seconds: float = 1.0
    stop_seconds: float = 30.0
    limit: int = 0
    backoff: Backoff = DEFAULT_BACKOFF


@dataclass(frozen=True, slots=True)
class Ended:
    """How the main program of the present run ended by itself."""

    ok: bool
    uptime: float
    starved: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """One numbered process of a unit. `started` is the monotonic time at which the run was seen to live."""

    state: State = State.STOPPED
    wish: Wish = Wish.DOWN
    run: int = 0
    epoch: int = 0
    tally: Tally = CLEAN
    waits: int = 0
    started: float | None = None
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What the keeper holds of a process. `ok` is None while the main program lives; times are monotonic.

    `stopping`: somebody asked for its end already.
    """

    run: int
    started: float
    stopping: bool
    ok: bool | None


class Moment(NamedTuple):
    """When an event happened, and under which rules."""

    now: float
    policy: Policy
    jitter: float


Outcome = tuple[Process, tuple[Effect, ...]]
Act = Callable[[Process, Event, Moment], Outcome]


class Row(NamedTuple):
    """One row of the table: what is done, and every state it can lead to."""

    act: Act
    to: tuple[State, ...]


def step(process: Process, event: Event, now: float, policy: Policy, jitter: float = 0.0) -> Outcome:
    """Return the process after the event, and what is to be done.

    Args:
        process: the process before.
        event: what happened.
        now: monotonic seconds at which it happened.
        policy: what the unit wants.
        jitter: in [0, 1), spreads the restarts of many.
    """
    match event:
        case Elapsed(epoch=epoch) if epoch != process.epoch:
            return process, ()
        case Spawned(run=run) | Missing(run=run) | SpawnFailed(run=run) | Exited(run=run) | Gone(run=run):
            if run != process.run:
                return process, ()
    return TABLE[process.state][type(event)].act(process, event, Moment(now, policy, jitter))


def adopt(wish: Wish, held: Held | None, now: float, policy: Policy, known: Process) -> Outcome:
    """Return the process as a new engine takes it over from the keeper, and what is to be done.

    `known` is what was remembered of it (run number, tally). An exit that the keeper holds is not settled
    here: the process is handed over as if it still ran, and `Exited` is expected to follow.
    """
    if held is None:
        idle = replace(known, state=State.STOPPED, wish=wish, started=None, ended=None)
        return _begin(idle) if wish is Wish.UP else (idle, ())
    process = replace(known, wish=wish, run=held.run, started=held.started, ended=None)
    if wish is Wish.DOWN or (held.stopping and held.ok is None):
        return _halt(process, policy)
    if held.ok is not None or now - held.started >= policy.start_seconds:
        return replace(process, state=State.RUNNING), ()
    rest = policy.start_seconds - (now - held.started)
    return _armed(replace(process, state=State.STARTING), rest)


def is_alive(process: Process) -> bool:
    """Whether something of the process lives or may be about to live."""
    return process.state not in RESTING


def _armed(process: Process, seconds: float, *effects: Effect) -> Outcome:
    epoch = process.epoch + 1
    return replace(process, epoch=epoch), (*effects, Arm(epoch, seconds))


def _begin(process: Process) -> Outcome:
    run, epoch = process.run + 1, process.epoch + 1
    begun = replace(process, state=State.STARTING, run=run, epoch=epoch, started=None, ended=None)
    return begun, (Spawn(run),)


def _halt(process: Process, policy: Policy) -> Outcome:
    return _armed(replace(process, state=State.STOPPING), policy.stop_seconds, Halt(process.run))


def _settle(process: Process, moment: Moment) -> Outcome:
    """Decide what follows when nothing of the run lives any more."""
    if process.wish is Wish.DOWN:
        return _rest(process, State.STOPPED), ()
    if process.ended is None:  # its end was asked for: a restart
        return _begin(process)
    return _after(process, process.ended, moment)


def _after(process: Process, ended: Ended, moment: Moment) -> Outcome:
    policy = moment.policy
    lasted = ended.uptime >= policy.start_seconds
    tally = policy.backoff.count(process.tally, ended.uptime, lasted=lasted, starved=ended.starved)
    counted = replace(process, tally=tally, waits=0)
    if policy.restart == "never" or (policy.restart == "on-failure" and ended.ok):
        return _rest(counted, State.EXITED), ()
    return _retry(counted, moment)


def _retry(process: Process, moment: Moment) -> Outcome:
    if 0 < moment.policy.limit <= process.tally.failures:
        return _rest(process, State.FATAL), ()
    delay = moment.policy.backoff.delay(process.tally, moment.jitter)
    if delay <= 0:
        return _begin(process)
    return _armed(_rest(process, State.BACKOFF), delay)


def _rest(process: Process, state: State) -> Process:
    """Return the process at rest; the epoch moves on, so that no timer of before can wake it."""
    return replace(process, state=state, epoch=process.epoch + 1, started=None, ended=None)


# ---- the acts of the table: (process, event, moment) -> (process, effects)


def _ignore(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return process, ()


def _start(process: Process, _event: Event, _moment: Moment) -> Outcome:
    """Start at somebody's request: what went wrong before does not count any more."""
    return _begin(replace(process, wish=Wish.UP, tally=CLEAN, waits=0))


def _start_again(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return _begin(process)


def _want_up(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return replace(process, wish=Wish.UP), ()


def _want_new_run(process: Process, _event: Event, _moment: Moment) -> Outcome:
    """Start at once when the present run is gone."""
    return replace(process, wish=Wish.UP, tally=CLEAN, waits=0, ended=None), ()


def _want_down(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return replace(process, wish=Wish.DOWN), ()


def _stay_down(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return replace(_rest(process, State.STOPPED), wish=Wish.DOWN), ()


def _stop(process: Process, _event: Event, moment: Moment) -> Outcome:
    return _halt(replace(process, wish=Wish.DOWN, ended=None), moment.policy)


def _restart(process: Process, _event: Event, moment: Moment) -> Outcome:
    return _halt(replace(process, wish=Wish.UP, tally=CLEAN, waits=0, ended=None), moment.policy)


def _lives(process: Process, _event: Event, moment: Moment) -> Outcome:
    """Begin the seconds that it must stay up to count as running."""
    if process.started is not None:
        return process, ()
    return _armed(replace(process, started=moment.now), moment.policy.start_seconds)


def _runs(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return replace(process, state=State.RUNNING, waits=0), ()


def _lives_after_all(process: Process, _event: Event, moment: Moment) -> Outcome:
    """Stop what should not live. Nobody expects this; a process that is not ours to see must not stay."""
    return _halt(replace(process, started=moment.now), moment.policy)


def _halt_late(process: Process, _event: Event, moment: Moment) -> Outcome:
    """Ask again: its end was asked for before it lived."""
    return replace(process, started=moment.now), (Halt(process.run),)


def _missing(process: Process, _event: Event, moment: Moment) -> Outcome:
    """Wait for something to run; no failure is counted."""
    full = min(WAIT_FIRST_SECONDS * 2.0 ** min(process.waits, 16), WAIT_CAP_SECONDS)
    waiting = replace(_rest(process, State.WAITING), waits=process.waits + 1)
    return _armed(waiting, full * (1 - moment.jitter / 2))


def _spawn_failed(process: Process, _event: Event, moment: Moment) -> Outcome:
    tally = moment.policy.backoff.count(process.tally, 0.0, lasted=False)
    return _retry(replace(process, tally=tally, waits=0), moment)


def _exited(process: Process, event: Event, moment: Moment) -> Outcome:
    """Take note of an end that nobody asked for; leftovers are stopped before anything else happens."""
    uptime = 0.0 if process.started is None else max(0.0, moment.now - process.started)
    exited = event if isinstance(event, Exited) else None
    ended = Ended(bool(exited and exited.ok), uptime, bool(exited and exited.starved))
    over = replace(process, ended=ended)
    if exited and exited.leftovers:
        return _halt(over, moment.policy)
    return _settle(over, moment)


def _halted(process: Process, event: Event, moment: Moment) -> Outcome:
    """Settle once nothing is left; its own end while being stopped decides nothing."""
    if isinstance(event, Exited) and event.leftovers:
        return process, ()
    return _settle(process, moment)


def _never_lived(process: Process, _event: Event, moment: Moment) -> Outcome:
    return _settle(process, moment)


def _kill(process: Process, _event: Event, _moment: Moment) -> Outcome:
    return _armed(process, KILL_AGAIN_SECONDS, Kill(process.run))


S = State
_AFTER_END = (S.STARTING, S.STOPPING, S.BACKOFF, S.EXITED, S.FATAL)
_AFTER_GONE = (S.STARTING, S.BACKOFF, S.EXITED, S.FATAL)
_AFTER_STOP = (S.STOPPED, S.STARTING, S.BACKOFF, S.EXITED, S.FATAL)
_IGNORE: Mapping[State, Row] = {state: Row(_ignore, (state,)) for state in State}

TABLE: Mapping[State, Mapping[type[Event], Row]] = {
    S.STOPPED: {
        Start: Row(_start, (S.STARTING,)),
        Stop: Row(_want_down, (S.STOPPED,)),
        Restart: Row(_start, (S.STARTING,)),
        Released: _IGNORE[S.STOPPED],
        Spawned: Row(_lives_after_all, (S.STOPPING,)),
        Missing: _IGNORE[S.STOPPED],
        SpawnFailed: _IGNORE[S.STOPPED],
        Exited: _IGNORE[S.STOPPED],
        Gone: _IGNORE[S.STOPPED],
        Elapsed: _IGNORE[S.STOPPED],
    },
    S.STARTING: {
        Start: Row(_want_up, (S.STARTING,)),
        Stop: Row(_stop, (S.STOPPING,)),
        Restart: Row(_restart, (S.STOPPING,)),
        Released: _IGNORE[S.STARTING],
        Spawned: Row(_lives, (S.STARTING,)),
        Missing: Row(_missing, (S.WAITING,)),
        SpawnFailed: Row(_spawn_failed, (S.BACKOFF, S.FATAL)),
        Exited: Row(_exited, _AFTER_END),
        Gone: Row(_exited, _AFTER_GONE),
        Elapsed: Row(_runs, (S.RUNNING,)),
    },
    S.RUNNING: {
        Start: Row(_want_up, (S.RUNNING,)),
        Stop: Row(_stop, (S.STOPPING,)),
        Restart: Row(_restart, (S.STOPPING,)),
        Released: _IGNORE[S.RUNNING],
        Spawned: _IGNORE[S.RUNNING],
        Missing: _IGNORE[S.RUNNING],
        SpawnFailed: _IGNORE[S.RUNNING],
        Exited: Row(_exited, _AFTER_END),
        Gone: Row(_exited, _AFTER_GONE),
        Elapsed: _IGNORE[S.RUNNING],
    },
    S.BACKOFF: {
        Start: Row(_start, (S.STARTING,)),
        Stop: Row(_stay_down, (S.STOPPED,)),
        Restart: Row(_start, (S.STARTING,)),
        Released: Row(_start, (S.STARTING,)),
        Spawned: Row(_lives_after_all, (S.STOPPING,)),
        Missing: _IGNORE[S.BACKOFF],
        SpawnFailed: _IGNORE[S.BACKOFF],
        Exited: _IGNORE[S.BACKOFF],
        Gone: _IGNORE[S.BACKOFF],
        Elapsed: Row(_start_again, (S.STARTING,)),
    },
    S.STOPPING: {
        Start: Row(_want_new_run, (S.STOPPING,)),
        Stop: Row(_want_down, (S.STOPPING,)),
        Restart: Row(_want_new_run, (S.STOPPING,)),
        Released: _IGNORE[S.STOPPING],
        Spawned: Row(_halt_late, (S.STOPPING,)),
        Missing: Row(_never_lived, (S.STOPPED, S.STARTING)),
        SpawnFailed: Row(_never_lived, (S.STOPPED, S.STARTING)),
        Exited: Row(_halted, (S.STOPPING, *_AFTER_STOP)),
        Gone: Row(_halted, _AFTER_STOP),
        Elapsed: Row(_kill, (S.STOPPING,)),
    },
    S.EXITED: {
        Start: Row(_start, (S.STARTING,)),
        Stop: Row(_stay_down, (S.STOPPED,)),
        Restart: Row(_start, (S.STARTING,)),
        Released: _IGNORE[S.EXITED],
        Spawned: Row(_lives_after_all, (S.STOPPING,)),
        Missing: _IGNORE[S.EXITED],
        SpawnFailed: _IGNORE[S.EXITED],
        Exited: _IGNORE[S.EXITED],
        Gone: _IGNORE[S.EXITED],
        Elapsed: _IGNORE[S.EXITED],
    },
    S.FATAL: {
        Start: Row(_start, (S.STARTING,)),
        Stop: Row(_stay_down, (S.STOPPED,)),
        Restart: Row(_start, (S.STARTING,)),
        Released: _IGNORE[S.FATAL],
        Spawned: Row(_lives_after_all, (S.STOPPING,)),
        Missing: _IGNORE[S.FATAL],
        SpawnFailed: _IGNORE[S.FATAL],
        Exited: _IGNORE[S.FATAL],
        Gone: _IGNORE[S.FATAL],
        Elapsed: _IGNORE[S.FATAL],
    },
    S.WAITING: {
        Start: Row(_start, (S.STARTING,)),
        Stop: Row(_stay_down, (S.STOPPED,)),
        Restart: Row(_start, (S.STARTING,)),
        Released: Row(_start_again, (S.STARTING,)),
        Spawned: Row(_lives_after_all, (S.STOPPING,)),
        Missing: _IGNORE[S.WAITING],
        SpawnFailed: _IGNORE[S.WAITING],
        Exited: _IGNORE[S.WAITING],
        Gone: _IGNORE[S.WAITING],
        Elapsed: Row(_start_again, (S.STARTING,)),
    },
}
