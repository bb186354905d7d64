"""A machine plays the world against the agenda: kills between any two steps, clock steps, slow runs, pauses, reloads.

Whatever happens, each due time has exactly one outcome, nothing runs twice, and no long absence makes a storm.
"""

from collections import Counter
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from schedule_world import RunKey, World

from shiftboss.core.agenda_values import Asked, Limits
from shiftboss.core.backoff import Backoff
from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_policy import Policy, Terms
from shiftboss.core.schedule_values import Paused, Resumed, RunNow, StopRuns
from shiftboss.core.timing import AfterTiming, BootTiming, EveryTiming

DAY = 86_400
SOON = Backoff(first_seconds=2.0, cap_seconds=20.0)
ALONE = frozenset({"p/skip", "p/queue", "p/replace", "q/daily", "q/asks", "q/after", "q/spread"})
SCHEDULES = {
    terms.address: terms
    for terms in (
        Terms("p/skip", EveryTiming(60)),
        Terms("p/queue", EveryTiming(90), Policy(overlap="queue", timeout_seconds=200, stop_seconds=5)),
        Terms("p/replace", EveryTiming(30), Policy(overlap="replace", stop_seconds=5)),
        Terms("p/allow", EveryTiming(60), Policy(overlap="allow", leaves_background=True)),
        Terms("q/daily", EveryTiming(DAY), Policy(retries=2, backoff=SOON, jitter_seconds=600)),
        Terms("q/asks", EveryTiming(300), Policy(only_if=True, deadline_seconds=200, expect_within=50)),
        Terms("q/after", AfterTiming("q/daily"), Policy(retries=1, backoff=SOON)),
        Terms("q/spread", EveryTiming(120), Policy(spread=True, jitter_seconds=20, catch_up="once")),
        Terms("q/boot", BootTiming()),
    )
}
STEADY = [a for a, terms in SCHEDULES.items() if isinstance(terms.timing, EveryTiming)]


@dataclass
class Wanted:
    """A stretch of time in which a schedule was wanted with one interval; both ends are seconds, the first is not in it."""

    seconds: int
    first: int
    last: int | None = None


