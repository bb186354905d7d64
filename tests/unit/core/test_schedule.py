"""Each policy of a schedule by tables, in a world with an engine, a keeper and a disk."""

from itertools import product
from zoneinfo import ZoneInfo

import pytest
from schedule_world import RunKey, World

from shiftboss.core.agenda_values import Asked, Limits
from shiftboss.core.backoff import Backoff
from shiftboss.core.clock_gap import Moment
from shiftboss.core.cron import parse
from shiftboss.core.occurrence import Occurrence, Result, Row, Stage
from shiftboss.core.run_policy import MOST_RUNS, Policy
from shiftboss.core.schedule import step
from shiftboss.core.schedule_policy import (
    MOST_LANES,
    Terms,
    catches_up,
    latest_start,
    planned_start,
    spread_offset,
)
from shiftboss.core.schedule_runs import TABLE
from shiftboss.core.schedule_values import (
    RUN_EVENTS,
    TRACK_EVENTS,
    Admitted,
    Checked,
    Closing,
    Exited,
    Gone,
    Keep,
    Lost,
    NeverStarted,
    NotSpawned,
    Paused,
    Resumed,
    RunNow,
    Scene,
    Spawned,
    StopRuns,
    Track,
)
from shiftboss.core.timing import AfterTiming, BootTiming, EveryTiming, Timing, cron_timing

START = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
RIGA = ZoneInfo("Europe/Riga")


def cron(text: str, zone: str = "UTC", dst: str = "debian") -> Timing:
    return cron_timing(parse(text), ZoneInfo(zone), dst)  # type: ignore[arg-type]


def world(timing: Timing | None = None, wall: float = START + 0.5, **policy: object) -> World:
    """Return a world with one schedule, p/a, and an engine."""
    made = World({"p/a": Terms("p/a", timing or EveryTiming(60), Policy(**policy))}, wall=wall)  # type: ignore[arg-type]
    made.start_engine()
    made.settle()
    return made


def rows(made: World, address: str = "p/a") -> list[Row]:
    found = [row for row in made.rows.values() if row.address == address]
    return sorted(found, key=lambda row: row.number)


def told(made: World, address: str = "p/a") -> list[tuple[str | None, str]]:
    """Return outcome (or stage) and the beginning of the reason of each row."""
    return [(row.outcome or row.stage, row.reason.partition(":")[0]) for row in rows(made, address)]


# ---- the table


def test_every_stage_answers_every_event_of_a_run() -> None:
    assert set(TABLE) == set(Stage)
    assert all(set(row) == set(RUN_EVENTS) for row in TABLE.values())


@pytest.mark.parametrize(
    ("signalled", "reason"), [(True, "shiftboss was shut down"), (False, "exit status 1")]
)
def test_an_end_before_it_was_asked_for_is_its_own_unless_the_keeper_sent_a_signal(
    signalled: bool, reason: str
) -> None:
    """A keeper that shuts down ends the runs itself: the engine may hear of that after their end."""
    run = Occurrence(5, int(START), Stage.RUNNING, run=7, lane=1, began=START)
    scene = Scene(Terms("p/a", EveryTiming(60)), Moment(START + 2, 10.0, 10.0))
    closing, _ = step(Track(int(START), 7, (run,)), Closing(), scene)
    ended = Exited(7, False, 1, "exit status 1", START + 1, signalled=signalled)
    _, effects = step(closing, ended, scene)
    assert [(e.row.outcome, e.row.reason) for e in effects if isinstance(e, Keep)] == [("failed", reason)]


EXAMPLES = (
    *(Checked(7, True), Checked(7, False, "no"), Spawned(7, START, 5.0), NotSpawned(7, "no such file")),
    *(
        Exited(7, True, 0, "", START),
        Exited(7, False, 1, "", START, leftovers=True),
        Gone(7),
        Lost(7),
        NeverStarted(7),
    ),
)


