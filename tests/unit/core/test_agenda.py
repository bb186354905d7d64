"""What the agenda makes of the disk, the keeper and other engines: claims, restarts, reloads, full disks."""

from zoneinfo import ZoneInfo

import pytest
from schedule_world import World

from shiftboss.core.agenda import Agenda
from shiftboss.core.agenda_ledger import Ledger
from shiftboss.core.agenda_values import Asked, Close, Limits, Mark, Save, Tick, WakeAt
from shiftboss.core.backoff import Backoff
from shiftboss.core.clock_gap import Moment
from shiftboss.core.cron import parse
from shiftboss.core.occurrence import Row
from shiftboss.core.run_policy import Policy
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.schedule_values import Begin, Paused, RunNow
from shiftboss.core.timing import AfterTiming, BootTiming, EveryTiming, Timing, cron_timing, timing_text

START = 1_800_000_000.0


def world(timing: Timing | None = None, **policy: object) -> World:
    made = World({"p/a": Terms("p/a", timing or EveryTiming(60), Policy(**policy))}, wall=START + 0.5)  # type: ignore[arg-type]
    made.start_engine()
    made.settle()
    return made


def rows(made: World) -> list[Row]:
    return sorted(made.rows.values(), key=lambda row: row.number)


def outcomes(made: World) -> list[str | None]:
    return [row.outcome or row.stage for row in rows(made)]


def to_the_next_minute(made: World, steps: int) -> None:
    """Let the schedule be due, and perform only so many steps of what follows."""
    made.pass_time(60 - made.wall % 60 - 0.001)
    made.stand_still(0.002)
    made.settle(steps)


# ---- claim before start


def test_a_start_waits_for_its_row() -> None:
    """The batch with claim and mark comes first; the start is only asked for when it is stored."""
    made = world()
    made.pass_time(59)
    made.stand_still(1)
    (save,) = [effect for effect in made.outgoing if isinstance(effect, Save)]
    assert save.urgent
    assert [row.stage for row in save.rows] == ["claimed"]
    assert [mark.mark for mark in save.marks] == [int(START) + 60]
    assert not any(isinstance(effect, Begin) for effect in made.outgoing)
    made.settle(2)
    assert [type(effect) for effect in made.outgoing] == [Begin]


def test_a_start_that_waits_for_its_row_when_all_ends_is_taken_back_and_waits_for_the_next_engine() -> None:
    made = world()
    made.pass_time(59)
    made.stand_still(1)
    made.tell(Close())
    made.settle()
    assert outcomes(made)[-1] == "waiting"
    assert not made.alive()
    made.kill_engine()
    made.kill_keeper()
    made.start_engine()
    made.settle()
    assert outcomes(made)[-1] == "running"
    assert len(made.alive()) == 1


def test_all_that_is_due_together_is_one_batch() -> None:
    terms = {f"p/{n}": Terms(f"p/{n}", EveryTiming(60)) for n in range(50)}
    made = World(terms, wall=START + 0.5)
    made.start_engine()
    made.settle()
    made.stand_still(60)
    (save,) = [effect for effect in made.outgoing if isinstance(effect, Save)]
    assert len(save.rows) == len(save.marks) == 50


# ---- the engine is killed at each point between due and outcome


@pytest.mark.parametrize(
    ("steps", "batch_arrives", "request_arrives", "outcome"),
    [
        (0, False, False, "running"),  # nothing is on disk: the time is still to come for the next engine
        (0, True, False, "running"),  # claimed, and it is proved that it was not started
        (1, True, False, "running"),
        (2, True, False, "running"),
        (2, True, True, "running"),  # the keeper has it
        (3, True, True, "running"),
        (4, True, True, "running"),
    ],
)
def test_a_killed_engine_doubles_and_loses_nothing(
    steps: int, batch_arrives: bool, request_arrives: bool, outcome: str
) -> None:
    made = world()
    to_the_next_minute(made, steps)
    made.kill_engine(lambda: batch_arrives if not made.starts and steps < 2 else request_arrives)
    made.start_engine()
    made.settle()
    assert outcomes(made) == [outcome]
    assert len(made.starts) == 1
    assert made.starts[0].due == START + 60