class Schedules(RuleBasedStateMachine):
    """Plays users, clocks, disk, keeper and programs; the engine is the agenda."""

    @initialize(server=st.sampled_from([0, 0, 4]), project=st.sampled_from([0, 0, 3]), at=st.integers(0, DAY))
    def begin(self, server: int, project: int, at: int) -> None:
        self.world = World(dict(SCHEDULES), Limits(server, project), wall=1_800_000_000.5 + at)
        self.wanted: dict[str, list[Wanted]] = {}
        for address in STEADY:
            self._want(address)
        self.set_back = 0
        self.known_ok: set[tuple[str, int]] = set()
        self.world.start_engine()
        self.world.settle()

    def _want(self, address: str) -> None:
        timing = self.world.terms[address].timing
        assert isinstance(timing, EveryTiming)
        self.wanted.setdefault(address, []).append(Wanted(timing.seconds, int(self.world.wall)))

    def teardown(self) -> None:
        """Bring everything to its end, then look whether all is accounted for."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.agenda is None:
            world.start_engine()
        for _ in range(300):
            world.settle()
            for key in world.alive():
                world.end_run(key)
            for key, run in list(world.runs.items()):
                if run.exited and not run.gone:
                    world.end_leftovers(key)
            world.settle()
            if not any(row.outcome is None for row in world.rows.values()) and not world.runs:
                break
            world.pass_time(7.0)
        assert not world.runs
        self.everything_has_one_outcome()

    # ---- the world goes on

    @precondition(lambda self: self.world.agenda)
    @rule(seconds=st.one_of(st.floats(0.01, 5), st.floats(5, 400)))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.agenda)
    @rule(seconds=st.sampled_from([20.0, 60.0, 90.0, 300.0]), steps=st.integers(0, 12))
    def something_is_due(self, seconds: float, steps: int) -> None:
        """Go to the next full time and stop in the middle of what follows."""
        world = self.world
        world.pass_time(seconds - world.wall % seconds - 0.001)
        world.stand_still(0.002)
        world.settle(steps)

    @precondition(lambda self: self.world.agenda)
    @rule(steps=st.integers(1, 8))
    def some_steps(self, steps: int) -> None:
        self.world.settle(steps)

    @rule(seconds=st.one_of(st.floats(1, 10), st.floats(100, 1000), st.floats(DAY / 2, 3 * DAY)))
    def nothing_is_looked_at(self, seconds: float) -> None:
        """The engine is stopped by a signal, or is not there."""
        self._no_storm(lambda: self.world.stand_still(seconds))

    @rule(seconds=st.floats(1, 2 * DAY))
    def the_machine_sleeps(self, seconds: float) -> None:
        self._no_storm(lambda: self.world.suspend(seconds))

    def _no_storm(self, what: object) -> None:
        """After a long absence each schedule starts at most once for all that it missed."""
        world = self.world
        world.settle()
        before = Counter(s.address for s in world.starts)
        waiting = Counter(row.address for row in world.rows.values() if row.stage == "waiting")
        what()  # type: ignore[operator]
        world.settle()
        for address, count in Counter(s.address for s in world.starts).items():
            assert count - before[address] <= 1 + waiting[address] + (address == "q/after")

    @rule(seconds=st.one_of(st.floats(-5, 5), st.floats(-4000, 4000), st.floats(-2 * DAY, 2 * DAY)))
    def the_clock_is_set(self, seconds: float) -> None:
        if seconds < 0:
            self.set_back += 1
        self.world.set_clock(seconds)

    @rule(data=st.data())
    def the_engine_is_killed(self, data: st.DataObject) -> None:
        """At any point: what it sent last may or may not arrive."""
        self.world.kill_engine(lambda: data.draw(st.booleans()))

    @rule(data=st.data(), reboot=st.booleans())
    def the_keeper_is_killed(self, data: st.DataObject, reboot: bool) -> None:
        self.world.kill_engine(lambda: data.draw(st.booleans()))
        self.world.kill_keeper(reboot=reboot)

    @precondition(lambda self: self.world.agenda is None)
    @rule(steps=st.integers(0, 5))
    def the_engine_starts(self, steps: int) -> None:
        self.world.start_engine()
        self.world.settle(steps)

    # ---- programs

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data(), ok=st.booleans(), leftovers=st.booleans())
    def a_run_ends(self, data: st.DataObject, ok: bool, leftovers: bool) -> None:
        alive = self.world.alive()
        if alive:
            key = data.draw(st.sampled_from(sorted(alive)))
            self._note(key, ok)
            self.world.end_run(key, ok=ok, leftovers=leftovers)

    @rule()
    def what_was_asked_to_end_ends(self) -> None:
        for key, run in list(self.world.runs.items()):
            if run.asked and not run.exited:
                self.world.end_run(key, ok=False)
            elif run.exited and not run.gone:
                self.world.end_leftovers(key)

    @precondition(lambda self: self.world.alive())
    @rule()
    def all_runs_end_well(self) -> None:
        for key in self.world.alive():
            self._note(key, True)
            self.world.end_run(key)

    def _note(self, key: RunKey, ok: bool) -> None:
        if ok and key not in self.world.halting:
            self.known_ok.add((key[0], key[2]))

    # ---- people

    @precondition(lambda self: self.world.agenda)
    @rule(
        address=st.sampled_from(sorted(SCHEDULES)),
        what=st.sampled_from([Paused("ann"), Resumed("ann"), RunNow("by ann"), StopRuns("ann")]),
    )
    def somebody_asks(self, address: str, what: Paused | Resumed | RunNow | StopRuns) -> None:
        self.world.tell(Asked(address, what))

    @rule(address=st.sampled_from(["q/asks"]), passes=st.booleans())
    def the_condition_changes(self, address: str, passes: bool) -> None:
        self.world.answers[address] = passes

    @precondition(lambda self: self.world.agenda)
    @rule(address=st.sampled_from(STEADY), seconds=st.sampled_from([0, 45, 60, 300]))
    def the_file_changes(self, address: str, seconds: int) -> None:
        """A schedule gets other times, or goes (0), or comes back; the disk has it before anything else happens."""
        world, last = self.world, self.wanted[address][-1]
        world.settle()
        if seconds == 0:
            if address in world.terms:
                del world.terms[address]
                last.last = int(world.wall)
        else:
            timing = EveryTiming(seconds)
            if address in world.terms and world.terms[address].timing == timing:
                return
            if last.last is None:
                last.last = int(world.wall)
            world.terms[address] = Terms(address, timing, SCHEDULES[address].policy)
            self._want(address)
        world.reload()
        world.settle()

    # ---- what always holds

    @invariant()
    def nothing_runs_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        starts = self.world.starts
        attempts = Counter((s.address, s.number, s.attempt) for s in starts)
        assert all(count == 1 for count in attempts.values()), attempts
        by_time = Counter((s.address, s.due) for s in starts if s.attempt == 1 and not s.cause)
        assert all(count <= 1 + self.set_back for count in by_time.values()), by_time

    @invariant()
    def overlap_rules_hold(self) -> None:
        if not hasattr(self, "world"):
            return
        alive = Counter(key[0] for key, run in self.world.runs.items() if not run.gone)
        assert all(count <= 1 for address, count in alive.items() if address in ALONE), alive

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "world"):
            return
        alive, limits = self.world.alive(), self.world.limits
        projects = Counter(key[0].partition("/")[0] for key in alive)
        assert not limits.server or len(alive) <= limits.server
        assert not limits.project or all(count <= limits.project for count in projects.values())

    def everything_has_one_outcome(self) -> None:
        rows = list(self.world.rows.values())
        for start in self.world.starts:
            row = self.world.rows[(start.address, start.number)]
            assert row.outcome not in ("skipped", "missed"), (start, row)
            if (start.address, start.run) in self.known_ok and row.run == start.run:
                assert row.outcome in ("ran", "unknown"), row
        for address in STEADY:
            own = [row for row in rows if row.address == address and not row.cause]
            for stretch in self.wanted[address]:
                self._is_accounted_for(stretch, own)

    def _is_accounted_for(self, stretch: Wanted, rows: list[Row]) -> None:
        last = int(self.world.wall) if stretch.last is None else stretch.last
        anchor = 4 * DAY
        first_due = stretch.first + stretch.seconds - (stretch.first - anchor) % stretch.seconds
        dues = range(first_due, last + 1, stretch.seconds)
        for due in dues if len(dues) < 400 else (*dues[:200], *dues[-200:]):
            covering = [row for row in rows if row.due <= due <= row.last]
            if not self.set_back:
                assert len(covering) == 1, (due, covering)
            else:
                assert covering or due > last - 60, (due, rows)


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
