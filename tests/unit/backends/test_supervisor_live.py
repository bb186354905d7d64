"""What the running Supervisor says about a worker, in our words."""

import pytest
from msgspec.structs import replace

from shiftboss.backends.supervisor_live import live, with_launched
from shiftboss.core.facts import LaunchedFacts, ProcessFacts, ProcessUse, SupervisorFacts
from shiftboss.core.spec import Account, Project, Worker
from shiftboss.core.status import ProcessStatus

PROJECT = Project("myapp", "/srv/myapp", "/logs/myapp", Account("myapp_user", 1007, 1008, "myapp_user", "/"))
ONE = Worker(
    PROJECT, "queue", "laravel-queue", "supervisor", ("/usr/bin/php",), exit_meanings=((12, "memory limit"),)
)
TWO = replace(ONE, processes=2)
ALONE = ProcessFacts("myapp_queue", "myapp_queue", "RUNNING", pid=9, started=100, now=165)


def facts(*processes: ProcessFacts) -> SupervisorFacts:
    return SupervisorFacts("4.2.5", 0, processes)


def test_a_running_process_has_pid_and_uptime_and_no_reason() -> None:
    assert live(ONE, facts(ALONE)) == (ProcessStatus(1, "RUNNING", pid=9, uptime_seconds=65),)


def test_a_clock_that_was_set_back_gives_no_negative_uptime() -> None:
    assert live(ONE, facts(replace(ALONE, now=50)))[0].uptime_seconds == 0


def test_processes_are_numbered_from_one() -> None:
    group = [replace(ALONE, name=f"myapp_queue_{n:02d}", pid=n + 1) for n in (1, 0)]
    assert [(p.process, p.pid) for p in live(TWO, facts(*group))] == [(1, 1), (2, 2)]


def test_a_process_that_supervisor_does_not_have_has_no_state() -> None:
    assert live(TWO, facts()) == (ProcessStatus(1, None), ProcessStatus(2, None))
    assert [p.state for p in live(TWO, facts(ALONE))] == ["RUNNING", None]


def test_processes_beyond_the_wanted_number_are_shown() -> None:
    group = [replace(ALONE, name=f"myapp_queue_{n:02d}") for n in range(3)]
    assert [p.process for p in live(TWO, facts(*group))] == [1, 2, 3]


def test_other_groups_and_foreign_names_are_not_ours() -> None:
    others = [replace(ALONE, group="myapp_queue2"), replace(ALONE, name="worker"), replace(ALONE, group="x")]
    assert live(ONE, facts(*others)) == (ProcessStatus(1, None),)


@pytest.mark.parametrize(
    ("state", "exit_status", "spawn_error", "reason"),
    [
        ("EXITED", 0, "", "ended with exit status 0"),
        ("EXITED", 12, "Bad exit code 12", "memory limit (exit status 12)"),
        ("EXITED", 3, "Bad exit code 3", "ended with exit status 3"),
        ("EXITED", -1, "Bad exit code -1", "killed by a signal"),
        ("EXITED", 127, "Bad exit code 127", "could not be started, its log says why (exit status 127)"),
        (
            "BACKOFF",
            0,
            "Exited too quickly (process log may have details)",
            "ended within 1 second of its start",
        ),
        ("FATAL", 0, "can't find command '/usr/bin/php'", "can't find command '/usr/bin/php'"),
        ("STOPPED", 143, "", None),
        ("STOPPING", 0, "", None),
        ("RUNNING", 0, "", None),
    ],
)
def test_the_reason_of_an_end_is_in_plain_words(
    state: str, exit_status: int, spawn_error: str, reason: str | None
) -> None:
    process = replace(ALONE, state=state, pid=0, exit_status=exit_status, spawn_error=spawn_error)
    (status,) = live(ONE, facts(process))
    assert (status.state, status.pid, status.uptime_seconds) == (state, None, None)
    assert status.exit_reason == reason


def test_a_launched_process_tells_what_it_uses_and_that_memory_ran_out() -> None:
    use = ProcessUse(memory_bytes=5, cpu_seconds=6.5, tasks=2)
    [running] = live(ONE, facts(ALONE))
    told = with_launched(running, LaunchedFacts(use))
    assert (told.memory_bytes, told.cpu_percent, told.tasks, told.exit_reason) == (5, 10.0, 2, None)
    [ended] = live(ONE, facts(replace(ALONE, state="EXITED", pid=0, exit_status=-1)))
    starved = with_launched(ended, LaunchedFacts(ProcessUse(), 1, True, 32 << 20, 32 << 20))
    assert starved.exit_reason == "out of memory: killed by the kernel (its limit is 32M, peak 32M)"
    assert with_launched(ended, None) == ended