@pytest.mark.parametrize(
    ("steps", "outcome", "starts"),
    [(0, "running", 1), (1, "unknown", 0), (2, "unknown", 0), (5, "unknown", 1)],
)
def test_a_claim_that_nobody_knows_of_is_unknown_and_not_started_again(
    steps: int, outcome: str, starts: int
) -> None:
    """The machine went down between claim and outcome: whether it ran cannot be known."""
    made = world()
    to_the_next_minute(made, steps)
    made.kill_keeper(reboot=True)
    made.start_engine()
    made.settle()
    assert outcomes(made) == [outcome]
    assert len(made.starts) == starts
    assert ("unknown" in [alert.kind for alert in made.alerts]) is (outcome == "unknown")


def test_an_end_that_the_keeper_holds_is_told_and_then_forgotten() -> None:
    made = world()
    made.pass_time(61)
    (key,) = made.alive()
    made.kill_engine()
    made.end_run(key)
    made.stand_still(5)
    made.start_engine()
    assert key in made.runs, "it is only forgotten when its outcome is on disk"
    made.settle()
    assert outcomes(made) == ["ran"]
    assert not made.runs


def test_a_run_without_a_row_is_taken_over() -> None:
    """Its claim could not be written, or somebody set the history aside: it still counts as running."""
    made = world()
    made.pass_time(61)
    made.kill_engine()
    made.rows.clear()
    made.start_engine()
    made.pass_time(60)
    assert outcomes(made) == ["running", "skipped"]
    assert rows(made)[0].cause == "found running"
    assert len(made.starts) == 1


def test_what_waits_for_room_is_still_there_after_a_restart() -> None:
    terms = {f"p/{n}": Terms(f"p/{n}", EveryTiming(86_400)) for n in "ab"}
    made = World(terms, Limits(server=1), wall=START - START % 86_400 + 86_400 - 1)
    made.start_engine()
    made.pass_time(2)
    assert len(made.alive()) == 1
    made.kill_engine()
    made.stand_still(1000)
    made.start_engine()
    made.end_run(made.alive()[0])
    made.settle()
    assert [s.address for s in made.starts] == ["p/a", "p/b"]


def test_what_waits_for_a_run_that_outlives_the_engine_goes_on_waiting() -> None:
    made = world(overlap="queue")
    made.pass_time(121)
    made.kill_engine()
    made.stand_still(600)
    made.start_engine()
    made.pass_time(1)
    assert outcomes(made)[:2] == ["running", "waiting"], "the run that it waits for lives"
    made.end_run(made.alive()[0])
    made.settle()
    assert outcomes(made)[:2] == ["ran", "running"]


def test_a_retry_waits_as_long_if_the_engine_is_another_one_meanwhile() -> None:
    made = world(EveryTiming(86_400), retries=1, backoff=Backoff(first_seconds=1000, cap_seconds=1000))
    made.pass_time(16 * 3600)  # to midnight
    made.end_run(made.alive()[0], ok=False)
    made.settle()
    failed = made.wall
    made.kill_engine()
    made.stand_still(20)
    made.start_engine()
    made.pass_time(1100)
    _, second = made.starts
    assert second.attempt == 2
    assert 500 <= second.wall - failed <= 1000, "half of the delay may be taken away"


# ---- the disk


def test_a_full_disk_stops_no_schedule_and_loses_no_outcome() -> None:
    made = world()
    made.disk_is_full = True
    made.pass_time(61)
    (key,) = made.alive()
    made.end_run(key)
    made.pass_time(10)
    assert [alert.kind for alert in made.alerts] == ["unwritten"]
    assert key in made.runs, "the keeper must remember it as long as we cannot"
    assert not made.rows
    made.disk_is_full = False
    made.pass_time(20)
    assert outcomes(made) == ["ran"]
    assert not made.runs


# ---- what is wanted changes


def test_a_reload_that_changes_nothing_changes_nothing() -> None:
    made = world()
    made.pass_time(61)
    before = dict(made.rows), dict(made.marks)
    made.reload()
    made.settle()
    assert (made.rows, made.marks) == before
    assert len(made.alive()) == 1


def test_new_times_do_not_start_old_ones() -> None:
    """Nothing of the past is due under new times, and a run of before goes on."""
    made = world()
    made.pass_time(61)
    made.terms["p/a"] = Terms("p/a", EveryTiming(7))
    made.reload()
    made.settle()
    assert len(made.alive()) == 1
    assert len(made.starts) == 1
    assert made.marks["p/a"].when == "every 7 seconds"