@pytest.mark.parametrize(("stage", "event"), list(product(Stage, EXAMPLES)))
def test_no_event_loses_an_occurrence(stage: Stage, event: object) -> None:
    """After any event it is still open, or a row tells its outcome (what is detached has one already)."""
    mine = Occurrence(5, int(START), stage, run=7, lane=1, result=Result("ran", "", 0))
    scene = Scene(Terms("p/a", EveryTiming(60)), Moment(START + 1, 10.0, 10.0))
    track, effects = step(Track(int(START), 7, (mine,)), event, scene)  # type: ignore[arg-type]
    is_open = any(o.number == 5 for o in track.opens)
    concluded = [e.row for e in effects if hasattr(e, "row") and e.row.outcome and e.row.number == 5]
    assert is_open + len(concluded) == 1 or stage is Stage.DETACHED
    assert len(TRACK_EVENTS) == 8


# ---- overlap

OVERLAPS = [
    ("skip", [("running", ""), ("skipped", "overlap"), ("skipped", "overlap")], 1),
    ("queue", [("running", ""), ("waiting", ""), ("skipped", "overlap")], 1),
    ("replace", [("running", ""), ("skipped", "overlap"), ("waiting", "")], 1),
    ("allow", [("running", ""), ("running", ""), ("running", "")], 3),
]


@pytest.mark.parametrize(("overlap", "expected", "alive"), OVERLAPS)
def test_overlap_while_a_run_goes_on(overlap: str, expected: list[tuple[str, str]], alive: int) -> None:
    made = world(overlap=overlap)
    made.pass_time(185)
    assert told(made) == expected
    assert len(made.alive()) == alive


def test_what_is_queued_starts_when_the_run_ends() -> None:
    made = world(overlap="queue")
    made.pass_time(130)
    made.end_run(made.alive()[0])
    made.settle()
    assert [(s.due - START, s.wall - START > 129) for s in made.starts] == [(60, False), (120, True)]


def test_replace_stops_the_run_and_starts_when_it_is_gone() -> None:
    made = world(overlap="replace", stop_seconds=5)
    made.pass_time(121)
    (old,) = made.alive()
    assert made.runs[old].asked
    assert len(made.starts) == 1
    made.end_run(old, ok=False)
    made.settle()
    assert told(made)[0] == ("failed", "replaced by a later occurrence")
    assert [s.due - START for s in made.starts] == [60, 120]


def named(made: World) -> str:
    first, second, third, *_, last = (start.run for start in made.starts)
    return f"run {first}, {second}, {third}, …, {last}"


def test_allow_has_an_end() -> None:
    made = world(EveryTiming(1), overlap="allow")
    made.pass_time(MOST_RUNS + 3)
    assert len(made.alive()) == MOST_RUNS
    assert told(made)[-1] == ("skipped", "overlap")
    assert rows(made)[-1].reason == f"overlap: 32 runs of it go on already ({named(made)})"
    assert [alert.kind for alert in made.alerts] == ["missed"] * 3


def leave_behind(made: World, count: int) -> None:
    """Let so many runs of p/a end, each of which leaves something in the background."""
    for _ in range(count):
        made.pass_time(60)
        for key in made.alive():
            made.end_run(key, leftovers=True)
        made.settle()


def test_background_work_does_not_keep_the_next_runs_from_starting() -> None:
    """It needs a number of a process as long as it lives, but it is no run that goes on."""
    made = world(overlap="allow", leaves_background=True)
    leave_behind(made, 3 * MOST_RUNS)
    assert [outcome for outcome, _ in told(made)] == ["ran"] * 3 * MOST_RUNS
    assert not made.alerts


