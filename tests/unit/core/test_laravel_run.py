"""What runs of the Laravel scheduler come to: real outputs of several versions, and rubbish."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.laravel_samples import sample

from shiftboss.core.laravel_run import TaskRun, Verdict, judge_run, read_run
from shiftboss.core.laravel_text import LONGEST_TEXT, task_name

FAILING = ("app:heartbeat broken --exit=3", "echo one | tr o 0; exit 7", "closure-boom", "Callback")
TELLING = ["9.52.22", "10.50.3", "11.40.0", "11.56.0"]
SILENT = ["8.83.26", "9.4.1", "9.20.0"]


def by_name(text: str) -> dict[str, TaskRun]:
    return {task.name: task for task in read_run(text).tasks}


@pytest.mark.parametrize("version", TELLING)
def test_tasks_that_failed_are_named_though_the_scheduler_ended_well(version: str) -> None:
    verdict = judge_run(sample(f"run-{version}"), 0)

    assert not verdict.ok
    assert verdict.told
    assert verdict.failed[:4] == FAILING
    assert "failed inside: app:heartbeat broken --exit=3, echo one" in verdict.words
    tasks = by_name(sample(f"run-{version}"))
    assert tasks["app:heartbeat every-minute"].outcome == "done"
    assert 0 < (tasks["app:heartbeat every-minute"].seconds or 0) < 1
    assert tasks["app:heartbeat guarded --sleep=2"].background
    assert tasks["talkative [y]"].outcome == "done", "what a task prints is not its result"
    assert 1 <= (tasks["talkative [y]"].seconds or 0) < 2


@pytest.mark.parametrize("version", SILENT)
def test_versions_that_say_nothing_of_the_end_are_known_as_such(version: str) -> None:
    verdict = judge_run(sample(f"run-{version}"), 0)

    assert verdict.ok
    assert verdict.told == (version == "9.20.0"), "there one task was skipped, which it says"
    tasks = by_name(sample(f"run-{version}"))
    assert {"app:heartbeat broken --exit=3", "closure-boom", "Callback"} <= tasks.keys()
    assert {task.outcome for task in tasks.values()} <= {"untold", "skipped"}
    assert tasks["app:heartbeat guarded --sleep=2"].background


def test_laravel_12_says_done_of_failures_and_only_its_log_tells() -> None:
    assert judge_run(sample("run-12.67.0"), 0).ok
    verdict = judge_run(sample("run-12.67.0-stderr"), 0)

    assert verdict.failed == ("app:heartbeat broken --exit=3", "echo one | tr o 0; exit 7", "Callback")
    assert verdict.words == (
        "3 tasks failed inside: app:heartbeat broken --exit=3 (exit code 3),"
        " echo one | tr o 0; exit 7 (exit code 7), Callback (exit code 1)"
    )
    assert by_name(sample("run-12.67.0-stderr"))["app:heartbeat every-minute"].outcome == "done"


def test_a_task_within_the_minute_has_a_run_for_each_start() -> None:
    runs = read_run(sample("run-12.67.0-within-the-minute")).tasks

    assert [run.name for run in runs].count("app:heartbeat quick") >= 2


@pytest.mark.parametrize("version", ["9.20.0", "9.52.22", "11.56.0"])
def test_a_task_that_another_server_ran_is_skipped(version: str) -> None:
    assert by_name(sample(f"run-{version}"))["On one server"].outcome == "skipped"


@pytest.mark.parametrize("version", ["9.4.1", "9.52.22", "12.67.0"])
def test_nothing_to_do_is_no_failure(version: str) -> None:
    assert read_run(sample(f"idle-{version}")).idle
    assert judge_run(sample(f"idle-{version}"), 0) == Verdict(ok=True)


OLD = "[2024-01-01T00:00:00+00:00] Running scheduled command: '/usr/bin/php8.2' 'artisan' app:x > '/dev/null' 2>&1\n"
LISTENER = (
    "Scheduled command ['/usr/bin/php8.2' 'artisan' app:x > '/dev/null' 2>&1] failed with exit code [3].\n"
)


def test_the_line_of_our_documentation_tells_for_versions_that_do_not() -> None:
    assert judge_run(OLD + LISTENER + LISTENER, 0) == Verdict(
        ok=False, failed=("app:x",), words="task failed inside: app:x (exit code 3)"
    )


def test_a_failure_counts_even_if_the_start_of_its_task_is_cut_off() -> None:
    assert judge_run(LISTENER, 0).failed == ("app:x",)


def test_a_run_that_was_cut_off_tells_which_task_it_was_in() -> None:
    (task,) = read_run("\n  2024-01-01 00:00:00 Running ['artisan' app:slow] ").tasks

    assert (task.name, task.outcome) == ("app:slow", "untold")


@pytest.mark.parametrize("status", [1, 255, None])
def test_a_run_that_ended_badly_is_never_ok(status: int | None) -> None:
    assert not judge_run("", status).ok
    assert judge_run("", status).words == ""


def test_the_words_stay_short_and_the_names_complete() -> None:
    text = "".join(LISTENER.replace("app:x", f"app:{n}") for n in range(40))

    verdict = judge_run(text, 0)

    assert len(verdict.failed) == 40
    assert verdict.words.endswith("app:4 (exit code 3) and 35 more")


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ("'/usr/bin/php8.2' 'artisan' app:mail 1 > '/dev/null' 2>&1", "app:mail 1"),
        ("'artisan' app:mail", "app:mail"),
        ("php artisan app:mail --a='b c'", "app:mail --a='b c'"),
        ("/opt/my php/php artisan x", "/opt/my php/php artisan x"),
        ("'/opt/my php/php' \"artisan\" x >> '/var/log/a b' 2>&1", "x"),
        (
            "sudo -u web -- sh -c ''/usr/bin/php' 'artisan' x > '/dev/null' 2>&1'",
            "x",
        ),
        ("echo one > two 2>&1 three", "echo one > two 2>&1 three"),
        ("pg_dump shop | gzip > '/dev/null' 2>&1", "pg_dump shop | gzip"),
        ("App\\Jobs\\SendEmail", "App\\Jobs\\SendEmail"),
        ("two\nlines\tand \x1b[31mred\u202e", "two lines and [31mred"),
    ],
)
def test_names_are_what_people_call_a_task(shown: str, name: str) -> None:
    assert task_name(shown) == name


FRAGMENTS = st.sampled_from(
    [
        OLD,
        LISTENER,
        "  2024-01-01 00:00:00 Running ['artisan' app:y] ",
        " in background ",
        "...... 35ms DONE\n",
        " 1s FAIL\n",
        "\x1b[31m",
        "]",
        "[",
        "Skipping [x], as command already run on another server.\n",
        "   INFO  ",
        "\r",
        "\ud800",
        "No scheduled commands are ready to run.\n",
    ]
)


@given(st.lists(FRAGMENTS | st.text(max_size=20), max_size=30).map("".join), st.integers(-10, 300))
def test_any_text_gives_an_answer_that_can_be_shown(text: str, status: int) -> None:
    verdict = judge_run(text, status)

    assert verdict.ok == (status == 0 and not verdict.failed)
    assert bool(verdict.failed) == bool(verdict.words)
    shown = verdict.words + "".join(task.name for task in read_run(text).tasks)
    assert shown == "" or shown.isprintable()
    shown.encode()
    assert all(len(task.name) <= 120 for task in read_run(text).tasks)


HOSTILE = [
    "  2024-01-01 00:00:00 Running [" + "] 1 " * 1000 + "\n",
    OLD.replace("app:x", "( > x 2>&1 ; " * 300 + "schedule:finish"),
    OLD.replace("Running scheduled command: ", "Running scheduled command: " + "'php" * 900),
    "Scheduled command [" * 200 + "\n",
    "Skipping [" + "], as command" * 300 + "\n",
    "\x1b]" * 100 + "\n",
    "2024-01-01 00:00:00 Running [x] " + ". 1" * 1300 + "\n",
    "\n",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_no_output_costs_more_than_a_moment(line: str) -> None:
    text = line * (2 * LONGEST_TEXT // len(line))
    began = time.process_time()

    judge_run(text, 0)

    assert time.process_time() - began < 3
    assert len(read_run(text).tasks) <= 500
