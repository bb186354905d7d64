"""The presets of Python's queues and web servers on both backends: each does real work and stops in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.python_apps import ask_redis, python_environment, redis_server
from tests.e2e.server import Server, TestProject, on_both
from tests.e2e.worker_life import (
    Queue,
    check_queue_life,
    check_return,
    check_stop,
    check_web_life,
    environment_table,
    stop_wait,
)
from tests.supervisord import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(240)]

ENQUEUE = (".venv/bin/python3", "enqueue.py")


@pytest.fixture(scope="session")
def environment() -> Iterator[Path]:
    """Give the virtualenv with everything that the applications need."""
    with python_environment() as made:
        yield made


@pytest.fixture
def redis(public_tmp: Path) -> Iterator[Path]:
    """Give the socket of a Redis of this test alone; ask for it before the server, whose workers need it to stop."""
    with redis_server(public_tmp) as socket:
        yield socket


def python_project(server: Server, environment: Path, app: str) -> TestProject:
    """Return a project with an application whose virtualenv is linked into the release, as deploy tools do it."""
    project = server.add_project()
    release = project.release(app=app)
    (release / ".venv").symlink_to(environment)
    return project


@on_both
@pytest.mark.parametrize(
    ("app", "command"),
    [
        ("celery", "celery --app=tasks worker"),
        ("rq", "rq worker --config=settings default"),
        ("huey", "huey_consumer tasks.huey"),
        ("dramatiq", "dramatiq tasks"),
    ],
)
def test_a_queue_works_comes_back_and_stops_after_its_job(
    redis: Path, server: Server, environment: Path, app: str, command: str
) -> None:
    """`queue` picks the preset by the project's requirements; nothing else has to be said."""
    project = python_project(server, environment, app)
    queue = Queue.make(project, ENQUEUE, REDIS_SOCKET=str(redis))

    server.ok("setup", project.name, "queue")

    assert project.written()[0].startswith(f"{project.current}/.venv/bin/{command}")
    # the workers of a killed Dramatiq live on (Bogdanp/dramatiq#788), and Supervisor cannot know them
    check_queue_life(queue, "queue", orphans=app == "dramatiq")


@on_both
def test_options_of_the_project_file_reach_celery(redis: Path, server: Server, environment: Path) -> None:
    """Two named workers of one project, each with its own queue; the stop wait follows from the time limit."""
    project = python_project(server, environment, "celery")
    queue = Queue.make(project, ENQUEUE, REDIS_SOCKET=str(redis))
    mails = '[workers.mails]\npreset = "celery-worker"\noptions = { queues = "mails", time_limit = 5 }\n'
    rest = '[workers.rest]\npreset = "celery-worker"\noptions = { queues = "celery", concurrency = 1 }\n'
    project.declare(f"{environment_table(queue.environment)}\n{mails}\n{rest}")

    server.ok("apply", project.name)

    assert stop_wait(project, "mails") == 35
    queue.put("one")
    queue.wait("one.done")
    assert "tasks.work" in wait_until(lambda: succeeded(project.log("rest")), 20, what="the log")
    assert not succeeded(project.log("mails"))
    assert f"{project.name}-mails@" in project.log("mails")


def succeeded(log: str) -> str:
    """Return the lines of Celery that tell of a finished task."""
    return "\n".join(line for line in log.splitlines() if " succeeded in " in line)


def test_celery_beat_dispatches_its_task_once(redis: Path, server: Server, environment: Path) -> None:
    project = python_project(server, environment, "celery")
    shared = project.root / "shared"
    shared.mkdir()
    project.own(shared)
    Queue.make(project, ENQUEUE, REDIS_SOCKET=str(redis))
    before = server.snapshot()

    two = server.run("setup", project.name, "celery-beat", "--workers", "2")

    assert two.status == 2, two
    assert "must run as one process: a second beat would start every task twice" in two.stderr
    assert server.snapshot() == before

    server.ok("setup", project.name, "celery-beat")
    wait_until(lambda: dispatched(redis), 20, what="a task")
    assert list(shared.glob("celerybeat-schedule*")), "it remembers what it did, beside the releases"
    check_return(project, "beat")
    ask_redis(redis, "DEL", "celery")
    wait_until(lambda: dispatched(redis), 20, what="a task after the kill")
    check_stop(project, "beat")


def dispatched(redis: Path) -> int:
    """Return how many tasks wait for a worker."""
    return int(ask_redis(redis, "LLEN", "celery"))


@on_both
@pytest.mark.parametrize(("kind", "app"), [("gunicorn", "wsgi:app"), ("uvicorn", "main:app")])
def test_a_web_server_answers_comes_back_and_stops_after_the_request(
    server: Server, environment: Path, kind: str, app: str
) -> None:
    """The application is found in the sources; the port is an option of the project file."""
    project = python_project(server, environment, kind)
    port = free_port()
    timeout = ", timeout = 4" if kind == "gunicorn" else ""  # its workers look for their parent as often
    project.declare(f'[workers.web]\npreset = "{kind}"\noptions = {{ port = {port}{timeout} }}\n')

    server.ok("apply", project.name)

    assert project.written()[0].startswith(f"{project.current}/.venv/bin/{kind} {app} ")
    check_web_life(project, "web", port)
