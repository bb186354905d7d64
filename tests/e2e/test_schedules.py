"""Schedules of our own engine as their users meet them: set up, run, looked at, asked why, paused, removed."""

import json
import os
import signal
import subprocess
from datetime import datetime, timedelta

import pytest

from tests.e2e.laravel import laravel_project
from tests.e2e.refusals import WRONG_USE, assert_refused
from tests.e2e.server import INTERRUPTIBLE, Server, TestProject, on_native
from tests.e2e.test_laravel_scheduler import running, with_tasks, with_the_lines_of_the_guide
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, on_native]


@pytest.fixture
def project(server: Server) -> TestProject:
    return server.add_project_with_schedules()


def history(project: TestProject, *options: str) -> list[dict[str, object]]:
    rows = json.loads(project.server.ok("history", project.name, "--json", *options).stdout)
    return [row for row in rows if row["kind"] == "occurrence"]


def test_a_schedule_is_set_up_runs_as_its_user_and_every_occurrence_is_told(project: TestProject) -> None:
    server, name = project.server, f"{project.name}/tick"
    server.ok("cron", project.name, "tick", "--every", "1s", "--", "id", "-un")
    wait_until(lambda: sum(row["outcome"] == "ran" for row in history(project)) >= 2, 30, what="two runs")
    row = next(row for row in history(project) if row["outcome"] == "ran")
    assert row["exit_status"] == 0
    assert datetime.fromisoformat(str(row["due"])).microsecond == 0

    shown = server.ok("logs", name, "--run", str(row["run"])).stdout.splitlines()
    assert shown[1] == project.user
    assert server.ok("status").stdout.count(name) == 1
    document = json.loads(server.ok("status", "--json").stdout)
    [schedule] = document["projects"][0]["schedules"]
    assert schedule["backend"] == "native"
    assert schedule["last"]["outcome"] == "ran"
    assert schedule["next"]
    assert name in server.ok("next", project.name, "-n", "2").stdout

    server.ok("remove", name)
    before = len(history(project))
    assert before
    assert name not in server.ok("status").stdout


def test_run_shows_the_output_live_and_ends_with_the_status_of_the_command(project: TestProject) -> None:
    server, name = project.server, f"{project.name}/backup"
    server.ok(
        "cron", project.name, "backup", "0 4 * * *", "--shell", "--", "echo dumping; echo no space; exit 7"
    )
    answer = server.run("run", name)
    assert answer.status == 7
    assert "dumping\nno space\n" in answer.stdout
    assert f"{name}: failed: exit 7" in answer.stdout

    why = server.ok("why", name).stdout
    assert "was made due at" in why
    assert "it failed (exit 7; log: no space)" in why
    assert f"shiftboss logs {name} --run" in why
    assert "Next: " in why
    assert [row["outcome"] for row in history(project, "--failed")] == ["failed"]

    server.ok("cron", project.name, "backup", "0 4 * * *", "--", "true")
    assert server.ok("run", name).stdout.strip().endswith(f"{name}: ran")
    assert "is started" in server.ok("run", name, "--detach").stdout


def test_a_paused_schedule_skips_its_times_and_says_by_whom(project: TestProject) -> None:
    server, name = project.server, f"{project.name}/tick"
    server.ok("cron", project.name, "tick", "--every", "1s", "--", "true")
    wait_until(lambda: history(project), 30, what="a run")
    server.ok("pause", name)
    wait_until(lambda: history(project)[-1]["outcome"] == "skipped", 30, what="a skipped time")
    assert history(project)[-1]["reason"] == "paused by root"
    assert f"{name} does not run: paused by root" in server.ok("status").stdout
    assert "It is paused by root" in server.ok("why", name).stdout
    server.ok("resume", name)
    wait_until(lambda: history(project)[-1]["outcome"] == "ran", 30, what="a run again")


def test_why_and_history_tell_of_the_time_that_is_asked_for(project: TestProject) -> None:
    server, name = project.server, f"{project.name}/tick"
    server.ok("cron", project.name, "tick", "--every", "1s", "--shell", "--", "echo no space; exit 7")
    wait_until(lambda: sum(bool(row["outcome"]) for row in history(project)) >= 6, 30, what="six outcomes")
    server.ok("pause", name)
    rows = [row for row in history(project) if row["outcome"] == "failed"]
    fourth = datetime.fromisoformat(str(rows[3]["due"]))

    told = json.loads(server.ok("why", name, fourth.isoformat(), "--json").stdout)
    assert str(rows[3]["due"]) in [row["due"] for row in told]
    assert {str(row["due"])[:16] for row in told} == {fourth.isoformat()[:16]}, "those of that minute"
    for when in (f"{fourth:%H:%M}", f"{fourth:%H:%M:%S}"):
        said = server.ok("why", name, when).stdout
        assert f"{fourth:%H:%M:%S}" in said
        assert "it failed (exit 7; log: no space)" in said
        assert f"shiftboss logs {name} --run {rows[3]['run']}" in said
    nothing = server.ok("why", name, "2001-02-03T04:05").stdout
    assert f"{name} was not due at 2001-02-03 04:05" in nothing

    since = history(project, "--since", fourth.isoformat())
    assert [row["due"] for row in since][: len(rows) - 3] == [row["due"] for row in rows[3:]]
    assert history(project, "--since", "3h")[: len(rows)] == rows
    tomorrow = (fourth + timedelta(days=1)).isoformat()
    assert history(project, "--since", tomorrow) == []
    assert (
        server.ok("history", name, "--since", tomorrow).stdout.strip()
        == "Nothing of that kind is remembered."
    )


