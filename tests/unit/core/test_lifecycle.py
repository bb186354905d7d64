"""The table is total, does what its rows say, and holds its promises in any world."""

from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shiftboss.core import lifecycle
from shiftboss.core.backoff import Tally
from shiftboss.core.lifecycle import (
    EVENTS,
    RESTING,
    TABLE,
    Arm,
    Effect,
    Elapsed,
    Event,
    Exited,
    Gone,
    Halt,
    Held,
    Kill,
    Missing,
    Policy,
    Process,
    Released,
    Restart,
    Row,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Wish,
    adopt,
    step,
)

UP, DOWN = Wish.UP, Wish.DOWN
LASTING = 1000.0  # an uptime that is a good run under any policy of this file


def follow(*events: tuple[float, Event], policy: Policy | None = None) -> tuple[Process, list[Effect]]:
    """Play events (time, event) from a stopped process; return it and everything that was asked for."""
    process, asked = Process(), []
    for now, event in events:
        process, effects = step(process, event, now, policy or Policy())
        asked.extend(effects)
    return process, asked


def started(process: Process, now: float = 0.0) -> Process:
    """Bring a process that is being started to RUNNING."""
    process, _ = step(process, Spawned(process.run), now, Policy())
    process, _ = step(process, Elapsed(process.epoch), now + 1, Policy())
    assert process.state is State.RUNNING
    return process


def running(wish: Wish = UP) -> Process:
    return replace(started(step(Process(), Start(), 0.0, Policy())[0]), wish=wish)


def test_every_state_answers_every_event() -> None:
    assert set(TABLE) == set(State)
    for state, rows in TABLE.items():
        assert set(rows) == set(EVENTS), state


def test_a_start_runs_after_its_start_seconds() -> None:
    process, asked = follow((0, Start()), (0.1, Spawned(1)))
    assert (process.state, asked) == (State.STARTING, [Spawn(1), Arm(2, 1.0)])
    process, asked = step(process, Elapsed(2), 1.1, Policy())
    assert (process.state, asked) == (State.RUNNING, ())


def test_a_crash_after_a_lasting_run_is_followed_by_the_next_run_at_once() -> None:
    process, asked = step(running(), Exited(1, ok=False, leftovers=False), LASTING, Policy())
    assert (process.state, asked) == (State.STARTING, (Spawn(2),))


def test_an_exit_0_is_followed_by_the_next_run_too() -> None:
    process, _ = step(running(), Exited(1, ok=True, leftovers=False), LASTING, Policy())
    assert process.state is State.STARTING


def test_a_quick_exit_waits_and_then_starts_again() -> None:
    process, asked = follow((0, Start()), (0, Spawned(1)), (0.5, Exited(1, ok=False, leftovers=False)))
    assert process.state is State.BACKOFF
    assert asked[-1] == Arm(process.epoch, 1.0)
    process, asked = step(process, Elapsed(process.epoch), 1.5, Policy())
    assert (process.state, asked) == (State.STARTING, (Spawn(2),))


def test_leftovers_are_stopped_before_the_next_run_starts() -> None:
    process, asked = step(running(), Exited(1, ok=False, leftovers=True), LASTING, Policy())
    assert (process.state, asked[0]) == (State.STOPPING, Halt(1))
    process, asked = step(process, Gone(1), LASTING + 1, Policy())
    assert (process.state, asked) == (State.STARTING, (Spawn(2),))


def test_a_quick_exit_with_leftovers_still_waits() -> None:
    process, _ = follow(
        (0, Start()), (0, Spawned(1)), (0.5, Exited(1, ok=False, leftovers=True)), (20, Gone(1))
    )
    assert (process.state, process.tally) == (State.BACKOFF, Tally(1, 0))


def test_stop_waits_for_everything_to_be_gone() -> None:
    process, asked = step(running(), Stop(), 5, Policy(stop_seconds=7))
    assert (process.state, asked) == (State.STOPPING, (Halt(1), Arm(process.epoch, 7)))
    process, _ = step(process, Exited(1, ok=True, leftovers=True), 6, Policy())
    assert process.state is State.STOPPING
    process, _ = step(process, Gone(1), 7, Policy())
    assert (process.state, process.wish) == (State.STOPPED, DOWN)


def test_who_ignores_the_stop_signal_is_killed_again_and_again_and_is_not_called_stopped() -> None:
    process, _ = step(running(), Stop(), 5, Policy())
    for _ in range(3):
        process, asked = step(process, Elapsed(process.epoch), 40, Policy())
        assert (process.state, asked[0]) == (State.STOPPING, Kill(1))