@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "replace"])
def test_too_much_background_work_is_told_with_the_runs_that_it_is_of(overlap: str) -> None:
    made = world(overlap=overlap, leaves_background=True)
    leave_behind(made, MOST_LANES + 2)
    assert [outcome for outcome, _ in told(made)] == ["ran"] * MOST_LANES + ["skipped"] * 2
    reason = rows(made)[-1].reason
    assert reason == f"overlap: what {MOST_LANES} of its runs left in the background lives on ({named(made)})"
    assert [(alert.kind, alert.words) for alert in made.alerts] == [("missed", reason)] * 2
    made.end_leftovers(next(iter(made.runs)))
    made.pass_time(60)
    assert len(made.alive()) == 1


def test_a_run_that_leaves_others_behind_is_over_when_they_are() -> None:
    """The next one is skipped until then, unless what is left is meant to live on."""
    made = world()
    made.pass_time(61)
    made.end_run(made.alive()[0], leftovers=True)
    made.pass_time(60)
    assert told(made) == [("running", ""), ("skipped", "overlap")]
    made.end_leftovers(next(iter(made.runs)))
    made.settle()
    assert told(made)[0][0] == "ran"


def test_background_tasks_of_laravel_live_on() -> None:
    made = world(overlap="skip", leaves_background=True)
    made.pass_time(61)
    (key,) = made.alive()
    made.end_run(key, leftovers=True)
    made.pass_time(60)
    assert [o[0] for o in told(made)] == ["ran", "running"]
    assert not made.runs[key].asked
    made.end_leftovers(key)
    made.settle()
    assert key not in made.runs


def background(made: World) -> RunKey:
    """Let a run of p/a end that leaves something behind which lives on; return the run."""
    made.pass_time(61)
    (key,) = made.alive()
    made.end_run(key, leftovers=True)
    made.settle()
    assert not made.runs[key].asked
    return key


def test_who_stops_the_runs_ends_their_background_work_too() -> None:
    made = world(cron("0 9 * * *"), wall=START + 3540, leaves_background=True, stop_seconds=5)
    key = background(made)
    made.tell(Asked("p/a", StopRuns("ann")))
    made.tell(Asked("p/a", StopRuns("ann")))
    made.settle()
    assert made.runs[key].asked
    assert made.kills(after=30), "what does not hear is killed"
    made.end_leftovers(key)
    made.settle()
    assert (told(made), made.runs, made.alerts) == ([("ran", "ended well")], {}, [])


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_timeout_counts_from_the_start_of_the_run_and_ends_its_background_work(is_restarted: bool) -> None:
    made = world(cron("0 9 * * *"), wall=START + 3540, leaves_background=True, timeout_seconds=100)
    key = background(made)
    if is_restarted:
        made.kill_engine()
        made.start_engine()
    made.pass_time(90)
    assert not made.runs[key].asked
    made.pass_time(10)
    assert made.runs[key].asked
    made.pass_time(10)
    words = f"what run {key[2]} left in the background lived longer than 100 s and is ended"
    assert [(alert.kind, alert.words) for alert in made.alerts] == [("failed", words)]
    made.end_leftovers(key)
    made.settle()
    assert (told(made), made.runs) == ([("ran", "ended well")], {})


# ---- timeout, retries, condition, expectation


def test_a_timeout_stops_the_run_then_kills_it() -> None:
    made = world(timeout_seconds=20, stop_seconds=5)
    made.pass_time(81)
    (key,) = made.alive()
    assert made.runs[key].asked
    assert made.kills(after=15)
    made.end_run(key, ok=False)
    made.settle()
    assert rows(made)[0].outcome == "timed_out"
    assert rows(made)[0].reason == "it ran longer than 20 s"


def test_a_run_that_fails_after_the_clock_was_set_forward_did_not_take_too_long() -> None:
    made = world(cron("0 9 * * *"), timeout_seconds=600)
    made.pass_time(3_610)
    made.set_clock(1800)
    made.pass_time(5)
    made.end_run(made.alive()[0], ok=False)
    made.settle()
    assert told(made) == [("failed", "exit status 1")]


