"""Presets of no language, schedule:work, and what `setup PROJECT` finds out by itself."""

import json
import os
import pty
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.crond import ONE_RUN_SECONDS, TemporaryCron
from tests.e2e.laravel import laravel_project, outbox, queue_mail, status
from tests.e2e.server import SHIFTBOSS, Server, TestProject, on_both
from tests.e2e.worker_life import Queue, check_queue_life, check_return, check_stop, processes_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(240)]


@pytest.fixture
def cron(server: Server) -> Iterator[TemporaryCron]:
    """Give a running cron daemon that reads this server's cron.d."""
    with TemporaryCron(server.directory) as daemon:
        yield daemon


def put_into(queue: str) -> tuple[str, ...]:
    """Return the program that puts a job on a queue of the application `procfile`."""
    return ("sh", "-c", f'echo "$1" > "$MARKS/$0.new" && mv "$MARKS/$0.new" "$MARKS/$0.{queue}"')


@on_both
def test_a_line_of_a_procfile_works_comes_back_and_stops_after_its_job(server: Server) -> None:
    """The line `Thumbs` has a variable in it and needs a shell; a worker's name has no capitals."""
    project = server.add_project()
    project.release(app="procfile")
    queue = Queue.make(project, put_into("thumbs"))

    server.ok("setup", project.name, "procfile", "--name", "thumbs")

    wait_until(
        lambda: "ready for thumbs 200" in project.log("thumbs"), 20, what="its words, with the variable"
    )
    # Supervisor knows nothing of the child of a shell that was killed
    check_queue_life(queue, "thumbs", orphans=True)


def test_a_line_that_the_procfile_does_not_have_is_refused(server: Server) -> None:
    project = server.add_project()
    project.release(app="procfile")
    before = server.snapshot()

    answer = server.run("setup", project.name, "procfile", "--name", "mail")

    assert answer.status == 2, answer
    assert "no line 'mail' in the Procfile (did you mean 'mails'?)" in answer.stderr
    assert "It has: web, release, mails, Thumbs." in answer.stderr
    assert server.snapshot() == before


@on_both
def test_the_worker_lines_of_a_procfile_are_proposed_and_set_up(server: Server) -> None:
    """What starts the web server or belongs to a deploy is no background worker."""
    project = server.add_project()
    project.release(app="procfile")
    queue = Queue.make(project, put_into("mails"))

    asked = server.run("setup", project.name)
    assert asked.status == 2
    assert "line 'mails' of Procfile" in asked.stdout
    assert "line 'web'" not in asked.stdout

    server.ok("setup", project.name, "--yes")

    assert set(project.states().values()) == {"RUNNING"}
    assert len(project.states()) == 2
    queue.put("one")
    queue.wait("one.done")


@on_both
def test_schedule_work_runs_each_task_within_its_minute(server: Server) -> None:
    project = laravel_project(server)
    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    before = server.snapshot()

    two = server.run("setup", project.name, "laravel-schedule-work", "--workers", "2")
    assert two.status == 2, two
    assert "two of them would run every task twice" in two.stderr
    assert server.snapshot() == before

    server.ok("setup", project.name, "laravel-schedule-work")
    check_return(project, "scheduler")
    wait_until(heartbeat.exists, ONE_RUN_SECONDS, what=f"the heartbeat; the log: {project.log('scheduler')}")
    assert heartbeat.owner() == project.user
    wait_until(lambda: "closure" in heartbeat.read_text(), 30, what="the line of the last task")
    wait_until(lambda: len(processes_of(project)) == 1, 40, what="the end of the tasks")
    check_stop(project, "scheduler")


