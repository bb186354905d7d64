"""What our own engine suffers from reaches who asks: in `shiftboss status`, until it is over. About 40 s."""

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.refusals import REFUSED_BY_HOST, assert_refused
from tests.e2e.server import Server, TestProject, on_native
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, on_native, pytest.mark.timeout(180)]


@pytest.fixture
def project(server: Server) -> TestProject:
    """Give a project with a worker `talker` that runs and writes all the time."""
    made = server.add_project()
    made.release()
    script = "while :; do echo hello; sleep 0.05; done"
    made.declare(f'[workers.talker]\ncommand = ["/bin/sh", "-c", "{script}"]\nstart_seconds = 1\n')
    server.ok("apply")
    return made


def told(server: Server) -> str:
    answer = server.run("status")
    assert "Traceback" not in answer.stderr, answer
    return answer.stdout


def process_of(server: Server) -> dict[str, Any]:
    (project,) = json.loads(server.run("status", "--json").stdout)["projects"]
    found: dict[str, Any] = project["workers"][0]["processes"][0]
    return found


def test_a_log_that_cannot_be_written(server: Server, project: TestProject) -> None:
    before = process_of(server)["pid"]
    log = project.logs / "talker.log"
    facts = project.logs.stat(), log.stat()
    for path in (project.logs, log):  # a backup that was put back by root
        os.chown(path, 0, 0)
        path.chmod(0o700)
    server.keeper.kill_engine()  # the one before has the file open still

    wait_until(lambda: f"{project.name}/talker: cannot" in told(server), 20, what="the trouble in the status")
    trouble = next(line for line in told(server).splitlines() if "cannot" in line)
    assert str(log) in trouble
    assert "permission denied" in trouble.lower()
    assert "RUNNING" in told(server), "the worker does not suffer"
    for path, fact in zip((project.logs, log), facts, strict=True):
        os.chown(path, fact.st_uid, fact.st_gid)
        path.chmod(fact.st_mode & 0o7777)
    wait_until(lambda: "cannot" not in told(server), 30, what="the end of the trouble")
    assert process_of(server)["pid"] == before


def test_a_manifest_that_is_broken(server: Server, project: TestProject) -> None:
    before = process_of(server)["pid"]
    path = server.keeper.manifests / f"{project.name}.json"
    path.write_text('{"version": 1, "entr')
    os.kill(server.keeper.pid, signal.SIGHUP)

    wait_until(
        lambda: f"manifest {project.name}.json: " in told(server), 20, what="the trouble in the status"
    )

    assert process_of(server)["pid"] == before, "the earlier manifest holds"
    assert process_of(server)["state"] == "RUNNING"
    server.run("apply", "--force")
    wait_until(lambda: "manifest" not in told(server), 20, what="the end of the trouble")
    assert process_of(server)["pid"] == before


def test_a_project_file_that_is_broken_hides_no_process(server: Server, project: TestProject) -> None:
    other = server.add_project()
    other.project_file().write_text("[workers.no\n")

    answer = server.run("status")

    assert f"{project.name}/talker  RUNNING" in answer.stdout, answer
    assert "not valid TOML" in answer.stderr, answer


def test_a_release_that_is_gone(server: Server, project: TestProject) -> None:
    assert (process_of(server)["stale"], process_of(server)["deleted"]) == (False, False)
    project.release(2)
    wait_until(lambda: "STALE" in told(server), 20, what="STALE")
    assert f"{project.name}/talker still runs an older release: shiftboss restart" in told(server)

    shutil.rmtree(project.root / "releases" / "1")

    wait_until(lambda: "(deleted)" in told(server), 20, what="(deleted)")
    assert (process_of(server)["stale"], process_of(server)["deleted"]) == (True, True)
    server.ok("restart", project.name)
    assert "(deleted)" not in told(server)
    assert (process_of(server)["stale"], process_of(server)["deleted"]) == (False, False)


def test_a_keeper_that_waits_for_what_a_dead_one_left(server: Server, project: TestProject) -> None:
    script = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(1000)"
    )
    command = json.dumps(["/usr/bin/python3", "-c", script])
    project.declare(f"[workers.talker]\ncommand = {command}\nstart_seconds = 1\nstop_wait = 600\n")
    server.ok("apply")
    wait_until(lambda: "ready" in project.log("talker"), 20, what="the worker")
    old, engine = process_of(server)["pid"], server.keeper.engine_pid
    server.keeper.kill()
    wait_until(lambda: "the keeper is gone" in told(server), 20, what="the engine's words")
    os.kill(engine, signal.SIGKILL)
    assert_refused(server.run("stop", project.name), REFUSED_BY_HOST, "not running", "shiftboss up")
    starting = threading.Thread(target=server.keeper.start)
    starting.start()
    try:
        words = "shiftboss is starting: it waits for 1 process of an earlier keeper"
        wait_until(lambda: f"note: {words}" in server.run("status").stderr, 20, what=words)
        for line in (("stop", project.name), ("history",)):
            assert_refused(server.run(*line), REFUSED_BY_HOST, words, "stop_wait")
    finally:
        os.kill(old, signal.SIGKILL)
        starting.join()
    assert process_of(server)["pid"] not in {None, old}
    assert not Path(server.keeper.run / "starting").exists()
