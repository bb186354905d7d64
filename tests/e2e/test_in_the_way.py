"""What others made, or changed by hand, stands in the way: it is never overwritten or written through unasked."""

import os
from pathlib import Path

import pytest

from tests.e2e.refusals import REFUSED_BY_HOST, assert_refused, nothing_changes, processes
from tests.e2e.server import Server, TestProject, on_both, on_native
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

_WORKER = '[workers.custom]\ncommand = "sleep 1000"\nstart_seconds = 1'


@pytest.fixture
def project(server: Server) -> TestProject:
    made = server.add_project()
    made.release()
    return made


def test_a_hand_edit_is_reported_refused_and_overwritten_only_by_force(
    server: Server, project: TestProject
) -> None:
    project.declare(_WORKER)
    server.ok("apply")
    path = server.supervisord.conf_dir / f"{project.name}_custom.conf"
    written = path.read_text()
    path.write_text(written.replace("sleep 1000", "sleep 999"))

    with nothing_changes(server):
        plan = server.run("plan", "--check")
        refused = server.run("apply")
        again = server.run("setup", project.name, "custom", "--workers", "3")
        removed = server.run("remove", project.name, "--yes")

    assert plan.status == 3, plan
    assert f"{path} was changed by hand" in plan.stderr, plan
    for answer in (refused, again, removed):
        assert_refused(answer, REFUSED_BY_HOST, f"{path} was changed by hand", "--force")
    forced = server.ok("apply", "--force")
    assert path.read_text() == written
    assert "RUNNING" in forced.stdout
    assert server.run("plan", "--check").status == 0


def test_a_foreign_file_is_refused_and_taken_over_only_if_asked(server: Server, project: TestProject) -> None:
    group = f"{project.name}_custom"
    foreign = f"[program:{group}]\ncommand=sleep 500\nautostart=true\n"
    path = server.supervisord.write(f"{group}.conf", foreign)
    server.supervisord.update(group)
    server.supervisord.wait_for({f"{group}:{group}": "RUNNING"})

    project.declare(_WORKER)

    with nothing_changes(server):
        answers = server.run("apply"), server.run("setup", project.name, "custom", "--workers", "2")
    for answer in answers:
        assert_refused(answer, REFUSED_BY_HOST, f"{path} exists and was not written by shiftboss", "--adopt")

    before = processes(server)
    server.ok("apply", "--adopt")
    after = processes(server)
    kept = server.directory / "etc" / "state" / "adopted" / path.name
    assert kept.read_text() == foreign
    assert kept.stat().st_mode & 0o077 == 0, "it may hold secrets"
    assert after.keys() == before.keys()
    pid = after[f"{group}:{group}"]
    assert pid != before[f"{group}:{group}"]
    assert Path(f"/proc/{pid}").owner() == project.user
    assert b"1000" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_program_of_another_file_with_our_name_is_refused(server: Server, project: TestProject) -> None:
    group = f"{project.name}_custom"
    server.supervisord.write("by-hand.conf", f"[program:{group}]\ncommand=sleep 500\n")
    server.supervisord.update(group)

    with nothing_changes(server):
        answer = server.run("setup", project.name, "custom", "--adopt", "--", "sleep", "1000")

    assert_refused(answer, REFUSED_BY_HOST, f"already has a program {group}", "grep -r")


@pytest.mark.parametrize("text", ["* * * * * root true\n", "garbage\n"])
def test_a_foreign_crontab_is_refused(server: Server, project: TestProject, text: str) -> None:
    path = server.cron_dir / f"shiftboss-{project.name}"
    path.write_text(text)

    with nothing_changes(server):
        answer = server.run("cron", project.name, "backup", "@daily", "--", "true")

    assert_refused(answer, REFUSED_BY_HOST, f"{path} exists and was not written by shiftboss", "--adopt")


@on_both
@pytest.mark.parametrize("command", ["worker", "schedule"])
@pytest.mark.parametrize("by", ["root", "the project's user"])
def test_a_log_directory_that_leads_to_etc_is_refused(
    server: Server, project: TestProject, command: str, by: str
) -> None:
    project.logs.symlink_to("/etc")
    if by != "root":
        os.chown(project.logs, *owner(project), follow_symlinks=False)
    words = {"worker": ("setup", project.name, "custom", "--name", "shiftboss-e2e", "--", "sleep", "1000")}
    words |= {"schedule": ("cron", project.name, "shiftboss-e2e", "@daily", "--", "true")}

    with nothing_changes(server):
        answer = server.run(*words[command])

    assert_refused(answer, REFUSED_BY_HOST, f"the log directory {project.logs} is a symbolic link", "ls -ld")
    assert not os.path.lexists("/etc/shiftboss-e2e.log")