def test_a_removed_schedule_ends_with_its_last_run_and_its_numbers_go_on() -> None:
    made = world()
    made.pass_time(61)
    terms = made.terms.pop("p/a")
    made.reload()
    made.pass_time(200)
    assert outcomes(made) == ["running"]
    made.end_run(made.alive()[0])
    made.settle()
    assert outcomes(made) == ["ran"]
    assert made.agenda
    assert made.agenda.track("p/a") is None
    made.terms["p/a"] = terms
    made.reload()
    made.pass_time(61)
    assert outcomes(made) == ["ran", "running"]


@pytest.mark.parametrize("every", [60, 30])
def test_a_schedule_that_the_engine_could_not_read_at_its_start_is_still_paused_when_that_is_mended(
    every: int,
) -> None:
    made = world()
    made.tell(Asked("p/a", Paused("ann")))
    made.settle()
    made.kill_engine()
    made.terms.clear()
    made.start_engine()
    made.pass_time(150)
    made.terms["p/a"] = Terms("p/a", EveryTiming(every))
    made.reload()
    made.pass_time(60)
    assert set(outcomes(made)) == {"skipped"}
    assert not made.starts


@pytest.mark.parametrize("overlap", ["queue", "allow"])
def test_a_removed_schedule_does_not_follow_another_one_any_more(overlap: str) -> None:
    policy = Policy(overlap=overlap)  # type: ignore[arg-type]
    follower = Terms("p/b", AfterTiming("p/a"), policy)
    made = World({"p/a": Terms("p/a", EveryTiming(60)), "p/b": follower}, wall=START + 0.5)
    made.start_engine()
    made.pass_time(60)
    made.end_run(made.alive("p/a")[0])
    made.pass_time(60)
    assert made.alive("p/b"), "it runs, and so it is still there when it is removed"
    del made.terms["p/b"]
    made.reload()
    made.end_run(made.alive("p/a")[0])
    made.settle()
    made.end_run(made.alive("p/b")[0])
    made.settle()
    assert len([start for start in made.starts if start.address == "p/b"]) == 1
    assert made.agenda
    assert made.agenda.track("p/b") is None


def test_times_that_were_changed_while_nothing_ran_are_told() -> None:
    made = world()
    made.pass_time(10)
    made.tell(Asked("p/a", Paused("ann")))
    made.settle()
    made.kill_engine()
    made.terms["p/a"] = Terms("p/a", EveryTiming(300))
    made.stand_still(1000)
    made.start_engine()
    made.settle()
    (row,) = rows(made)
    assert row.outcome == "missed"
    assert "its times were changed from every 60 seconds" in row.reason


@pytest.mark.parametrize(
    "before",
    [
        cron_timing(parse("30 2 * * *"), ZoneInfo("Europe/Riga")),
        cron_timing(parse("30 2 * * *"), ZoneInfo("Europe/Riga"), "skip"),
        EveryTiming(86_400),
        EveryTiming(7 * 86_400 + 5400),
        AfterTiming("p/b"),
        BootTiming(),
    ],
    ids=timing_text,
)
def test_nothing_is_told_as_missed_if_no_time_came_while_they_were_changed(before: Timing) -> None:
    made = world(before)
    made.kill_engine()
    made.terms["p/a"] = Terms("p/a", EveryTiming(60))
    made.stand_still(10)
    made.start_engine()
    made.pass_time(60)
    assert outcomes(made) == ["running"]


def test_a_removed_schedule_with_a_claim_is_resolved_too() -> None:
    made = world()
    made.pass_time(61)
    made.kill_keeper()
    del made.terms["p/a"]
    made.start_engine()
    made.settle()
    assert outcomes(made) == ["unknown"]


def test_what_waits_for_a_schedule_that_the_next_engine_does_not_find_is_told_why_it_never_runs() -> None:
    made = world(overlap="queue")
    made.pass_time(121)
    assert outcomes(made) == ["running", "waiting"]
    made.kill_engine()
    del made.terms["p/a"]
    made.start_engine()
    made.settle()
    assert outcomes(made) == ["running", "skipped"]
    assert rows(made)[1].reason == "the schedule was removed, or its entry cannot be read any more"


# ---- boot


