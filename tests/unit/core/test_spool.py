"""What the launcher wrote of cron's runs, read back: whole, cut off by a crash, or rubbish."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.facts import Launcher, SpooledRun
from shiftboss.core.run_policy import Policy
from shiftboss.core.spec import Account, Project, Schedule
from shiftboss.core.spool import read_spool

PROJECT = Project("shop", "/srv/shop", "/logs/shop", Account("shop_user", 1007, 1007, "shop_user", "/"))
JOB = Schedule(PROJECT, "job", "custom", "cron", "* * * * *", ("/bin/true",))
LARAVEL = Schedule(
    PROJECT, "job", "laravel", "cron", "* * * * *", ("/bin/true",), policy=Policy(asks_inside=True)
)
START = {"run": 7, "due": 60, "began": 61.5, "pid": 9, "since": 12, "boot": "b"}
END = {"run": 7, "ended": 63.0, "seconds": 1.5, "code": 0, "memory": 4096}


def read(*rows: object, schedule: Schedule = JOB, alive: bool = False) -> tuple[SpooledRun, ...]:
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    return read_spool(text, schedule, lambda launcher: alive and launcher == Launcher(9, 12, "b"))


def test_a_run_that_ended_well() -> None:
    [run] = read(START, END)
    assert run == SpooledRun(7, 60, "ran", began=61.5, ended=63.0, exit_status=0, memory_bytes=4096)


@pytest.mark.parametrize(
    ("end", "outcome", "reason", "status"),
    [
        ({"code": 3, "output": "fine\nno disk\n"}, "failed", "exit 3; log: no disk", 3),
        ({"code": -9}, "failed", "killed by SIGKILL", 137),
        ({"code": -9, "kills": 1, "own_limit": 1, "limit": 67108864, "peak": 67108864}, "failed",
         "out of memory: killed by the kernel (its limit is 64M, peak 64M)", 137),
        ({"code": 1, "kills": 2, "own_limit": 0}, "failed",
         "out of memory: the kernel killed 2 processes of it (the budget of its project, or the machine, was used up)", 1),
        ({"code": 0, "kills": 1, "own_limit": 1, "limit": 67108864}, "ran", "", 0),
        ({"code": 143, "ending": "timed_out", "reason": "it ran longer than 5 s"}, "timed_out", "it ran longer", 143),
        ({"code": -15, "ending": "replaced", "reason": "replaced by a later"}, "failed", "replaced by", 143),
        ({"trouble": "cannot write /logs/x"}, "ran", "cannot write /logs/x", 0),
        ({"code": 1, "trouble": "cannot write /logs/x"}, "failed", "exit 1; cannot write /logs/x", 1),
    ],
)  # fmt: skip
def test_how_a_run_ended(end: dict[str, object], outcome: str, reason: str, status: int) -> None:
    [run] = read(START, END | end)
    assert (run.outcome, run.exit_status) == (outcome, status)
    assert run.reason.startswith(reason)


def test_tasks_that_failed_inside_make_a_failure_of_a_run_that_exits_well() -> None:
    output = "Scheduled command ['artisan' shop:bill] failed with exit code [1]."
    [run] = read(START, END | {"output": output}, schedule=LARAVEL)
    assert run.outcome == "failed"
    assert "shop:bill" in run.reason
    assert read(START, END | {"output": output})[0].outcome == "ran", (
        "of another command these are just words"
    )


def test_a_run_without_an_end_runs_or_is_unknown() -> None:
    assert [run.outcome for run in read(START, alive=True)] == [None]
    [lost] = read(START)
    assert (lost.outcome, lost.began) == ("unknown", 61.5)
    assert "launcher" in lost.reason


def test_what_did_not_run_is_told_and_everything_stands_in_order() -> None:
    skipped = {"run": 8, "due": 120, "outcome": "skipped", "reason": "overlap: run 7"}
    found = read(START, skipped, END, {"run": 9, "due": 180, "outcome": "failed", "reason": "no order"})
    assert [(run.run, run.outcome, run.began) for run in found] == [
        (7, "ran", 61.5),
        (8, "skipped", None),
        (9, "failed", None),
    ]


def test_who_asked_for_it_is_told_of_what_ran_and_of_what_did_not() -> None:
    skipped = {"run": 8, "due": 120, "cause": "by root", "outcome": "skipped", "reason": "overlap: run 7"}
    asked = START | {"cause": "by root"}
    assert [run.cause for run in read(asked, skipped, END)] == ["by root", "by root"]
    assert [run.cause for run in read(asked, alive=True)] == ["by root"]
    assert [run.cause for run in read(START, END)] == [""]


def test_an_end_whose_start_was_rotated_away_is_kept() -> None:
    [run] = read(END)
    assert (run.outcome, run.due, run.began) == ("ran", 60, None)


@given(st.integers(0, 400), st.booleans())
def test_a_file_cut_off_anywhere_gives_what_is_whole(length: int, alive: bool) -> None:
    rows = (START, END, START | {"run": 8}, END | {"run": 8, "code": 1})
    text = "".join(f"{json.dumps(row)}\n" for row in rows)[:length]
    found = read_spool(text, JOB, lambda _launcher: alive)
    whole = [json.loads(line) for line in text.split("\n")[:-1]]
    assert {row["run"] for row in whole} <= {run.run for run in found}


@given(st.text())
def test_rubbish_is_passed_over(text: str) -> None:
    assert isinstance(read_spool(text, JOB, lambda _launcher: False), tuple)