def test_what_replaces_a_run_does_not_wait_for_its_retry() -> None:
    """The run has failed by its time limit when its successor is due already."""
    backoff = Backoff(first_seconds=1000, cap_seconds=1000)
    made = world(overlap="replace", timeout_seconds=59, stop_seconds=30, retries=1, backoff=backoff)
    made.pass_time(121)
    made.end_run(made.alive()[0], ok=False)
    made.pass_time(1)
    assert told(made) == [("failed", "overlap"), ("running", "")]


def test_retries_wait_longer_each_time_and_the_last_failure_counts() -> None:
    made = world(cron("0 9 * * *"), retries=2, backoff=Backoff(first_seconds=10, cap_seconds=100))
    made.pass_time(3_601)
    for _ in range(3):
        made.end_run(made.alive()[0], ok=False)
        made.pass_time(60)
    waits = [later.wall - earlier.wall for earlier, later in zip(made.starts, made.starts[1:], strict=False)]
    assert [s.attempt for s in made.starts] == [1, 2, 3]
    assert len({s.number for s in made.starts}) == 1
    assert waits[0] < waits[1]
    assert told(made) == [("failed", "exit status 1 (attempt 3)")]


@pytest.mark.parametrize("passes", [True, False])
def test_only_if_decides(passes: bool) -> None:
    made = world(only_if=True)
    made.answers["p/a"] = passes
    made.pass_time(61)
    assert told(made) == [("running", "")] if passes else [("skipped", "condition")]
    assert len(made.starts) == passes


@pytest.mark.parametrize("cause", ["", "by ann"])
def test_a_pause_that_comes_while_the_condition_is_asked_holds(cause: str) -> None:
    """What was confirmed as paused does not start a moment later; what a person asked for does."""
    made = world(only_if=True)
    if cause:
        made.tell(Asked("p/a", RunNow(cause)))
    else:
        made.stand_still(60)
    made.tell(Asked("p/a", Paused("ann")))
    made.settle()
    assert told(made) == [("running", "") if cause else ("skipped", "paused by ann")]


def test_a_run_that_takes_longer_than_expected_is_told_once() -> None:
    made = world(cron("0 9 * * *"), expect_within=30)
    made.pass_time(86_400)
    assert [alert.kind for alert in made.alerts] == ["slow"]


def test_what_cannot_be_started_failed() -> None:
    made = world()
    made.stand_still(60)
    made.settle(2)  # it is on disk, and the keeper is asked
    made.queue.clear()
    made.tell(Asked("p/a", NotSpawned(2, "php: command not found")))
    made.settle()
    assert [(row.outcome, row.reason) for row in rows(made)] == [("failed", "php: command not found")]


# ---- pauses, requests


def test_a_pause_skips_and_a_person_may_run_it_all_the_same() -> None:
    made = world()
    made.tell(Asked("p/a", Paused("ann")))
    made.pass_time(130)
    made.tell(Asked("p/a", RunNow("by ann")))
    made.tell(Asked("p/a", Resumed("ann")))
    made.settle()
    assert told(made) == [("skipped", "paused by ann"), ("skipped", "paused by ann"), ("running", "")]


def test_a_pause_outlives_the_engine() -> None:
    made = world()
    made.tell(Asked("p/a", Paused("ann")))
    made.settle()
    made.kill_engine()
    made.start_engine()
    made.pass_time(61)
    assert told(made) == [("skipped", "paused by ann")]


def test_a_run_that_is_stopped_by_somebody_failed_and_is_not_tried_again() -> None:
    made = world(retries=5)
    made.pass_time(61)
    made.tell(Asked("p/a", StopRuns("ann")))
    made.pass_time(1)
    made.end_run(made.alive()[0], ok=False)
    made.pass_time(30)
    assert told(made) == [("failed", "stopped by ann")]


def test_after_runs_on_success_only() -> None:
    made = World({"p/a": Terms("p/a", EveryTiming(60)), "p/b": Terms("p/b", AfterTiming("p/a"))}, wall=START)
    made.start_engine()
    for ok in (False, True):
        made.pass_time(61)
        made.end_run(made.alive("p/a")[0], ok=ok)
        made.settle()
    assert [(s.cause, s.wall > START + 120) for s in made.starts if s.address == "p/b"] == [
        ("after p/a", True)
    ]