@on_both
def test_without_a_kind_it_proposes_what_a_laravel_project_needs(server: Server, cron: TemporaryCron) -> None:
    project = laravel_project(server)
    before = server.snapshot()

    asked = server.run("setup", project.name)

    assert asked.status == 2, asked
    assert "artisan and laravel/framework ^8.83 in composer.json: worker queue:" in asked.stdout
    assert "6 scheduled tasks: schedule scheduler:" in asked.stdout
    assert "schedule:work" not in asked.stdout, "it has to be asked for"
    assert server.snapshot() == before
    commands = proposed(asked.stderr)
    name = project.name
    assert commands == [
        f"shiftboss setup {name} --yes",
        f"shiftboss setup {name} laravel-queue --name queue",
        f"shiftboss cron {name}",
    ]
    for command in commands:
        server.ok(*shlex.split(command)[1:], "--dry-run")
    assert server.snapshot() == before

    server.ok(*shlex.split(commands[0])[1:])

    assert [process["state"] for process in status(server, project)] == ["RUNNING"]
    schedules = json.loads(server.ok("status", name, "--json").stdout)["projects"][0]["schedules"]
    assert [(one["name"], one["cron"]) for one in schedules] == [("scheduler", "* * * * *")]
    queue_mail(project, "one")
    wait_until(lambda: outbox(project, "one.eml"), 30, what="the job")
    assert "nothing to change" in server.ok("setup", name, "--yes").stdout


def proposed(stderr: str) -> list[str]:
    """Return the commands that a hint names."""
    return [line[line.index("shiftboss ") :] for line in stderr.splitlines() if "shiftboss " in line]


@pytest.mark.parametrize(("answer", "processes"), [("n", 0), ("y", 2)])
def test_on_a_terminal_it_asks(server: Server, answer: str, processes: int) -> None:
    project = server.add_project()
    project.release(app="procfile")
    Queue.make(project, put_into("mails"))
    before = server.snapshot()

    said = at_a_terminal(server, ("setup", project.name), answer)

    assert "Set up these? [Y/n]" in said
    assert len(project.states()) == processes
    assert (server.snapshot() == before) == (processes == 0)


def at_a_terminal(server: Server, arguments: tuple[str, ...], answer: str) -> str:
    """Run shiftboss on a terminal of its own, and answer its question; return all that is on the screen."""
    ours, its = pty.openpty()
    environment = {**os.environ, "SHIFTBOSS_CONFIG": str(server.config), "NO_COLOR": "1"}
    with subprocess.Popen(
        [*SHIFTBOSS, *arguments], stdin=its, stdout=its, stderr=its, env=environment
    ) as process:
        os.close(its)
        os.write(ours, f"{answer}\n".encode())
        screen = b"".join(iter(lambda: read(ours), b""))
        process.wait(60)
    os.close(ours)
    return screen.decode()


def read(terminal: int) -> bytes:
    """Read what is there; a terminal that nobody holds any more is an error (man 4 pts)."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.fixture
def horizon(server: Server) -> TestProject:
    """Give a Laravel project whose composer.json asks for Horizon."""
    project = server.add_project()
    release = project.release(app="laravel")
    needs = {"php": "^8.1", "laravel/framework": "^8.83", "laravel/horizon": "^5.7"}
    project.write(release, "composer.json", json.dumps({"require": needs}))
    return project


def test_queue_on_a_horizon_project_is_refused_for_horizon(server: Server, horizon: TestProject) -> None:
    before = server.snapshot()

    answer = server.run("setup", horizon.name, "queue")

    assert answer.status == 2, answer
    assert (
        "this project runs laravel-horizon (artisan and laravel/horizon ^5.7 in composer.json)"
        in answer.stderr
    )
    assert "Use 'horizon' instead of 'queue'" in answer.stderr
    assert server.snapshot() == before
    assert "php artisan horizon" in server.ok("setup", horizon.name, "horizon", "--dry-run").stdout


def test_a_preset_that_was_never_tried_says_so(server: Server, horizon: TestProject) -> None:
    """Both where it is proposed and where it is named; a preset that was tried says nothing of the kind."""
    asked = server.run("setup", horizon.name)
    assert "php artisan horizon (from documentation, not tried by us)" in asked.stdout

    named = server.ok("setup", horizon.name, "laravel-horizon", "--dry-run")
    assert "laravel-horizon is made from documentation and was not tried by us" in named.stderr

    tried = server.ok("setup", horizon.name, "laravel-queue", "--dry-run")
    assert "not tried" not in tried.stdout + tried.stderr