def test_a_stop_before_the_run_lives_ends_that_run() -> None:
    process, asked = follow((0, Start()), (0, Stop()))
    assert (process.state, asked[:2]) == (State.STOPPING, [Spawn(1), Halt(1)])
    process, asked = step(process, Spawned(1), 1, Policy())
    assert (process.state, asked) == (State.STOPPING, (Halt(1),))
    process, _ = step(process, Exited(1, ok=True, leftovers=False), 2, Policy())
    assert process.state is State.STOPPED


def test_a_stop_before_a_start_that_fails_ends_in_stopped() -> None:
    process, _ = follow((0, Start()), (0, Stop()), (1, SpawnFailed(1)))
    assert process.state is State.STOPPED


def test_a_start_while_stopping_follows_when_all_is_gone() -> None:
    process, _ = step(running(), Stop(), 5, Policy())
    process, _ = step(process, Start(), 5, Policy())
    assert (process.state, process.wish) == (State.STOPPING, UP)
    process, asked = step(process, Exited(1, ok=False, leftovers=False), 6, Policy())
    assert (process.state, asked) == (State.STARTING, (Spawn(2),))


def test_a_restart_ends_the_run_and_starts_the_next_at_once_however_short_the_run_was() -> None:
    process, _ = follow((0, Start()), (0, Spawned(1)), (0.1, Restart()))
    assert process.state is State.STOPPING
    process, asked = step(process, Exited(1, ok=False, leftovers=False), 0.2, Policy())
    assert (process.state, asked, process.tally) == (State.STARTING, (Spawn(2),), Tally())


def test_it_waits_for_a_release_without_counting_failures_and_starts_when_there_is_one() -> None:
    process, asked = follow((0, Start()), (0, Missing(1)))
    assert (process.state, process.tally) == (State.WAITING, Tally())
    assert asked[-1] == Arm(process.epoch, 1.0)
    process, asked = step(process, Released(), 3, Policy())
    assert (process.state, asked) == (State.STARTING, (Spawn(2),))


def test_it_looks_for_a_missing_command_less_and_less_often() -> None:
    process, delays = step(Process(), Start(), 0, Policy())[0], []
    for _ in range(9):
        process, asked = step(process, Missing(process.run), 0, Policy())
        delays.append(asked[-1].seconds)  # type: ignore[union-attr]  # the last effect of WAITING is Arm
        process, _ = step(process, Elapsed(process.epoch), 0, Policy())
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_new_release_ends_the_waiting_after_failures() -> None:
    process, _ = follow((0, Start()), (0, SpawnFailed(1)), (0, Released()))
    assert (process.state, process.tally) == (State.STARTING, Tally())


def fail_for_good(policy: Policy, limit: int) -> Process:
    process, _ = step(Process(), Start(), 0, policy)
    for _ in range(limit):
        process, _ = step(process, SpawnFailed(process.run), 0, policy)
        process, _ = step(process, Elapsed(process.epoch), 0, policy)
    return process


def test_it_never_gives_up_by_default() -> None:
    assert fail_for_good(Policy(), 500).state is State.STARTING


def test_it_gives_up_where_the_unit_asks_for_a_limit_and_a_start_revives_it() -> None:
    policy = Policy(limit=3)
    process = fail_for_good(policy, 3)
    assert process.state is State.FATAL
    process, asked = step(process, Start(), 0, policy)
    assert (process.state, asked, process.tally) == (State.STARTING, (Spawn(4),), Tally())


@pytest.mark.parametrize(
    ("restart", "ok", "state"),
    [
        ("never", True, State.EXITED),
        ("never", False, State.EXITED),
        ("on-failure", True, State.EXITED),
        ("on-failure", False, State.STARTING),
    ],
)
def test_the_unit_says_when_an_end_is_final(restart: lifecycle.RestartWhen, ok: bool, state: State) -> None:
    process, _ = step(running(), Exited(1, ok, leftovers=False), LASTING, Policy(restart=restart))
    assert process.state is state


def test_messages_and_timers_of_the_past_change_nothing() -> None:
    process = running()
    for event in (Exited(0, ok=False, leftovers=False), Gone(7), Spawned(0), Missing(0), Elapsed(1)):
        assert step(process, event, 9, Policy()) == (process, ())


def test_a_process_that_turns_up_where_none_should_be_is_ended() -> None:
    for state in RESTING:
        process, asked = step(Process(state=state, run=3), Spawned(3), 0, Policy())
        assert (process.state, asked[0]) == (State.STOPPING, Halt(3))


