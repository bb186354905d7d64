"""The Laravel scheduler and any other schedule on a real cron daemon."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crond import ONE_RUN_SECONDS, TemporaryCron
from tests.e2e.laravel import laravel_project
from tests.e2e.server import CLASSIC, Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(240)]


@pytest.fixture
def cron(server: Server) -> Iterator[TemporaryCron]:
    """Give a running cron daemon that reads this server's cron.d."""
    with TemporaryCron(server.directory) as daemon:
        assert daemon.cron_dir == server.cron_dir
        yield daemon


def test_the_scheduler_runs_each_minute_as_the_project_user(server: Server, cron: TemporaryCron) -> None:
    project = laravel_project(server)

    answer = server.ok("setup-cron", project.name, program=CLASSIC)

    assert f"create {server.cron_dir}/shiftboss-{project.name}" in answer.stdout
    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    wait_until(heartbeat.exists, ONE_RUN_SECONDS, what="the heartbeat of the scheduler")
    assert heartbeat.owner() == project.user
    wait_until(lambda: "app:heartbeat" in project.log("scheduler"), 20, what="the log")
    last = json.loads(server.ok("status", project.name, "--json").stdout)["projects"][0]["schedules"][0][
        "last"
    ]
    assert last["started"], "status tells when it ran last"

    again = server.ok("setup-cron", project.name, program=CLASSIC)
    assert "nothing to change" in again.stdout

    server.ok("remove", f"{project.name}/scheduler", "--yes")
    assert list(server.cron_dir.iterdir()) == []


def test_any_command_with_hard_words_runs_as_written(server: Server, cron: TemporaryCron) -> None:
    project = server.add_project()
    release = project.release()
    project.write(
        release, "show.py", "import json, os, sys\nprint(json.dumps([os.getcwd(), *sys.argv[1:]]))\n"
    )
    words = ["it's", "100%", "a;b", " # no comment", "žluťoučký", "$HOME", 'say "x"', ""]

    server.ok("cron", project.name, "show", "* * * * *", "--", "python3", "show.py", *words)

    wait_until(lambda: project.log("show"), ONE_RUN_SECONDS, what="the output of the job")
    assert json.loads(project.log("show").splitlines()[0]) == [str(release.resolve()), *words]


def test_without_a_cron_daemon_it_says_so_and_how_to_start_it(server: Server) -> None:
    project = laravel_project(server)

    answer = server.run("setup-cron", project.name, program=CLASSIC)

    assert answer.status == 1
    assert "no running cron daemon reads" in answer.stderr
    assert "systemctl enable --now cron" in answer.stderr


def test_a_project_without_artisan_is_refused_with_the_way_to_any_other_schedule(server: Server) -> None:
    project = server.add_project()
    project.release()
    before = server.snapshot()

    answer = server.run("setup-cron", project.name, program=CLASSIC)

    assert answer.status == 2
    assert "no artisan" in answer.stderr
    assert f"shiftboss cron {project.name} backup" in answer.stderr
    assert server.snapshot() == before


def test_a_second_line_for_the_same_artisan_is_reported(server: Server, cron: TemporaryCron) -> None:
    project = laravel_project(server)
    other = Path(server.cron_dir) / "by-hand"
    other.write_text(f"* * * * * {project.user} cd {project.current} && php artisan schedule:run\n")

    answer = server.ok("setup-cron", project.name, program=CLASSIC)

    assert f"{other} line 1 runs the same scheduler" in answer.stdout
    assert other.exists()