def test_what_cannot_be_is_said_in_one_line(project: TestProject) -> None:
    server = project.server
    server.ok("cron", project.name, "daily", "0 4 * * *", "--", "true")
    for words in (
        ("run", f"{project.name}/nothing"),
        ("pause", f"{project.name}/nothing"),
        ("why", f"{project.name}/nothing"),
        ("cron", project.name, "daily", "--every", "5m"),
        ("cron", project.name, "daily", "true"),
        ("cron", project.name, "daily", "0 4 * * *", "--timezone", "Europe/Nowhere"),
        ("cron", project.name, "daily", "0 4 * * *", "--timeout", "soon"),
        ("logs", f"{project.name}/daily", "--run", "99"),
    ):
        assert_refused(server.run(*words), WRONG_USE)


def test_the_second_time_nothing_changes(project: TestProject) -> None:
    server = project.server
    words = (
        "cron",
        project.name,
        "daily",
        "0 4 * * *",
        "--timezone",
        "Europe/Riga",
        "--retries",
        "2",
        "--",
        "true",
    )
    server.ok(*words)
    before = server.snapshot()
    answer = server.ok(*words)
    assert server.snapshot() == before
    assert answer.stdout.startswith("nothing to change\n"), answer


def test_the_laravel_scheduler_runs_each_minute_and_by_hand_as_the_project_user(server: Server) -> None:
    server.schedules = "native"
    server.write_config()
    project = laravel_project(server)
    name = f"{project.name}/scheduler"

    answer = server.ok("cron", project.name)

    assert f"schedule {name}" in answer.stdout
    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    assert server.ok("run", name).stdout.strip().endswith(f"{name}: ran")
    assert heartbeat.owner() == project.user
    wait_until(
        lambda: any(row["outcome"] == "ran" and not row["cause"] for row in history(project)),
        75,
        what="the run of the next minute",
    )
    [schedule] = json.loads(server.ok("status", "--json").stdout)["projects"][0]["schedules"]
    assert schedule["last"]["outcome"] == "ran"


@pytest.mark.timeout(240)
def test_a_task_that_fails_inside_a_real_laravel_scheduler_is_named_and_one_in_the_background_goes_on(
    server: Server,
) -> None:
    server.schedules = "native"
    server.write_config()
    project = laravel_project(server)
    with_tasks(project)
    with_the_lines_of_the_guide(project)
    name = f"{project.name}/scheduler"
    server.ok("cron", project.name)
    server.ok("pause", name)  # what comes by itself would stand in the same files
    wait_until(lambda: not running(project), 30, what="the end of what came already")
    before = later_lines(project)

    answer = server.run("run", name)

    assert answer.status == 1, "Laravel itself exits with 0"
    for task in ("app:heartbeat broken --exit=3 (exit code 3)", "exit 7", "closure-boom"):
        assert task in answer.stdout.splitlines()[-1], answer
    assert "app:heartbeat broken" in server.ok("why", name).stdout
    [failed] = [row for row in history(project, "--failed") if row["cause"]]
    assert failed["exit_status"] == 0
    task_in_background_ends(project, before + 1)
    server.run("run", name)
    task_in_background_ends(project, before + 2)


def later_lines(project: TestProject) -> int:
    """Return how many lines the task in the background has written."""
    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    return heartbeat.read_text().count(" later\n") if heartbeat.exists() else 0


def task_in_background_ends(project: TestProject, written: int) -> None:
    """Wait until it has written so many lines and frees its lock; without that it does not run once more."""
    wait_until(lambda: later_lines(project) == written, 20, what="the task in the background")
    wait_until(lambda: not running(project), 30, what="schedule:finish")


def test_ctrl_c_leaves_a_run_alone_and_says_so(project: TestProject) -> None:
    """It does not ask to run the command again: that would be a second run."""
    server, name = project.server, f"{project.name}/slow"
    project.declare(
        '[schedules.slow]\ncron = "0 4 1 1 *"\nshell = true\noverlap = "queue"\n'
        'command = "echo first; while [ ! -e go ]; do sleep 0.1; done; exit 7"\n'
        '[schedules.other]\ncron = "0 4 1 1 *"\ncommand = "true"\n'
    )
    server.ok("apply", project.name)
    environment = {**os.environ, "SHIFTBOSS_CONFIG": str(server.config), "NO_COLOR": "1"}
    command = [*INTERRUPTIBLE, "run", name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout
        assert [run.stdout.readline() for _ in range(2)][1] == "first\n"
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
    assert (run.returncode, said) == (130, f"note: {name} runs on; see: shiftboss why {name}\n")

    assert f"{name} waits for its turn" in server.ok("run", name, "--detach").stdout
    late = server.run("run", name, "--detach")
    assert (late.status, late.stdout) == (1, f"{name}: skipped: overlap: one occurrence waits already\n")
    project.write(project.current.resolve(), "go", "")
    wait_until(lambda: [row["exit_status"] for row in history(project)].count(7) == 2, 30, what="both runs")
    for arguments in (("why", project.name), ("logs", project.name, "--run", "2")):
        assert_refused(server.run(*arguments), WRONG_USE, "several", f"Name it: shiftboss {arguments[0]} ")