# ---- time


@pytest.mark.parametrize(
    ("timing", "catch_up", "expected"),
    [
        (EveryTiming(60), None, False),
        (cron("0 * * * *"), None, False),
        (cron("0 2 * * *"), None, True),
        (cron("0 2 1 * *"), None, True),
        (EveryTiming(86_400), None, True),
        (cron("0 2 * * *"), "none", False),
        (EveryTiming(60), "once", True),
    ],
)
def test_what_is_made_up_for_by_default(timing: Timing, catch_up: str | None, expected: bool) -> None:
    assert catches_up(Terms("p/a", timing, Policy(catch_up=catch_up))) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("timing", "policy", "latest"),
    [
        (EveryTiming(60), Policy(), 60),
        (EveryTiming(10), Policy(), 10),
        (EveryTiming(3600), Policy(), 60),
        (EveryTiming(3600), Policy(deadline_seconds=300), 300),
        (EveryTiming(86_400), Policy(), float("inf")),
        (EveryTiming(86_400), Policy(deadline_seconds=60), 60),
    ],
)
def test_the_latest_start(timing: Timing, policy: Policy, latest: float) -> None:
    due = 345_600 + 86_400 * 20_000
    assert latest_start(Terms("p/a", timing, policy), due, due) - due == latest


@pytest.mark.parametrize("how", ["killed", "stopped", "suspended", "stepped"])
@pytest.mark.parametrize(
    ("timing", "policy", "starts"),
    [
        (EveryTiming(60), {}, "late"),
        (cron("0 2 * * *"), {}, "once"),
        (cron("0 2 * * *"), {"catch_up": "none"}, "none"),
        (EveryTiming(3600), {"catch_up": "once"}, "once"),
        (EveryTiming(3600), {}, "none"),
    ],
)
def test_long_absences(how: str, timing: Timing, policy: dict[str, object], starts: str) -> None:
    """Five and a half days without a look: at most one start, and every time has one row that tells why."""
    made = world(timing, wall=START + 30, **policy)
    away = 5.5 * 86_400 + 1000
    words = {
        "killed": "shiftboss was not running",
        "stopped": "the engine stood still",
        "suspended": "the machine was suspended",
        "stepped": "the clock was set forward",
    }[how]
    if how == "killed":
        made.kill_engine()
        made.stand_still(away)
        made.start_engine()
    else:
        {"stopped": made.stand_still, "suspended": made.suspend, "stepped": made.set_clock}[how](away)
    made.settle()
    assert len(made.starts) == (starts != "none")
    missed = [row for row in rows(made) if row.outcome == "missed"]
    assert missed
    assert all(words in row.reason for row in missed)
    assert len(rows(made)) <= 2


def test_spread_and_jitter_are_stable_and_stay_within_their_time() -> None:
    for project in ("one", "two", "three", "four"):
        terms = Terms(f"{project}/a", EveryTiming(60), Policy(spread=True))
        offsets = {planned_start(terms, due) - due for due in range(345_600, 345_600 + 600, 60)}
        assert len(offsets) == 1
        assert 0 <= offsets.pop() < 60
    jitter = Terms("p/a", EveryTiming(60), Policy(jitter_seconds=600))
    starts = [planned_start(jitter, due) - due for due in range(345_600, 345_600 + 6000, 60)]
    assert all(0 <= start < 60 for start in starts)
    assert len(set(starts)) > 5