def test_reboot_is_once_per_boot() -> None:
    made = world(BootTiming())
    made.pass_time(100)
    assert not made.starts, "the machine had started before the schedule was there"
    made.kill_keeper(reboot=True)
    made.start_engine()
    made.settle()
    assert [s.cause for s in made.starts] == ["after the start of the machine"]
    for kill in (made.kill_engine, made.kill_keeper):
        kill()
        made.start_engine()
        made.settle()
    assert len(made.starts) == 1


def test_in_a_container_the_start_of_the_keeper_is_the_boot_also_if_its_state_is_new() -> None:
    """Most containers keep no state: each of their starts is the first one."""
    made = World({"p/a": Terms("p/a", BootTiming())}, is_container=True, wall=START)
    made.start_engine()
    made.pass_time(1)
    assert [s.cause for s in made.starts] == ["after the start of the machine"]
    made.end_run(made.alive()[0])
    made.settle()
    made.kill_engine()
    made.start_engine()
    made.settle()
    assert len(made.starts) == 1, "the same keeper"
    made.terms["p/b"] = Terms("p/b", BootTiming())
    made.reload()
    made.settle()
    assert len(made.starts) == 1, "it came later"
    made.kill_keeper()
    made.start_engine()
    made.settle()
    assert [s.address for s in made.starts] == ["p/a", "p/a", "p/b"]


# ---- waking up


def test_one_wake_up_for_each_due_instant() -> None:
    """Ten thousand schedules of which few are due: as many looks as there are instants, no polling."""
    terms = [Terms(f"p{n}/a", EveryTiming(3600 + n % 10 * 60)) for n in range(1000)]
    agenda = Agenda(keeper="k", boot="b")
    agenda.load(terms, (), (), Limits(), Moment(START, 10.0, 10.0))
    from shiftboss.core.agenda_values import Adopted

    wakes = [e for e in agenda.take(Adopted(), Moment(START, 10.0, 10.0)) if isinstance(e, WakeAt)]
    (first,) = wakes
    assert first.wall > START + 1
    assert agenda.take(Tick(), Moment(START + 1, 11.0, 11.0)) == ()


def test_an_unknown_address_is_passed_over() -> None:
    made = world()
    made.tell(Asked("p/nothing", RunNow("by ann")))
    assert made.outgoing == []


def test_a_mark_of_the_future_is_a_clock_that_was_set_back() -> None:
    """The clock was a year ahead when the mark was written: it is not silent for a year."""
    made = world()
    made.kill_engine()
    made.marks["p/a"] = Mark("p/a", int(START) + 365 * 86_400, 5, boot="boot 1", when="every 60 seconds")
    made.start_engine()
    made.pass_time(61)
    assert len(made.starts) == 1


def test_what_waited_when_the_clock_was_set_back_does_not_wait_for_its_time_once_more() -> None:
    """Its row on disk says a second that is a day ahead now: it starts, and holds nobody up."""
    made = world(overlap="queue")
    to_the_next_minute(made, 0)
    made.settle()
    to_the_next_minute(made, 9)
    assert outcomes(made) == ["running", "waiting"]
    made.set_clock(-86_400)
    made.settle()
    made.kill_engine()
    made.start_engine()
    made.end_run(made.alive()[0])
    made.settle()
    assert outcomes(made)[:2] == ["ran", "running"]


# ---- batches


def test_what_comes_while_a_batch_is_written_becomes_one_batch_and_a_start_waits_for_none() -> None:
    """Five hundred runs that begin and end together are a few transactions, not a thousand."""
    ledger = Ledger()
    ledger.mark(Mark("p/a", 1, 0))
    (first,) = ledger.close_batch(0.0)
    assert isinstance(first, Save)
    for name in ("p/b", "p/c"):
        ledger.mark(Mark(name, 1, 0))
        assert ledger.close_batch(0.0) == []
    ledger.after(Begin("p/d", 1, 1))
    ledger.mark(Mark("p/d", 1, 1))
    (urgent,) = ledger.close_batch(0.0)
    assert isinstance(urgent, Save)
    assert (urgent.urgent, [mark.address for mark in urgent.marks]) == (True, ["p/b", "p/c", "p/d"])
    ledger.mark(Mark("p/e", 1, 0))
    assert ledger.stored(first.batch) == ()
    assert ledger.close_batch(0.0) == []
    assert ledger.stored(urgent.batch) == (Begin("p/d", 1, 1),)
    (last,) = ledger.close_batch(0.0)
    assert isinstance(last, Save)
    assert [mark.address for mark in last.marks] == ["p/e"]
