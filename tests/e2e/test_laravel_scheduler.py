"""A real Laravel scheduler: what it says of its tasks, what it leaves behind, who else runs it. About 30 s in all."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from shiftboss.core.laravel_run import judge_run, read_run
from shiftboss.core.laravel_version import tells_failures
from shiftboss.host.processes import RealProcesses
from tests.e2e.laravel import laravel_project
from tests.e2e.server import Server, TestProject
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(120)]

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "laravel.md"
PROVIDER = """<?php
namespace App\\Providers;
{imports}
class AppServiceProvider extends \\Illuminate\\Support\\ServiceProvider
{{
{boot}
}}
"""
TASKS = """
        $schedule->command('app:heartbeat fine')->everyMinute();
        $schedule->command('app:heartbeat broken --exit=3')->everyMinute();
        $schedule->exec('exit 7')->everyMinute()->description('by number');
        $schedule->call(function () { throw new \\RuntimeException('no disk'); })->everyMinute()->name('closure-boom');
        $schedule->command('app:heartbeat later --sleep=3')->everyMinute()->withoutOverlapping()->runInBackground();
        $schedule->command('app:heartbeat nightly')->dailyAt('03:15')->timezone('Europe/Berlin');
"""


def with_tasks(project: TestProject) -> None:
    """Give the live release these tasks instead of its own."""
    kernel = project.current / "app" / "Console" / "Kernel.php"
    head, _, _ = kernel.read_text().partition("        $schedule->")
    kernel.write_text(f"{head}{TASKS}    }}\n}}\n")


def with_the_lines_of_the_guide(project: TestProject) -> None:
    """Put what the guide says into the application, word for word."""
    (code,) = re.findall(r"```php\n(// app/Providers/AppServiceProvider.php.*?)```", GUIDE.read_text(), re.S)
    imports, _, boot = code.partition("\npublic function")
    provider = PROVIDER.format(imports=imports, boot=f"public function{boot}")
    project.write(project.current.resolve(), "app/Providers/AppServiceProvider.php", provider)
    config = project.current / "config" / "app.php"
    text = config.read_text()
    place = "App\\Providers\\RouteServiceProvider::class,"
    assert place in text
    config.write_text(text.replace(place, f"App\\Providers\\AppServiceProvider::class, {place}"))


def schedule_run(project: TestProject) -> subprocess.CompletedProcess[str]:
    return project.as_user("php", "artisan", "schedule:run", "--no-ansi")


def test_failing_tasks_are_named_though_the_scheduler_ends_well(server: Server) -> None:
    project = laravel_project(server)
    with_tasks(project)
    silent = schedule_run(project)
    assert (silent.returncode, judge_run(silent.stdout, 0).told) == (0, False), (
        "this version says nothing by itself"
    )
    assert tells_failures("8.83.26") is False

    with_the_lines_of_the_guide(project)
    ended = schedule_run(project)

    assert ended.returncode == 0
    verdict = judge_run(ended.stdout, ended.returncode)
    assert not verdict.ok
    assert verdict.failed == ("app:heartbeat broken --exit=3", "exit 7", "closure-boom"), ended.stdout
    assert "app:heartbeat broken --exit=3 (exit code 3)" in verdict.words


def test_tasks_in_background_outlive_the_run_that_started_them(server: Server) -> None:
    """Whoever runs schedule:run must not end its group when it ends: the task and its lock go on."""
    project = laravel_project(server)
    with_tasks(project)

    ended = schedule_run(project)

    assert [run.name for run in read_run(ended.stdout).tasks if run.background] == [
        "app:heartbeat later --sleep=3"
    ]
    alive = [p for p in RealProcesses().running("app:heartbeat") if "later" in p.argv]
    assert [p for p in alive if p.directory == str(project.current.resolve())], "it lives on"
    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    wait_until(lambda: "later" in heartbeat.read_text(), 20, what="the heartbeat of the task in background")
    wait_until(lambda: not running(project), 20, what="schedule:finish")
    again = schedule_run(project)
    assert "app:heartbeat later" in again.stdout, "schedule:finish freed its lock"
    wait_until(lambda: not running(project), 20, what="the second one")


def running(project: TestProject) -> list[int]:
    here = str(project.current.resolve())
    return [p.pid for p in RealProcesses().running("artisan") if p.directory == here]


def test_the_tasks_inside_are_listed_by_next_and_status(server: Server) -> None:
    project = laravel_project(server)
    with_tasks(project)
    project.declare('[schedules.scheduler]\npreset = "laravel-scheduler"\n')

    shown = server.ok("next", project.name, "--tasks").stdout
    rows = json.loads(server.ok("next", project.name, "--tasks", "--json").stdout)
    status = server.run("status", project.name, "-v")

    assert f"{project.name}/scheduler: app:heartbeat nightly" in shown
    tasks = {row["task"]: row["due"] for row in rows if "task" in row}
    assert {"app:heartbeat fine", "closure-boom", "exit 7"} <= tasks.keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT0[12]:15:00\+00:00", tasks["app:heartbeat nightly"])
    assert "TASK INSIDE" in status.stdout
    assert "15 3 * * *" in status.stdout
    inside = json.loads(server.run("status", project.name, "-v", "--json").stdout)["tasks_inside"]
    assert len(inside[f"{project.name}/scheduler"]["tasks"]) == 6


def test_an_artisan_that_cannot_start_is_an_error_and_nothing_else_is_lost(server: Server) -> None:
    project = laravel_project(server)
    project.declare('[schedules.scheduler]\npreset = "laravel-scheduler"\n')
    project.write(
        project.current.resolve(), "artisan", '<?php fwrite(STDERR, "no \\x1b[31mvendor\\n"); exit(9);\n'
    )

    answer = server.run("next", project.name, "--tasks")

    assert answer.status == 1
    assert f"cannot list the tasks inside {project.name}/scheduler: no vendor" in answer.stderr
    assert f"{project.name}/scheduler" in answer.stdout
    assert "\x1b" not in answer.stderr


def test_everything_that_runs_the_scheduler_beside_us_is_reported(server: Server) -> None:
    project = laravel_project(server)
    project.declare('[schedules.scheduler]\npreset = "laravel-scheduler"\n')
    here = str(project.current)

    with working_by_hand(project) as process:
        by_hand = server.run("plan", project.name, "--check").stderr
        assert f"process {process.pid} (schedule:work" in by_hand
        assert f"kill {process.pid}" in by_hand

    (server.cron_dir / "old").write_text(f"* * * * * {project.user} cd {here} && php artisan schedule:run\n")
    program = server.supervisord.conf_dir / "by-hand.conf"
    program.write_text(
        f"[program:by-hand]\ndirectory={here}\ncommand=php artisan schedule:work\nautostart=false\n"
    )
    for command in (("plan", project.name), ("status", project.name)):
        answer = server.run(*command)
        said = answer.stdout + answer.stderr
        assert f"{server.cron_dir}/old line 1 runs the same scheduler" in said, answer
        assert f"{program} [program:by-hand] runs the same scheduler" in said, answer


class working_by_hand:  # noqa: N801  # used as a statement
    """A `schedule:work` that somebody started in a terminal; it and what it starts is ended at the end."""

    def __init__(self, project: TestProject) -> None:
        self._project = project

    def __enter__(self) -> subprocess.Popen[bytes]:
        user = self._project.user
        identity = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        self._process = subprocess.Popen(
            [*identity, "php", "artisan", "schedule:work"],
            cwd=self._project.current,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: self._process.pid in running(self._project), 20, what="schedule:work")
        return self._process

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        wait_until(lambda: not running(self._project), 20, what="what it started")
