"""What changes behind our back is shown and healed; nothing that is as it should be is touched."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.crond import TemporaryCron
from tests.e2e.refusals import REFUSED_BY_HOST, assert_refused, nothing_changes, processes
from tests.e2e.server import Server, TestProject, on_both, on_native
from tests.supervisord import method
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

_NOT_AS_DESIRED = 3
_WORKER = '[workers.queue]\ncommand = "sleep 1000"\nstart_seconds = 1\n'
_FRAGILE = """\
import pathlib, sys, time
while pathlib.Path("../../healthy").exists():
    time.sleep(0.05)
sys.exit("cannot reach the database")
"""
_TALKER = """\
import os, time
while True:
    os.write(1, f"line of {os.getpid()}\\n".encode())
    time.sleep(0.05)
"""


@pytest.fixture
def project(server: Server) -> TestProject:
    """Give a project with a release."""
    made = server.add_project()
    made.release()
    return made


def test_a_group_that_was_removed_at_supervisor_comes_back(server: Server, project: TestProject) -> None:
    project.declare(_WORKER)
    server.ok("apply")
    group = group_of(project)
    method(server.supervisord.site, "supervisor.stopProcessGroup", group)
    method(server.supervisord.site, "supervisor.removeProcessGroup", group)

    status = server.run("status")
    plan = server.run("plan", "--check")
    server.ok("apply")

    assert status.status == _NOT_AS_DESIRED, status
    assert plan.status == _NOT_AS_DESIRED, plan
    assert f"start {project.name}/queue" in plan.stdout
    assert project.states() == {f"{group}:{group}": "RUNNING"}


@on_both
def test_files_of_cron_and_logrotate_that_were_deleted_come_back(
    server: Server, project: TestProject
) -> None:
    project.declare('[schedules.backup]\ncommand = "true"\ncron = "30 4 * * *"')
    with TemporaryCron(server.directory):
        server.ok("apply")
        before = server.snapshot()
        name = f"shiftboss-{project.name}"
        for path in (server.cron_dir / name, server.directory / "logrotate.d" / name):
            path.unlink()
            plan = server.run("plan", "--check")
            server.ok("apply")
            assert plan.status == _NOT_AS_DESIRED, plan
            assert f"create {path}" in plan.stdout
    assert server.snapshot() == before


def test_a_program_file_that_was_deleted_is_named_with_the_way_back(
    server: Server, project: TestProject
) -> None:
    """Supervisor cannot tell where a running program comes from: it may be a file of somebody else."""
    project.declare(_WORKER)
    server.ok("apply")
    before, group = server.snapshot(), group_of(project)
    (server.supervisord.conf_dir / f"{group}.conf").unlink()

    with nothing_changes(server):
        plan, refused = server.run("plan", "--check"), server.run("apply")

    assert plan.status == _NOT_AS_DESIRED, plan
    mend = f"supervisorctl update {group}"
    assert mend in plan.stderr, plan
    assert_refused(refused, REFUSED_BY_HOST, f"already has a program {group}", mend)
    supervisorctl(server, *mend.split()[1:])
    server.ok("apply")
    assert server.snapshot() == before
    assert server.run("plan", "--check").status == 0


@on_native
def test_a_process_that_fails_shows_its_reason_and_heals_by_itself(
    server: Server, project: TestProject
) -> None:
    """Where Supervisor gives up, our engine goes on trying, and says what the program said."""
    project.own(project.root)
    (project.root / "healthy").touch()
    project.write(project.current.resolve(), "fragile.py", _FRAGILE)
    project.declare('[workers.queue]\ncommand = "python3 fragile.py"\nstart_seconds = 1')
    server.ok("apply")
    address = f"{project.name}/queue:1"
    (project.root / "healthy").unlink()
    server.keeper.wait_for({address: "BACKOFF"})

    status = server.run("status")
    started = server.run("restart", f"{project.name}/queue")

    assert status.status == _NOT_AS_DESIRED, status
    assert "cannot reach the database" in status.stdout, status
    assert "Supervisor" not in status.stdout + status.stderr + started.stdout + started.stderr
    assert_refused(started, REFUSED_BY_HOST, "does not stay up", "cannot reach the database")
    (project.root / "healthy").touch()
    server.keeper.wait_for({address: "RUNNING"})
    assert server.run("status").status == 0
    assert server.run("plan", "--check").status == 0


@on_native
def test_a_manifest_that_was_deleted_or_edited_is_put_back_and_nothing_restarts(
    server: Server, project: TestProject
) -> None:
    project.declare(_WORKER)
    server.ok("apply")
    before, running = server.snapshot(), processes(server)
    path = server.keeper.manifests / f"{project.name}.json"
    written = path.read_text()
    for spoil in (path.unlink, lambda: path.write_text(written.replace("1000", "999"))):
        spoil()
        plan = server.run("plan", "--check")
        server.ok("apply")
        assert plan.status == _NOT_AS_DESIRED, plan
        assert str(path) in plan.stdout
        assert (server.snapshot(), processes(server)) == (before, running)


@on_native
def test_a_stop_survives_the_engine_and_the_keeper(server: Server, project: TestProject) -> None:
    project.declare(_WORKER + 'processes = 2\n[workers.other]\ncommand = "sleep 1000"\nstart_seconds = 1\n')
    server.ok("apply")
    name = project.name
    server.ok("stop", f"{name}/queue:2")
    expected = {f"{name}/queue:1": "RUNNING", f"{name}/queue:2": "STOPPED", f"{name}/other:1": "RUNNING"}

    server.keeper.kill_engine()
    server.keeper.wait_for(expected)
    server.keeper.kill()
    server.keeper.start()

    server.keeper.wait_for(expected)
    assert project.states() == expected
    assert len(server.keeper.processes()) - 1 == 2, "the engine and two workers, each once"


def test_a_process_that_supervisor_gave_up_is_named_and_revived(server: Server, project: TestProject) -> None:
    project.own(project.root)
    (project.root / "healthy").touch()
    project.write(project.current.resolve(), "fragile.py", _FRAGILE)
    project.declare('[workers.queue]\ncommand = "python3 fragile.py"\nstart_seconds = 1')
    server.ok("apply")
    path, group = server.supervisord.conf_dir / f"{group_of(project)}.conf", group_of(project)
    path.write_text(re.sub(r"startretries=\d+", "startretries=0", path.read_text()))
    method(server.supervisord.site, "supervisor.stopProcessGroup", group)
    method(server.supervisord.site, "supervisor.removeProcessGroup", group)
    (project.root / "healthy").unlink()
    server.supervisord.update(group)
    server.supervisord.wait_for({f"{group}:{group}": "FATAL"})

    status = server.run("status")
    assert status.status == _NOT_AS_DESIRED, status
    lines = [line for line in status.stdout.splitlines() if line.startswith(f"{project.name}/queue: ")]
    assert lines[0].endswith("ended within 1 second of its start"), status
    revive = f"shiftboss start {project.name}/queue"
    assert lines[1].endswith(f"once it is mended: {revive}"), status

    still = server.run("start", f"{project.name}/queue")
    assert_refused(still, REFUSED_BY_HOST, "does not stay up", "cannot reach the database", revive)
    (project.root / "healthy").touch()
    server.ok(*revive.split()[1:])
    assert server.ok("status").stdout.count("RUNNING") == 1


@on_both
def test_stop_is_shown_by_status_and_left_alone_by_apply(server: Server, project: TestProject) -> None:
    project.declare(_WORKER)
    server.ok("apply")

    server.ok("stop", project.name)

    status = server.run("status")
    assert (status.status, "STOPPED" in status.stdout) == (_NOT_AS_DESIRED, True), status
    with nothing_changes(server):
        applied = server.ok("apply")
    assert f"is stopped by hand; start it with: shiftboss start {project.name}/queue" in applied.stderr
    server.ok("start", project.name)
    assert server.run("status").status == 0


def test_scaling_changes_the_processes_and_who_rotates_their_log(
    server: Server, project: TestProject
) -> None:
    project.write(project.current.resolve(), "talker.py", _TALKER)
    project.declare('[workers.queue]\ncommand = "python3 talker.py"\nstart_seconds = 1  # as it was')
    server.ok("apply")
    alone = server.snapshot()
    rotation = server.directory / "logrotate.d" / f"shiftboss-{project.name}"
    assert not rotation.exists()

    server.ok("scale", f"{project.name}/queue", "3")

    assert set(project.states().values()) == {"RUNNING"}
    pids = set(processes(server).values())
    assert len(pids) == 3
    assert "start_seconds = 1  # as it was" in project.project_file().read_text(), "a comment was lost"
    assert_rotated_together(project, rotation, pids)

    server.ok("scale", f"{project.name}/queue", "1")
    assert len(processes(server)) == 1
    assert not rotation.exists()
    changed = {path for path, was in alone.items() if server.snapshot()[path] != was}
    assert changed == {str(project.project_file())}, "only `processes = 1` is written now"


@on_native
def test_scaling_starts_one_process_and_ends_one_and_touches_no_other(
    server: Server, project: TestProject
) -> None:
    project.write(project.current.resolve(), "talker.py", _TALKER)
    text = '[workers.queue]\ncommand = "python3 talker.py"\nstart_seconds = 1\nprocesses = 2  # as it was'
    project.declare(text)
    server.ok("apply")
    two = processes(server)

    plan = server.ok("scale", f"{project.name}/queue", "3", "--dry-run")
    server.ok("scale", f"{project.name}/queue", "3")
    three = processes(server)
    log = project.logs / "queue.log"
    wait_until(lambda: set(three.values()) <= writers(log), 20, what="lines of all processes")
    server.ok("scale", f"{project.name}/queue", "2")

    assert "restarts:" not in plan.stdout, plan
    assert two.items() <= three.items(), "a process was restarted"
    assert len(three) == 3
    assert processes(server) == two
    assert not list((server.directory / "logrotate.d").iterdir()), "the engine rotates by itself"
    assert "processes = 2  # as it was" in project.project_file().read_text(), "a comment was lost"


def assert_rotated_together(project: TestProject, rotation: Path, pids: set[int]) -> None:
    """Let the real logrotate rotate a log: all processes go on in the new file."""
    log = project.logs / "queue.log"
    state = project.server.directory / "logrotate.state"
    wait_until(lambda: pids <= writers(log), 20, what="lines of all processes")
    subprocess.run(["logrotate", "--force", "--state", str(state), str(rotation)], check=True, timeout=30)
    rotated = log.with_name("queue.log.1")
    assert pids <= writers(rotated)
    wait_until(lambda: pids <= writers(log), 20, what="lines of all processes in the new file")
    assert log.owner() == project.user


def supervisorctl(server: Server, *words: str) -> None:
    daemon = server.supervisord
    argv = [daemon.python, "-m", "supervisor.supervisorctl", "-c", str(daemon.conf_file), *words]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


def writers(log: Path) -> set[int]:
    return {
        int(number) for number in re.findall(r"^line of (\d+)$", log.read_text(errors="replace"), re.M)[1:]
    }


def group_of(project: TestProject) -> str:
    return f"{project.name}_queue"