@pytest.mark.parametrize(
    ("timing", "spread"),
    [
        (EveryTiming(60), True),
        (cron("* * * * *"), True),
        (EveryTiming(90), False),
        (cron("*/10 * * * * *"), False),
        (AfterTiming("p/b"), False),
        (BootTiming(), False),
    ],
)
def test_who_is_spread(timing: Timing, spread: bool) -> None:
    """Never what has seconds; a scheduler with tasks inside only gets the wish if they have none (backend native)."""
    policy = Policy(spread=True, asks_inside=True)
    offsets = [spread_offset(Terms(f"p{n}/a", timing, policy)) for n in range(5)]
    assert any(offsets) is spread


@pytest.mark.parametrize(
    ("timing", "back", "repeats"),
    [
        (EveryTiming(60), 1.5, False),
        (EveryTiming(60), 3600, True),
        (cron("*/5 * * * *"), 3600, True),
        (cron("30 * * * *", "UTC"), 3600, True),
        (cron("0 8 * * *", "UTC"), 3600, False),
        (cron("0 8 * * *", "UTC"), 86_400, True),
    ],
)
def test_a_clock_that_is_set_back(timing: Timing, back: float, repeats: bool) -> None:
    """What follows the clock goes on at its pace; fixed times run again only if the clock went back by hours."""
    made = world(timing, wall=START + 0.5 + 55)
    made.pass_time(86_400)
    for key in made.alive():
        made.end_run(key)
    made.pass_time(1)
    (*_, last) = made.starts
    made.set_clock(last.wall - made.wall + 0.7)
    made.settle()
    made.set_clock(-back)
    made.settle()
    for key in made.alive():
        made.end_run(key)
    count = len(made.starts)
    made.pass_time(back)
    assert (len(made.starts) > count) is repeats


def test_daylight_saving_is_told_as_an_outcome() -> None:
    """30 3 does not exist on 28 March 2027 in Riga; with dst = skip that is a row with the reason."""
    before = 1_806_100_000.0  # 26 March 2027
    made = world(cron("30 3 * * *", "Europe/Riga", "skip"), wall=before)
    for _ in range(4):
        made.pass_time(86_400)
        for key in made.alive():
            made.end_run(key)
    made.settle()
    assert ("skipped", "daylight saving") in told(made)
    assert len(made.starts) == 3


# ---- load


@pytest.mark.parametrize(("limits", "alive"), [(Limits(), 6), (Limits(server=4), 4), (Limits(project=1), 2)])
def test_limits_of_parallel_runs(limits: Limits, alive: int) -> None:
    """What finds no room waits for it, and is missed with that reason when its time is over."""
    terms = {f"{p}/{n}": Terms(f"{p}/{n}", EveryTiming(300)) for p in "pq" for n in "abc"}
    made = World(terms, limits, wall=START)
    made.start_engine()
    made.pass_time(301)
    assert len(made.alive()) == alive
    made.end_run(made.alive()[0])
    made.settle()
    assert len(made.starts) == min(alive + 1, 6)
    made.pass_time(100)
    assert sum(row.outcome == "missed" for row in made.rows.values()) == 6 - len(made.starts)


def test_lateness_is_kept() -> None:
    made = world()
    made.pass_time(59.4)
    made.stand_still(1.3)
    made.settle()
    assert rows(made)[0].lateness == pytest.approx(1.2)


def test_a_runaway_is_stopped_and_told() -> None:
    """Starts that its times cannot mean: it halts until somebody lets it go on."""
    made = world(cron("0 9 * * *"))
    for _ in range(40):
        made.tell(Asked("p/a", RunNow("by a script")))
        made.settle()
        for key in made.alive():
            made.end_run(key)
        made.settle()
    assert [alert.kind for alert in made.alerts] == ["runaway"]
    assert len(made.starts) == 20
    made.tell(Asked("p/a", Resumed("ann")))
    made.tell(Asked("p/a", RunNow("by ann")))
    made.settle()
    assert len(made.starts) == 21


def test_admitting_what_is_not_ready_changes_nothing() -> None:
    scene = Scene(Terms("p/a", EveryTiming(60)), Moment(START, 10.0, 10.0))
    assert step(Track(int(START)), Admitted(3), scene) == (Track(int(START)), ())
