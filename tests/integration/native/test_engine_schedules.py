"""Schedules on the real engine and keeper: each occurrence starts once, ends as one outcome, and says why."""

import contextlib
import os
import signal
import sqlite3
import time

import pytest
from engine_rig import EngineRig, engine_rig, eventually
from keeper_rig import until
from occurrence_check import faults_of_seconds

from shiftboss.core.schedule_entry import Times

DAILY = Times(cron="0 4 * * *", timezone="Europe/Riga")


def test_a_schedule_runs_each_second_and_every_run_is_told_with_its_output() -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("tick", "/bin/sh", "-c", "echo hello from $SHIFTBOSS_RUN"))
        until(lambda: rig.outcomes().count("ran") >= 3, "three runs")
        rows = [row for row in rig.occurrences() if row.outcome == "ran"]
        dues = [row.due for row in rows]
        assert dues == list(range(dues[0], dues[0] + len(dues))), "one for each second"
        assert len({row.run for row in rows}) == len(rows)
        assert all(row.lateness is not None and row.lateness < 1 for row in rows)
        assert all(row.memory_bytes for row in rows)
        with rig.client() as client:
            lines = client.run_log("app/tick", rows[1].run).lines
        assert len(lines) == 3
        assert lines[0].startswith(f"--- run {rows[1].run} of app/tick began ")
        assert lines[1] == f"hello from {rig.instance}/app/tick/1/{rows[1].run}"
        assert ": exit 0 after 0." in lines[2]


def test_a_failure_is_told_with_status_reason_and_the_end_of_the_output() -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("bad", "/bin/sh", "-c", "echo ERROR: no such table; exit 3"))
        until(lambda: "failed" in rig.outcomes(), "a failure")
        row = next(row for row in rig.occurrences() if row.outcome == "failed")
        assert row.exit_status == 3
        assert row.reason == "exit 3; log: ERROR: no such table"
        assert row.excerpt == "ERROR: no such table"


def test_run_now_answers_with_the_outcome_and_a_pause_holds_what_comes_by_itself() -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("backup", "/bin/sh", "-c", "echo done; exit 4", times=DAILY))
        with rig.client() as client:
            client.pause("app/backup")
            ran = client.run("app/backup", wait_seconds=20)
            assert (ran.outcome, ran.exit_status) == ("failed", 4)
            [status] = client.schedules().schedules
            assert status.paused == "root"
            assert status.when == "0 4 * * * (Europe/Riga)"
            assert status.next
            assert status.next > time.time()
            assert status.last
            assert status.last.cause == "by root"
            client.resume("app")
            assert client.schedules("app/backup").schedules[0].paused == ""


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("skip", {"ran", "skipped"}),
        ("allow", {"ran"}),
        ("replace", {"failed"}),
        ("queue", {"ran", "skipped"}),
    ],
)
def test_what_becomes_of_an_occurrence_while_another_runs_is_as_wished(
    overlap: str, expected: set[str]
) -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("slow", "/bin/sleep", "2.5", overlap=overlap, stop_seconds=2))
        until(lambda: len(rig.outcomes()) >= 4, "four outcomes", 30)
        found = set(rig.outcomes())
        assert found == expected
        skipped = [row.reason for row in rig.occurrences() if row.outcome == "skipped"]
        assert all(reason.startswith("overlap: ") for reason in skipped)


def test_a_run_that_takes_too_long_is_ended_with_all_it_started_and_tried_again() -> None:
    with engine_rig() as rig:
        script = "sleep 1000 & sleep 1000"
        entries = rig.schedule(
            "long", "/bin/sh", "-c", script, times=DAILY, timeout_seconds=1, retries=1, stop_seconds=2
        )
        rig.launch(*entries)
        with rig.client() as client:
            ran = client.run("app/long", wait_seconds=40)
        assert (ran.outcome, ran.reason) == ("timed_out", "it ran longer than 1 s (attempt 2)")
        eventually(lambda: not rig.sleepers(), "nothing left")


def test_a_condition_that_says_no_skips_and_one_that_says_yes_runs() -> None:
    with engine_rig() as rig:
        door = rig.root / "door"
        rig.launch(*rig.schedule("tick", "/bin/true", only_if=("/usr/bin/test", "-e", str(door))))
        until(lambda: rig.outcomes().count("skipped") >= 2, "two skipped")
        assert "ran" not in rig.outcomes()
        assert rig.occurrences()[0].reason == "condition: exit 1"
        door.touch()
        until(lambda: "ran" in rig.outcomes(), "a run")


def test_a_schedule_after_another_runs_after_its_success_only() -> None:
    with engine_rig() as rig:
        flag = rig.root / "flag"
        rig.launch(
            *rig.schedule("dump", "/usr/bin/test", "-e", str(flag), times=DAILY),
            *rig.schedule("upload", "/bin/true", times=Times(after="app/dump")),
        )
        with rig.client() as client:
            assert client.run("app/dump", wait_seconds=20).outcome == "failed"
            flag.touch()
            assert client.run("app/dump", wait_seconds=20).outcome == "ran"
        until(lambda: rig.outcomes("app/upload") == ["ran"], "the follower")
        assert rig.occurrences("app/upload")[0].cause == "after app/dump"


def test_what_a_run_leaves_behind_on_purpose_lives_on_and_the_next_one_starts_beside_it() -> None:
    with engine_rig() as rig:
        done = rig.root / "done"
        script = f"(sleep 2.5; echo x >> {done}) & exit 0"
        rig.launch(*rig.schedule("artisan", "/bin/sh", "-c", script, leaves_background=True))
        until(lambda: rig.outcomes().count("ran") >= 3, "three runs")
        until(lambda: done.exists() and len(done.read_text()) >= 4, "two of their background tasks to finish")
        assert set(rig.outcomes()) == {"ran"}


