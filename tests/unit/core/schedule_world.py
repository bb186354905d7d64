"""A world for the agenda: clocks, a disk, a keeper with runs, and an engine that can be killed at any point.

Everything that engine, disk and keeper do to each other is a small step in one queue, so that a kill can come
between any two of them. The world shares no code with what it plays against; it knows what is due by arithmetic.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from shiftboss.core.agenda import Agenda
from shiftboss.core.agenda_values import (
    Adopted,
    Asked,
    Held,
    Incoming,
    Limits,
    Mark,
    NotStored,
    Outgoing,
    Reload,
    Save,
    Stored,
    Tick,
    WakeAt,
)
from shiftboss.core.clock_gap import Moment
from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.schedule_values import (
    Alert,
    Begin,
    Check,
    Checked,
    Exited,
    Forget,
    Gone,
    Halt,
    Kill,
    Spawned,
)

RunKey = tuple[str, int, int]


@dataclass
class Run:
    """A run as the keeper has it."""

    began: float
    since: float
    exited: Exited | None = None
    gone: bool = False
    asked: bool = False


@dataclass(frozen=True)
class Started:
    """One start that the keeper made, and which occurrence the engine made it for."""

    address: str
    run: int
    number: int
    due: int
    attempt: int
    cause: str
    wall: float
    life: int


@dataclass
class World:
    """Clocks, disk, keeper and (while `agenda` is not None) an engine."""

    terms: dict[str, Terms]
    limits: Limits = field(default_factory=Limits)
    wall: float = 1_800_000_000.0
    mono: float = 1000.0
    boot_time: float = 1000.0
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    disk_is_full: bool = False
    is_container: bool = False
    keeper: int = 1
    boot: int = 1
    life: int = 0
    runs: dict[RunKey, Run] = field(default_factory=dict)
    starts: list[Started] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    agenda: Agenda | None = None
    wake: WakeAt | None = None
    queue: deque[Callable[[], None]] = field(default_factory=deque)
    answers: dict[str, bool] = field(default_factory=dict)
    halting: set[RunKey] = field(default_factory=set)

    def now(self) -> Moment:
        return Moment(self.wall, self.mono, self.boot_time)

    # ---- the engine

    def start_engine(self) -> None:
        """Load what is on disk, hear what the keeper holds, go on."""
        assert self.agenda is None
        self.life += 1
        keeper = f"keeper {self.keeper}"
        self.agenda = Agenda(keeper=keeper, boot=keeper if self.is_container else f"boot {self.boot}")
        unfinished = [row for row in self.rows.values() if row.outcome is None]
        self.agenda.load(self.terms.values(), self.marks.values(), unfinished, self.limits, self.now())
        for (address, lane, run), held in sorted(self.runs.items()):
            self.tell(Held(address, lane, run, held.began, held.since, held.exited, held.gone))
        self.tell(Adopted())

    def kill_engine(self, keeps: Callable[[], bool] = lambda: True) -> None:
        """End the engine here. What it had sent arrives if `keeps` says so, batches in their order."""
        pending, self.queue = list(self.queue), deque()
        self.agenda, self.wake = None, None
        commits = True
        for step in pending:
            kind = getattr(step, "kind", "")
            if kind == "save":
                commits = commits and keeps()
                if commits:
                    step.write()  # type: ignore[attr-defined]
            elif kind == "keeper" and keeps():
                step()
        self.queue.clear()

    def kill_keeper(self, *, reboot: bool = False) -> None:
        """End the keeper and all its runs, and the engine with them."""
        self.kill_engine(lambda: False)
        self.runs.clear()
        self.keeper += 1
        if reboot:
            self.boot += 1
            self.mono = self.boot_time = 5.0

    def tell(self, event: Incoming) -> None:
        """Hand an event to the engine; what it asks for is put into the queue."""
        assert self.agenda is not None
        self.outgoing = list(self.agenda.take(event, self.now()))
        for effect in self.outgoing:
            self._accept(effect)

    def _accept(self, effect: Outgoing) -> None:
        match effect:
            case WakeAt():
                self.wake = effect
            case Alert():
                self.alerts.append(effect)
            case Save():
                self.queue.append(_Write(self, effect))
            case Check(address, _, run):
                passed = self.answers.get(address, True)
                self.queue.append(
                    lambda: self.tell(
                        Asked(address, Checked(run, passed, "" if passed else "only_if exited 1"))
                    )
                )
            case Begin(address, lane, run):
                assert self.agenda
                track = self.agenda.track(address)
                assert track
                (mine,) = [o for o in track.opens if o.run == run]
                self.queue.append(
                    _Spawn(self, (address, lane, run), (mine.number, mine.due, mine.attempt, mine.cause))
                )
            case Halt(address, lane, run) | Kill(address, lane, run):
                self.halting.add((address, lane, run))
                self.queue.append(_Ask(self, (address, lane, run)))
            case Forget(address, lane, run):
                self.queue.append(_Drop(self, (address, lane, run)))

    def settle(self, most: int = 10_000) -> None:
        """Perform what is in the queue, at most so many steps."""
        for _ in range(most):
            if not self.queue:
                return
            self.queue.popleft()()
        assert most < 10_000, "it never comes to rest"

    def report(self, key: RunKey, event: Exited | Gone | Spawned) -> None:
        """Have the keeper tell the engine, if there is one."""
        if self.agenda:
            self.queue.append(lambda: self.tell(Asked(key[0], event)))

    # ---- time

    def pass_time(self, seconds: float) -> None:
        """Let time pass with a running engine: it wakes up when it wants to."""
        end = self.mono + seconds
        for _ in range(2_000):
            self.settle()
            ahead = self._until_wake()
            if ahead is None or self.mono + ahead >= end:
                break
            self._advance(max(ahead, 0.0005))
            self.tell(Tick())
        else:
            raise AssertionError(f"it wakes up all the time: {self.wake} at {self.now()}")
        self._advance(end - self.mono)
        self.settle()

    def _until_wake(self) -> float | None:
        if not (self.agenda and self.wake):
            return None
        return max(0.0, min(self.wake.wall - self.wall, self.wake.mono - self.mono))

    def _advance(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds
        self.boot_time += seconds

    def stand_still(self, seconds: float) -> None:
        """Let time pass while the engine is stopped, or is not there."""
        self._advance(seconds)
        if self.agenda:
            self.tell(Tick())

    def kills(self, after: float) -> list[Kill]:
        """Let time pass in small steps; return what was to be killed."""
        found: list[Kill] = []
        end = self.mono + after
        while self.mono < end:
            self.pass_time(1.0)
            found += [effect for effect in self.outgoing if isinstance(effect, Kill)]
        return found

    def suspend(self, seconds: float) -> None:
        self.wall += seconds
        self.boot_time += seconds
        if self.agenda:
            self.tell(Tick())

    def set_clock(self, by: float) -> None:
        self.wall += by
        if self.agenda:
            self.tell(Tick())

    # ---- runs

    def end_run(self, key: RunKey, *, ok: bool = True, leftovers: bool = False) -> None:
        run = self.runs[key]
        run.exited = Exited(
            key[2], ok, 0 if ok else 1, "ended well" if ok else "exit status 1", self.wall, leftovers
        )
        run.gone = not leftovers
        self.report(key, run.exited)

    def end_leftovers(self, key: RunKey) -> None:
        self.runs[key].gone = True
        self.report(key, Gone(key[2]))

    def reload(self) -> None:
        self.tell(Reload(tuple(self.terms.values()), self.limits))

    def alive(self, address: str = "") -> list[RunKey]:
        """Return the runs whose main program lives."""
        return [key for key, run in self.runs.items() if not run.exited and address in ("", key[0])]


class _Write:
    kind = "save"

    def __init__(self, world: World, save: Save) -> None:
        self.world, self.save = world, save

    def write(self) -> None:
        if not self.world.disk_is_full:
            self.world.rows |= {(row.address, row.number): row for row in self.save.rows}
            self.world.marks |= {mark.address: mark for mark in self.save.marks}

    def __call__(self) -> None:
        self.write()
        batch = self.save.batch
        answer = NotStored(batch, "no space") if self.world.disk_is_full else Stored(batch)
        self.world.queue.append(lambda: self.world.tell(answer))


class _Spawn:
    kind = "keeper"

    def __init__(self, world: World, key: RunKey, what: tuple[int, int, int, str]) -> None:
        self.world, self.key, self.what = world, key, what

    def __call__(self) -> None:
        world, (address, _, run) = self.world, self.key
        assert self.key not in world.runs, "the keeper would refuse this: the run number was used"
        world.runs[self.key] = Run(world.wall, world.mono)
        world.starts.append(Started(address, run, *self.what, world.wall, world.life))
        world.report(self.key, Spawned(run, world.wall, world.mono))


class _Ask:
    kind = "keeper"

    def __init__(self, world: World, key: RunKey) -> None:
        self.world, self.key = world, key

    def __call__(self) -> None:
        run = self.world.runs.get(self.key)
        if run:
            run.asked = True


class _Drop:
    kind = "keeper"

    def __init__(self, world: World, key: RunKey) -> None:
        self.world, self.key = world, key

    def __call__(self) -> None:
        self.world.runs.pop(self.key, None)