@on_both
def test_a_log_that_leads_to_another_file_is_refused(server: Server, project: TestProject) -> None:
    victim = server.directory / "victim"
    victim.write_text("untouched")
    victim.chmod(0o600)
    project.logs.mkdir()
    (project.logs / "custom.log").symlink_to(victim)

    with nothing_changes(server):
        answer = server.run("setup", project.name, "custom", "--", "sleep", "1000")

    assert_refused(answer, REFUSED_BY_HOST, "custom.log is a symbolic link", "ls -ld")
    assert (victim.read_text(), victim.stat().st_mode & 0o777, victim.owner()) == ("untouched", 0o600, "root")


@on_native
def test_a_log_directory_of_the_project_is_taken_over_only_if_asked_and_stays_in_use(
    server: Server, project: TestProject
) -> None:
    """The web part of the application writes its own log there, before and after."""
    project.logs.mkdir(mode=0o755)
    project.own(project.logs)
    own_log, rotated = project.logs / "web.log", project.logs / "web.log.1"
    write = ("sh", "-c", f"echo said >> {own_log}")
    project.as_user(*write)
    words = ("setup", project.name, "custom", "--", "sh", "-c", "echo ready; exec sleep 1000")

    with nothing_changes(server):
        refused = server.run(*words)
    assert_refused(refused, REFUSED_BY_HOST, f"{project.logs} belongs to {project.user}", "--adopt")
    adopted = (*words[:3], "--adopt", *words[3:])
    server.ok(*adopted)

    wait_until(lambda: project.log("custom") == "ready\n", 10, what="the output of the worker")
    project.as_user(*write)
    project.as_user("mv", str(own_log), str(rotated))
    project.as_user(*write)
    assert (rotated.read_text(), own_log.read_text()) == ("said\nsaid\n", "said\n")
    assert (rotated.owner(), own_log.owner()) == (project.user, project.user)
    assert project.as_user("cat", str(project.logs / "custom.log")).stdout == "ready\n"
    assert project.logs.stat().st_gid == project.current.stat().st_gid
    assert "nothing to change" in server.ok(*words).stdout
    server.ok("restart", project.name)
    wait_until(lambda: project.log("custom") == "ready\n" * 2, 10, what="the output after a restart")


@on_native
def test_a_log_of_the_worker_that_the_project_exchanges_for_a_link_is_not_written_through(
    server: Server, project: TestProject
) -> None:
    """In a directory that was taken over, the project may still exchange files: the engine follows no link."""
    victim = server.directory / "victim"
    victim.write_text("untouched")
    victim.chmod(0o666)
    project.logs.mkdir(mode=0o755)
    project.own(project.logs)
    said = "while true; do echo said; sleep 0.1; done"
    server.ok("setup", project.name, "custom", "--adopt", "--", "sh", "-c", said)
    log = project.logs / "custom.log"
    wait_until(lambda: "said" in project.log("custom"), 10, what="output")

    project.as_user("sh", "-c", f"mv {log} {log}.old && ln -s {victim} {log}")
    server.ok("restart", project.name)

    wait_until(lambda: "custom.log" in server.run("status").stdout, 20, what="a word about the log in status")
    assert victim.read_text() == "untouched"
    assert set(project.states().values()) == {"RUNNING"}
    project.as_user("rm", str(log))
    wait_until(lambda: not log.is_symlink() and "said" in project.log("custom"), 20, what="output again")


@on_both
def test_a_log_directory_that_was_exchanged_later_stops_the_next_change(
    server: Server, project: TestProject
) -> None:
    project.declare(_WORKER)
    server.ok("apply")
    elsewhere = server.directory / "elsewhere"
    project.logs.rename(elsewhere)
    project.logs.symlink_to(elsewhere)

    with nothing_changes(server):
        answer = server.run("scale", f"{project.name}/custom", "2")

    assert_refused(answer, REFUSED_BY_HOST, "is a symbolic link")
    assert server.run("logs", project.name).status == 0, "a link that root made may be read through"


def owner(project: TestProject) -> tuple[int, int]:
    release = project.current.stat()
    return release.st_uid, release.st_gid