def test_a_task_that_failed_inside_a_scheduler_that_exits_with_0_is_named() -> None:
    output = "  2026-11-24 04:00:00 Running ['artisan' reports:send] ......... 12.35ms FAIL"
    with engine_rig() as rig:
        rig.launch(*rig.schedule("scheduler", "/bin/echo", output, times=DAILY, asks_inside=True))
        with rig.client() as client:
            ran = client.run("app/scheduler", wait_seconds=20)
        assert (ran.outcome, ran.exit_status) == ("failed", 0)
        assert "reports:send" in ran.reason


def test_what_a_run_leaves_behind_is_ended_otherwise() -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("once", "/bin/sh", "-c", "sleep 1000 & exit 0", times=DAILY, stop_seconds=1))
        with rig.client() as client:
            assert client.run("app/once", wait_seconds=20).outcome == "ran"
        assert not rig.sleepers()


def test_a_schedule_that_is_changed_keeps_its_run_and_its_history() -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("job", "/bin/sleep", "3", times=DAILY))
        with rig.client() as client:
            client.run("app/job")
            until(lambda: client.schedules().schedules[0].running, "the run")
            rig.write_all(*rig.schedule("job", "/bin/sleep", "3", times=Times(cron="5 4 * * *")))
            reloaded = client.reload()
            assert not reloaded.errors
            [status] = client.schedules().schedules
            assert status.when.startswith("5 4 * * *")
            assert len(status.running) == 1
            until(lambda: rig.outcomes() == ["ran"], "its end")
            rig.write_all()
            client.reload()
            assert client.schedules().schedules == ()
        assert rig.outcomes() == ["ran"]


def test_times_that_cannot_be_are_told_and_hurt_nobody_else() -> None:
    with engine_rig() as rig:
        rig.launch(
            *rig.schedule("wrong", "/bin/true", times=Times(cron="99 * * * *")),
            *rig.schedule("right", "/bin/true"),
        )
        until(lambda: rig.outcomes("app/right"), "the other's run")
        with rig.client() as client:
            assert any("app/wrong" in words for words in client.status().troubles)


def test_an_engine_that_stands_still_accounts_for_every_second() -> None:
    with engine_rig() as rig:
        rig.launch(*rig.schedule("tick", "/bin/true"))
        until(lambda: rig.outcomes(), "a run")
        engine = rig.engine_pid
        os.kill(engine, signal.SIGSTOP)
        time.sleep(6)  # that is the case
        os.kill(engine, signal.SIGCONT)
        until(lambda: any(row.outcome == "missed" for row in rig.occurrences()), "what was missed")
        until(lambda: rig.outcomes()[-1] == "ran", "a run again")
        assert not faults_of_seconds(rig.occurrences("app/tick"))
        missed = next(row for row in rig.occurrences() if row.outcome == "missed")
        assert "stood still" in missed.reason
        assert missed.times >= 4


def test_what_is_due_at_boot_runs_once_however_often_the_engine_and_the_keeper_start() -> None:
    def at_boot(rig: EngineRig) -> int:
        return [row.cause for row in rig.occurrences()].count("after the start of the machine")

    with engine_rig() as rig:
        entries = rig.schedule("boot", "/bin/true", times=Times(cron="@reboot"))
        rig.launch(*entries)
        rig.next_engine(rig.kill_engine())
        assert at_boot(rig) == 0, "the machine was started before there was this schedule"
        assert rig.stop() == 0
        with contextlib.closing(sqlite3.connect(rig.engine_state / "engine.db")) as database, database:
            database.execute("UPDATE schedule SET boot = 'an earlier one'")
        rig.launch(*entries)
        until(lambda: at_boot(rig) == 1, "the run after the start of the machine")
        rig.next_engine(rig.kill_engine())
        assert rig.stop() == 0
        rig.launch(*entries)
        with rig.client() as client:
            assert client.run("app/boot", wait_seconds=20).outcome == "ran"
        assert at_boot(rig) == 1


def test_a_damaged_database_is_set_aside_and_schedules_go_on() -> None:
    with engine_rig() as rig:
        rig.expects_errors = True
        rig.launch(*rig.schedule("tick", "/bin/true"))
        until(lambda: len(rig.outcomes()) >= 2, "runs")
        old = rig.kill_engine(signal.SIGSTOP)
        for path in rig.engine_state.glob("engine.db*"):
            path.write_bytes(b"rubbish" * 1000)
        os.kill(old, signal.SIGKILL)
        rig.next_engine(old)
        until(lambda: len(rig.outcomes()) >= 2, "runs in the new history")
        with rig.client() as client:
            assert any("damaged" in words for words in client.status().troubles)


def test_shutting_down_ends_what_runs_and_tells_it_afterwards() -> None:
    with engine_rig() as rig:
        entries = rig.schedule("job", "/bin/sleep", "1000", times=DAILY, stop_seconds=2)
        rig.launch(*entries)
        with rig.client() as client:
            client.run("app/job")
            until(lambda: [each.began for each in client.schedules().schedules[0].running], "the run")
        until(rig.sleepers, "its program")
        assert rig.stop() == 0
        assert not rig.sleepers()
        rig.launch(*entries)
        [row] = rig.occurrences()
        assert (row.outcome, row.reason) == ("failed", "shiftboss was shut down")