def held(run: int = 4, started: float = 0.0, *, stopping: bool = False, ok: bool | None = None) -> Held:
    return Held(run, started, stopping, ok)


def test_a_new_engine_takes_over_what_lives() -> None:
    process, asked = adopt(UP, held(), 100, Policy(), Process())
    assert (process.state, process.run, asked) == (State.RUNNING, 4, ())


def test_a_new_engine_goes_on_waiting_for_the_rest_of_the_start_seconds() -> None:
    process, asked = adopt(UP, held(started=99.5), 100, Policy(), Process())
    assert (process.state, asked) == (State.STARTING, (Arm(process.epoch, 0.5),))
    assert step(process, Elapsed(process.epoch), 101, Policy())[0].state is State.RUNNING


def test_a_new_engine_goes_on_stopping() -> None:
    for wish, stopping in ((DOWN, False), (DOWN, True), (UP, True)):
        process, asked = adopt(wish, held(stopping=stopping), 100, Policy(), Process())
        assert (process.state, asked[0]) == (State.STOPPING, Halt(4))


def test_a_new_engine_starts_what_should_run_and_leaves_the_rest() -> None:
    process, asked = adopt(UP, None, 100, Policy(), Process(run=9))
    assert (process.state, asked) == (State.STARTING, (Spawn(10),))
    process, asked = adopt(DOWN, None, 100, Policy(), Process(run=9))
    assert (process.state, asked) == (State.STOPPED, ())


def test_an_exit_that_happened_without_an_engine_is_settled_like_any_other() -> None:
    process, _ = adopt(UP, held(ok=False), 100, Policy(), Process())
    process, asked = step(process, Exited(4, ok=False, leftovers=False), 50, Policy())
    assert (process.state, asked) == (State.STARTING, (Spawn(5),))


@dataclass
class Run:
    """A run in the world: its main program, and who it left behind."""

    main: bool = True
    others: int = 0
    halted: bool = False


@dataclass
class World:
    """The keeper and the kernel as the process sees them: commands and messages keep their order."""

    commands: deque[Effect] = field(default_factory=deque)
    messages: deque[Event] = field(default_factory=deque)
    runs: dict[int, Run] = field(default_factory=dict)

    def alive(self) -> list[int]:
        return [number for number, run in self.runs.items() if run.main or run.others]


outcomes = st.sampled_from(["lives", "lives", "lives", "missing", "refused"])
policies = st.builds(
    Policy,
    restart=st.sampled_from(["always", "on-failure", "never"]),
    limit=st.sampled_from([0, 0, 2]),
    start_seconds=st.sampled_from([0.0, 1.0, 5.0]),
)


