"""200 projects with three units each on one server: nobody disturbs anybody; how long commands take is printed."""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crond import TemporaryCron
from tests.e2e.refusals import processes
from tests.e2e.server import Server, TestProject, on_both

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(300)]

_PROJECTS = 200
_UNITS = """\
[workers.mail]
command = "sleep 100000"
start_seconds = 1

[workers.images]
command = "sleep 100000"
start_seconds = 1

[schedules.backup]
command = "true"
cron = "30 4 * * *"
"""


@pytest.fixture
def server(request: pytest.FixtureRequest, public_tmp: Path) -> Iterator[Server]:
    """Give a server whose backend may have many processes, with a cron daemon."""
    made = Server.make(public_tmp, request.param, minfds=4096)
    try:
        with made.daemon, TemporaryCron(public_tmp):
            yield made
    finally:
        made.close()


@on_both
def test_of_200_projects_a_newcomer_and_a_change_disturb_no_other(server: Server) -> None:
    shared = server.add_project()
    projects = [add(server, shared.user, number) for number in range(_PROJECTS)]
    applied = seconds(server, "apply")
    running = processes(server)
    assert len(running) == 2 * _PROJECTS
    assert all(running.values())
    assert len(list(server.cron_dir.iterdir())) == _PROJECTS

    figures = {command: median(server, command) for command in ("plan", "status")}
    sys.stdout.write(
        f"{_PROJECTS} projects on {server.backend}: apply {applied:.1f} s, medians of five: {figures}\n"
    )  # pytest -rP
    server.ok("plan", "--check")

    newcomer = add(server, shared.user, _PROJECTS)
    server.ok("apply")
    after = processes(server)
    assert running.items() <= after.items(), "somebody else was restarted"
    assert after.keys() - running.keys() == {newcomer.process(worker) for worker in ("mail", "images")}

    changed = projects[7]
    changed.declare(_UNITS.replace("100000", "99999", 1))
    plan = server.ok("plan", changed.name)
    assert f"restarts: {changed.name}/mail:1" in plan.stdout
    server.ok("apply")
    last = processes(server)
    assert {key for key in last if last[key] != after[key]} == {changed.process("mail")}


def add(server: Server, user: str, number: int) -> TestProject:
    """Make a project of this user, with its file."""
    project = TestProject(server, f"p{number:03}", user=user)
    (project.root / "releases" / "1").mkdir(parents=True)
    project.switch(1)
    project.declare(_UNITS)
    return project


def seconds(server: Server, command: str) -> float:
    """Return how long a command takes."""
    started = time.monotonic()
    server.ok(command)
    return time.monotonic() - started


def median(server: Server, command: str) -> float:
    return round(statistics.median(seconds(server, command) for _ in range(5)), 2)
