"""Ctrl-C (or worse) in the middle: nothing is half done, and a second run finishes."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.refusals import INTERRUPTED, assert_refused, nothing_changes, processes
from tests.e2e.server import INTERRUPTIBLE, Answer, Server, TestProject, on_both
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

# it finishes its work before it ends: when the file `done` appears (or the backend is gone)
_DILIGENT = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
backend = os.getppid()
while os.getppid() == backend and not pathlib.Path("../../../../done").exists():
    time.sleep(0.05)
"""


@pytest.fixture
def project(server: Server) -> Iterator[TestProject]:
    """Give a project; at the end every work is done."""
    made = server.add_project()
    made.release()
    yield made
    finish_work(server)


@on_both
def test_while_it_waits_for_another_nothing_has_happened(server: Server, project: TestProject) -> None:
    project.declare('[workers.slow]\ncommand = "sleep 1000"\nstart_seconds = 1')
    with lock_held(server), nothing_changes(server):
        answer = interrupted(server, ("apply",), lambda said: "is changing this server: waiting" in said)

    assert_refused(answer, INTERRUPTED, "interrupted", "shiftboss status")
    server.ok("apply")
    assert set(project.states().values()) == {"RUNNING"}


@on_both
def test_while_it_watches_the_start_the_worker_starts_on(server: Server, project: TestProject) -> None:
    project.declare('[workers.slow]\ncommand = "sleep 1000"\nstart_seconds = 4')

    answer = interrupted(server, ("apply",), lambda said: "waiting until" in said)

    assert_refused(answer, INTERRUPTED, "interrupted", "shiftboss status")
    started = processes(server)
    server.ok("apply")
    wait_until(lambda: set(project.states().values()) == {"RUNNING"}, 20, what="RUNNING")
    assert processes(server) == started, "the second run restarted it"
    assert server.run("plan", "--check").status == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda how: how.name)
@on_both
def test_while_it_waits_for_a_job_to_finish_the_next_run_finishes_the_change(
    server: Server, project: TestProject, how: signal.Signals
) -> None:
    project.write(project.current.resolve(), "diligent.py", _DILIGENT)
    project.declare('[workers.slow]\ncommand = "python3 diligent.py"\nstop_wait = 60\nstart_seconds = 1')
    server.ok("apply")
    old = one(processes(server))
    project.declare('[workers.slow]\ncommand = "sleep 1000"\nstart_seconds = 1')

    answer = interrupted(server, ("apply",), lambda said: "to finish" in said, how)

    assert answer.status == (INTERRUPTED if how == signal.SIGINT else -how), answer
    assert one(processes(server)) == old, "the job in hand was broken off"
    left = 0 if server.is_native else 3  # our engine goes by what it was told, whoever waits for it
    assert server.run("plan", "--check").status == left, "the plan does not show what is left to do"
    finish_work(server)
    server.ok("apply")
    assert_runs(project, one(processes(server)), "sleep 1000")
    assert server.run("plan", "--check").status == 0


@on_both
def test_a_change_of_another_project_does_not_forget_what_was_interrupted(
    server: Server, project: TestProject
) -> None:
    other = server.add_project()
    other.release()
    for each in (project, other):
        each.write(each.current.resolve(), "diligent.py", _DILIGENT)
        each.declare('[workers.slow]\ncommand = "python3 diligent.py"\nstop_wait = 60\nstart_seconds = 1')
    server.ok("apply")
    project.declare('[workers.slow]\ncommand = "sleep 1000"\nstart_seconds = 1')
    interrupted(server, ("apply",), lambda said: "to finish" in said)
    finish_work(server)

    other.declare('[workers.slow]\ncommand = "sleep 1000"\nstart_seconds = 1')
    server.ok("apply", other.name)
    server.ok("apply", project.name)

    for each in (project, other):
        assert_runs(each, processes(server)[each.process("slow")], "sleep 1000")


@on_both
def test_a_removal_that_was_interrupted_is_finished_by_the_next(server: Server, project: TestProject) -> None:
    project.write(project.current.resolve(), "diligent.py", _DILIGENT)
    project.declare('[workers.slow]\ncommand = "python3 diligent.py"\nstop_wait = 60\nstart_seconds = 1')
    before = server.snapshot()
    server.ok("apply")
    line = ("remove", f"{project.name}/slow", "--yes")

    answer = interrupted(server, line, lambda said: "to finish" in said)

    assert_refused(answer, INTERRUPTED, "interrupted")
    finish_work(server)
    server.ok("apply")
    assert processes(server) == {}
    assert server.snapshot().keys() == before.keys()
    assert server.run("plan", "--check").status == 0


def finish_work(server: Server) -> None:
    (server.directory / "done").touch()


def one(found: dict[str, int]) -> int:
    (pid,) = found.values()
    return pid


def assert_runs(project: TestProject, pid: int, command: str) -> None:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    assert " ".join(words).strip().endswith(command), words
    assert Path(f"/proc/{pid}").owner() == project.user


@contextmanager
def lock_held(server: Server) -> Iterator[None]:
    """Be the other one who is changing this server."""
    path = server.directory / "etc" / "run" / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def interrupted(
    server: Server,
    line: tuple[str, ...],
    when: Callable[[str], bool],
    how: signal.Signals = signal.SIGINT,
) -> Answer:
    """Run shiftboss, send it a signal as soon as what it said is enough, and wait for its end."""
    output, errors = server.directory / "stdout", server.directory / "stderr"
    environment = {**os.environ, "SHIFTBOSS_CONFIG": str(server.config), "NO_COLOR": "1"}
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [*INTERRUPTIBLE, *line], env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: when(errors.read_text()) or process.poll() is not None, 30, what=str(line))
            process.send_signal(how)
            status = process.wait(30)
        finally:
            process.kill()
            process.wait()
    return Answer(status, output.read_text(), errors.read_text())
