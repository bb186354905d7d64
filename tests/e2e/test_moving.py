"""A worker moves from Supervisor to our own engine and back, with a job in hand: two copies never run."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.refusals import INTERRUPTED, REFUSED_BY_HOST, assert_refused, nothing_changes
from tests.e2e.server import Server, TestProject, on_native
from tests.e2e.test_interrupts import interrupted
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, on_native]

# takes a lock as long as it lives, says so, and takes its time to finish when it is asked to stop
_CAREFUL = """\
import fcntl, os, signal, time
held = open("../../lock", "a")
ledger = os.open("../../ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
def tell(what):
    os.write(ledger, f"{what} {os.getpid()}\\n".encode())
def stop(*_):
    time.sleep(2)
    tell("end")
    os._exit(0)
try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    tell("SECOND COPY")
signal.signal(signal.SIGTERM, stop)
tell("start")
while True:
    time.sleep(10)
"""


@pytest.fixture
def project(server: Server) -> Iterator[TestProject]:
    """Give a project whose worker keeps a ledger, on a server where both backends run."""
    made = server.add_project()
    release = made.release()
    made.own(made.root)
    made.write(release, "careful.py", _CAREFUL)
    with server.supervisord:
        yield made


def put_on(project: TestProject, backend: str) -> None:
    """Say in the project file where the worker runs."""
    project.declare(
        f'[workers.job]\ncommand = "python3 careful.py"\nstart_seconds = 1\nbackend = "{backend}"\n'
    )


def ledger(project: TestProject) -> list[str]:
    """Return what the copies said, in the order of time."""
    return (project.root / "ledger").read_text().splitlines()


def backend_of(server: Server, project: TestProject) -> tuple[str, str]:
    """Return where `status` sees the worker, and in which state."""
    document = json.loads(server.run("status", project.name, "--json").stdout)
    (worker,) = document["projects"][0]["workers"]
    (process,) = worker["processes"]
    return worker["backend"], process["state"]


def assert_one_after_the_other(project: TestProject, count: int) -> None:
    said = ledger(project)
    assert [line.rpartition(" ")[0] for line in said] == (["start", "end"] * count)[: 2 * count - 1], said
    pids = [line.split()[-1] for line in said]
    assert pids[:-1:2] == pids[1::2], "one ended that was not the one that ran"


def test_a_worker_moves_there_and_back_and_two_copies_never_run(server: Server, project: TestProject) -> None:
    backends = ("supervisor", "native", "supervisor", "native")
    for count, backend in enumerate(backends, start=1):
        put_on(project, backend)
        server.ok("apply")
        assert backend_of(server, project) == (backend, "RUNNING")
        assert_one_after_the_other(project, count)
        assert server.run("plan", "--check").status == 0
        (log,) = (project.logs / "job.log",)
        assert log.exists()
        with nothing_changes(server):
            server.ok("apply")

    server.ok("remove", project.name, "--yes")
    assert ledger(project)[-1].startswith("end ")
    assert server.supervisord.states() == {}
    assert server.keeper.states() == {}
    assert not list(server.keeper.manifests.iterdir())
    assert not list(server.supervisord.conf_dir.iterdir())


@pytest.mark.parametrize(("first", "second"), [("supervisor", "native"), ("native", "supervisor")])
def test_a_move_that_was_interrupted_is_finished_by_the_next_run(
    server: Server, project: TestProject, first: str, second: str
) -> None:
    put_on(project, first)
    server.ok("apply")
    put_on(project, second)

    answer = interrupted(server, ("apply",), lambda said: "to finish" in said)

    assert answer.status == INTERRUPTED, answer
    server.ok("apply")
    assert backend_of(server, project) == (second, "RUNNING")
    wait_until(lambda: len(ledger(project)) == 3, 20, what="the end of the first copy")
    assert_one_after_the_other(project, 2)
    assert server.run("plan", "--check").status == 0


def test_a_move_to_an_engine_that_does_not_run_stops_nothing(server: Server, project: TestProject) -> None:
    """What runs is not given up for something that cannot start."""
    put_on(project, "supervisor")
    server.ok("apply")
    put_on(project, "native")
    server.keeper.stop()

    answer = server.run("apply")

    assert_refused(answer, REFUSED_BY_HOST, f"cannot move {project.name}/job", "not running", "shiftboss up")
    assert len(ledger(project)) == 1, "it was stopped"
    server.keeper.start()
    server.ok("apply")
    wait_until(lambda: backend_of(server, project) == ("native", "RUNNING"), 20, what="the worker on native")
    assert_one_after_the_other(project, 2)
