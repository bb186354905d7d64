"""`shiftboss stop` for a schedule: what runs of it ends, and what ended runs of Laravel's scheduler left behind."""

import json
from pathlib import Path

import pytest

from shiftboss.host.processes import RealProcesses
from tests.e2e.laravel import laravel_project
from tests.e2e.refusals import WRONG_USE, assert_refused
from tests.e2e.server import Server, TestProject, on_native
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, on_native, pytest.mark.timeout(180)]

TASK = "        $schedule->command('app:heartbeat later --sleep=600')->everyMinute()->runInBackground();\n"


@pytest.fixture
def project(server: Server) -> TestProject:
    return server.add_project_with_schedules()


def last_outcome(project: TestProject) -> tuple[object, object]:
    rows = json.loads(project.server.ok("history", project.name, "--json").stdout)
    row = [row for row in rows if row["kind"] == "occurrence"][-1]
    return row["outcome"], row["reason"]


def test_a_run_ends_and_who_ended_it_is_told(project: TestProject) -> None:
    server, name = project.server, f"{project.name}/job"
    server.ok("cron", project.name, "job", "0 4 * * *", "--", "sleep", "1000")
    assert server.ok("stop", name).stderr.strip() == f"nothing of {name} runs"
    server.ok("run", name, "--detach")

    answer = server.ok("stop", name)

    assert f"stopped {name}: run " in answer.stderr
    assert f"{name} runs again when due; to prevent that: shiftboss pause {name}" in answer.stdout
    assert last_outcome(project) == ("failed", "stopped by root")
    assert server.ok("stop", name).stderr.strip() == f"nothing of {name} runs"


def test_a_worker_and_a_schedule_are_stopped_by_one_command(project: TestProject) -> None:
    server, name = project.server, project.name
    server.ok("setup", name, "custom", "--name", "queue", "--", "sleep", "100000")
    server.ok("cron", name, "job", "0 4 * * *", "--", "sleep", "1000")
    server.ok("run", f"{name}/job", "--detach")

    said = server.ok("stop", f"{name}/queue", f"{name}/job").stderr

    assert f"stopped {name}/queue" in said
    assert f"stopped {name}/job: run " in said


def test_what_cannot_be_stopped_is_said_in_one_line(project: TestProject) -> None:
    server, name = project.server, f"{project.name}/job"
    server.ok("cron", project.name, "job", "0 4 * * *", "--", "sleep", "1000")
    assert_refused(server.run("stop", f"{name}:1"), WRONG_USE, "a schedule has runs")
    assert_refused(server.run("stop", name, "--keep"), WRONG_USE, f"shiftboss pause {name}")
    assert_refused(server.run("stop", f"{project.name}/nothing"), WRONG_USE)
    file = project.project_file()
    file.write_text(file.read_text() + 'backend = "cron"\n')
    assert_refused(server.run("stop", name), WRONG_USE, f"{name} runs on cron, which cannot do that")


def test_what_laravels_scheduler_left_in_the_background_ends_too(server: Server) -> None:
    server.schedules = "native"
    server.write_config()
    project = laravel_project(server)
    kernel = project.current / "app" / "Console" / "Kernel.php"
    head, _, _ = kernel.read_text().partition("        $schedule->")
    kernel.write_text(f"{head}{TASK}    }}\n}}\n")
    name = f"{project.name}/scheduler"
    server.ok("cron", project.name)
    assert server.ok("run", name).stdout.strip().endswith(f"{name}: ran")
    wait_until(lambda: heartbeats(project), 20, what="the task in the background")
    server.ok("pause", name)

    answer = server.ok("stop", name)

    assert f"stopped {name}: run " in answer.stderr
    assert not heartbeats(project)
    assert server.ok("stop", name).stderr.strip() == f"nothing of {name} runs"


def heartbeats(project: TestProject) -> list[int]:
    """Return what artisan runs for the project: the task, and the shell that waits for it."""
    here = str(project.current.resolve())
    return [p.pid for p in RealProcesses().running("app:heartbeat") if p.directory == here]


def test_laravels_scheduler_is_spread_while_its_tasks_allow_it(server: Server) -> None:
    """Debian's Laravel 8.83 has no tasks that repeat within the minute."""
    server.schedules = "native"
    server.write_config()
    project = laravel_project(server)
    project.declare('[schedules.scheduler]\npreset = "laravel-scheduler"\nspread = true\n')

    answer = server.ok("apply", project.name)

    assert "is not spread" not in answer.stdout + answer.stderr
    [manifest] = Path(server.directory).rglob(f"manifest/{project.name}.json")
    [entry] = json.loads(manifest.read_text())["entries"]
    assert entry["policy"]["options"]["policy"]["spread"] is True