class PlayedWorld(RuleBasedStateMachine):
    """Every order of requests, deaths, messages, timers and engine crashes."""

    @initialize(policy=policies)
    def begin(self, policy: Policy) -> None:
        self.policy, self.now = policy, 0.0
        self.process, self.world = Process(), World()
        self.timer: Arm | None = None
        self.old_timers: list[Arm] = []
        self.old_messages: list[Event] = []

    def feed(self, event: Event, jitter: float = 0.0) -> None:
        before = self.process
        self.process, effects = step(before, event, self.now, self.policy, jitter)
        row: Row = TABLE[before.state][type(event)]
        assert self.process.state in (*row.to, before.state), (before, event, self.process)
        self.perform(effects)

    def perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Arm):
                if self.timer:
                    self.old_timers.append(self.timer)
                self.timer = effect
            else:
                self.world.commands.append(effect)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(event=st.sampled_from([Start(), Stop(), Restart(), Released()]))
    def somebody_asks(self, event: Event) -> None:
        self.feed(event)

    @precondition(lambda self: self.world.commands)
    @rule(outcome=outcomes, obeys=st.booleans(), others=st.integers(0, 2))
    def the_keeper_acts(self, outcome: str, obeys: bool, others: int) -> None:
        match self.world.commands.popleft():
            case Spawn(run=run):
                assert not self.world.alive(), "a second copy"
                assert run not in self.world.runs, "a run number twice"
                self.spawn(run, outcome, others)
            case Halt(run=run):
                self.signal(run, dies=obeys)
            case Kill(run=run):
                self.signal(run, dies=True)

    def spawn(self, run: int, outcome: str, others: int) -> None:
        self.world.runs[run] = Run(main=outcome == "lives", others=others if outcome == "lives" else 0)
        message = {"lives": Spawned, "missing": Missing, "refused": SpawnFailed}[outcome](run)
        self.world.messages.append(message)

    def signal(self, run: int, *, dies: bool) -> None:
        world = self.world.runs.get(run)
        if world and dies:
            had_main, had_others = world.main, world.others
            world.main, world.others = False, 0
            if had_main:
                self.world.messages.append(Exited(run, ok=True, leftovers=False))
            elif had_others:
                self.world.messages.append(Gone(run))

    @precondition(lambda self: any(r.main for r in self.world.runs.values()))
    @rule(ok=st.booleans())
    def the_main_program_dies(self, ok: bool) -> None:
        [number] = [n for n, r in self.world.runs.items() if r.main]
        run = self.world.runs[number]
        run.main = False
        self.world.messages.append(Exited(number, ok, leftovers=run.others > 0))

    @precondition(lambda self: any(r.others and not r.main for r in self.world.runs.values()))
    @rule()
    def the_others_die(self) -> None:
        [number] = [n for n, r in self.world.runs.items() if r.others and not r.main]
        self.world.runs[number].others = 0
        self.world.messages.append(Gone(number))

    @precondition(lambda self: self.world.messages)
    @rule(twice=st.booleans(), jitter=st.floats(0, 1, exclude_max=True))
    def a_message_arrives(self, twice: bool, jitter: float) -> None:
        message = self.world.messages.popleft()
        self.old_messages.append(message)
        self.feed(message, jitter)

    @precondition(lambda self: self.old_messages)
    @rule(choice=st.integers(0, 10**6))
    def an_old_message_arrives_again(self, choice: int) -> None:
        message = self.old_messages[choice % len(self.old_messages)]
        if message.run != self.process.run:  # type: ignore[union-attr]  # only messages with a run come here
            before = self.process
            self.feed(message)
            assert self.process == before

    @precondition(lambda self: self.timer)
    @rule()
    def the_timer_runs_out(self) -> None:
        timer, self.timer = self.timer, None
        assert timer
        self.now += timer.seconds
        self.feed(Elapsed(timer.epoch))

    @precondition(lambda self: self.old_timers)
    @rule()
    def a_timer_of_the_past_runs_out(self) -> None:
        before = self.process
        self.feed(Elapsed(self.old_timers.pop().epoch))
        assert self.process == before

    @rule()
    def the_engine_dies_and_another_takes_over(self) -> None:
        """Commands that were sent are carried out; the keeper then tells what it holds."""
        while self.world.commands:
            self.the_keeper_acts("lives", obeys=False, others=0)
        unread, self.timer, self.old_timers = list(self.world.messages), None, []
        self.world.messages.clear()
        wish, known = self.process.wish, Process(run=self.process.run)
        alive = self.world.alive()
        exits = [m for m in unread if isinstance(m, Exited)]
        kept: Held | None = None
        if alive and self.world.runs[alive[0]].main:
            kept = Held(alive[0], self.now, stopping=self.process.state is State.STOPPING, ok=None)
        elif exits or alive:
            run = exits[-1].run if exits else alive[0]
            kept = Held(run, self.now, stopping=False, ok=exits[-1].ok if exits else False)
        self.process, effects = adopt(wish, kept, self.now, self.policy, known)
        self.perform(effects)
        if kept and kept.ok is not None:
            self.feed(Exited(kept.run, kept.ok, leftovers=bool(alive)))

    @invariant()
    def nothing_rests_while_a_process_lives(self) -> None:
        if not hasattr(self, "process") or self.process.state not in RESTING:
            return
        assert not self.world.alive(), self.process
        assert not any(isinstance(c, Spawn) for c in self.world.commands), self.process

    @invariant()
    def never_two_copies(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.alive()) <= 1

    def teardown(self) -> None:
        """A world in which everything works again leads to what is wished."""
        if not hasattr(self, "process"):
            return
        for _ in range(60):
            if self.world.commands:
                self.the_keeper_acts("lives", obeys=True, others=0)
            elif self.world.messages:
                self.a_message_arrives(twice=False, jitter=0.0)
            elif self.timer and self.process.state is not State.RUNNING:
                self.the_timer_runs_out()
        final = {State.EXITED} if self.policy.restart != "always" else set[State]()
        final |= {State.FATAL} if self.policy.limit else set()
        wanted = {State.RUNNING} if self.process.wish is UP else {State.STOPPED}
        assert self.process.state in wanted | final, self.process


TestPlayedWorld = PlayedWorld.TestCase
TestPlayedWorld.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
