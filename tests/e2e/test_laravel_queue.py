"""A real Laravel queue on a real Supervisor, and on our own engine: the whole life of a worker."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.laravel import laravel_project, laravel_release, outbox, queue_mail, status
from tests.e2e.server import CLASSIC, Server, TestProject, on_both, on_native
from tests.supervisord import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root


@on_both
def test_the_request_returns_at_once_while_the_worker_does_the_job(server: Server) -> None:
    project = laravel_project(server)
    server.ok("setup", project.name, "queue")

    with web_server(project) as port:
        started = time.monotonic()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/signup", b"id=slow&seconds=3", method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            answered = time.monotonic() - started
            assert answer.status == 202
        wait_until(lambda: outbox(project, "slow.eml"), 40, what="the job")

    took = time.monotonic() - started
    assert answered < took - 2, f"the request took {answered:.2f} s, the job {took:.2f} s"
    mail = outbox(project, "slow.eml")[0]
    assert f"X-Uid: {mail.stat().st_uid}" in mail.read_text()
    assert mail.owner() == project.user
    wait_until(lambda: "Processed" in project.log("queue"), 10, what="the log")


@on_both
def test_two_workers_share_twenty_jobs_and_a_killed_one_comes_back(server: Server) -> None:
    project = laravel_project(server)
    server.ok("setup", project.name, "queue", "--workers=2")
    queue_mail(project, "job", seconds=0.3, count=20)
    wait_until(lambda: outbox(project), 30, what="the first job")

    before = {process["process"]: process["pid"] for process in status(server, project)}
    wait_until(lambda: len(outbox(project)) == 20, 60, what="20 jobs")
    workers = {line for mail in outbox(project) for line in mail.read_text().splitlines() if "X-Pid" in line}
    assert workers == {f"X-Pid: {pid}" for pid in before.values()}, "both worked"
    assert len(outbox(project, "*.started")) == 20

    victim = int(str(before[1]))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: running_again(server, project, victim), 20, what="the replacement")
    queue_mail(project, "after", count=2)
    wait_until(lambda: len(outbox(project, "after*.eml")) == 2, 30, what="jobs after the kill")
    assert status(server, project)[1]["pid"] == before[2], "the other one was left alone"


@on_both
def test_stop_lets_the_job_finish_and_restart_takes_up_the_new_release(server: Server) -> None:
    project = laravel_project(server)
    server.ok("setup", project.name, "queue")
    queue_mail(project, "long", seconds=3)
    wait_until(lambda: outbox(project, "long.started"), 30, what="the start of the job")

    server.ok("stop", f"{project.name}/queue")

    assert outbox(project, "long.eml"), "stop returned and the job was not finished"
    assert status(server, project)[0]["state"] == "STOPPED"
    assert server.run("status", project.name).status == 3

    server.ok("start", f"{project.name}/queue")
    laravel_release(project, 2)
    stale = status(server, project)[0]
    assert (stale["state"], stale["stale"]) == ("RUNNING", True)

    answer = server.ok("restart", f"{project.name}/queue")
    fresh = status(server, project)[0]
    assert f"pid {stale['pid']} -> {fresh['pid']}" in answer.stdout
    assert fresh["stale"] is False
    assert os.readlink(f"/proc/{fresh['pid']}/cwd") == str(project.root / "releases" / "2")


@on_native
def test_a_job_in_hand_survives_the_engine_and_a_scaling(server: Server) -> None:
    """Neither the engine's death nor another process beside it touches a worker that is in the middle of a job."""
    project = laravel_project(server)
    server.ok("setup", project.name, "queue", "--workers", "2")
    queue_mail(project, "long", seconds=6)
    wait_until(lambda: outbox(project, "long.started"), 30, what="the start of the job")
    before = server.keeper.pids()

    server.keeper.kill_engine()
    server.ok("scale", f"{project.name}/queue", "3")

    after = server.keeper.pids()
    assert before.items() <= after.items(), "a process was restarted"
    assert len(after) == 3
    wait_until(lambda: outbox(project, "long.eml"), 30, what="the job")
    wait_until(lambda: project.log("queue").count("Processed") == 1, 10, what="its line in the log, once")


def test_the_classic_script_sets_up_two_workers_in_one_command(server: Server) -> None:
    project = laravel_project(server)

    said = server.ok("setup-supervisor", project.name, "queue", "--workers=2", program=CLASSIC)

    assert f"supervisorctl status '{project.name}_queue:*'" in said.stdout
    assert set(project.states().values()) == {"RUNNING"}
    assert len(project.states()) == 2
    queue_mail(project, "one")
    wait_until(lambda: outbox(project, "one.eml"), 30, what="the job")


@on_both
def test_setting_it_up_again_changes_nothing_and_remove_leaves_nothing(server: Server) -> None:
    project = laravel_project(server)
    untouched = server.snapshot()
    server.ok("setup", project.name, "queue", "--workers", "2")
    first = (server.snapshot(), [process["pid"] for process in status(server, project)])

    again = server.ok("setup", project.name, "queue", "--workers", "2")

    assert "nothing to change" in again.stdout
    assert (server.snapshot(), [process["pid"] for process in status(server, project)]) == first
    assert server.run("plan", "--check").status == 0

    server.ok("remove", project.name, "--yes")
    assert server.snapshot() == untouched
    assert project.states() == {}
    assert not any(os.path.exists(f"/proc/{pid}") for pid in first[1])


@on_both
def test_a_worker_that_cannot_start_is_reported_with_its_own_words(server: Server) -> None:
    project = laravel_project(server)

    answer = server.run("setup", project.name, "custom", "php artisan nope")

    assert answer.status == 1, answer
    assert 'Command "nope" is not defined' in answer.stderr
    assert str(project.logs / "custom.log") in answer.stderr
    assert "Traceback" not in answer.stderr


@on_native
@pytest.mark.timeout(180)
def test_a_worker_that_ends_itself_says_why_in_plain_words(server: Server) -> None:
    """Laravel kills a worker whose job takes too long, and ends one that has grown too large, between two jobs."""
    project = laravel_project(server)
    # an idle Laravel counts its sleep as a job, too: the timeout must be longer
    bounds = 'preset = "laravel-queue"\noptions.max_time = 120\noptions.sleep = 1\n'
    project.declare(
        f'[workers.slow]\n{bounds}options.timeout = 2\noptions.queue = "slow"\n'
        f'[workers.large]\n{bounds}options.memory = 16\noptions.queue = "large"\n'
    )
    server.ok("apply")
    project.as_user("php", "artisan", "app:mail", "long", "--seconds=8", "--count=4", "--on=slow")
    project.as_user("php", "artisan", "app:mail", "big", "--burn=8", "--count=4", "--on=large")

    killed = (
        "SIGKILL, which shiftboss did not send: its own job timeout, the kernel (out of memory), or somebody"
    )
    grown = "exit 12: memory limit reached, recycled"
    for worker, reason in (("slow", killed), ("large", grown)):
        name = f"{project.name}/{worker}"
        words = f"ended: {reason}"
        wait_until(lambda n=name, w=words: w in server.ok("history", n).stdout, 60, what=words, interval=0.5)
        # the next runs end before their start_seconds are over, and wait for the one after
        words = f"{name}: {reason}"
        wait_until(lambda w=words: w in server.run("status").stdout, 60, what=words, interval=0.2)
    assert outbox(project, "long-1.started")
    assert not outbox(project, "long-*.eml"), "the job was ended by its timeout"
    assert outbox(project, "big-1.eml")


def running_again(server: Server, project: TestProject, old: int) -> bool:
    process = status(server, project)[0]
    return process["state"] == "RUNNING" and process["pid"] != old


@contextmanager
def web_server(project: TestProject) -> Iterator[int]:
    """Serve the application on a free port, as the project's user."""
    port = free_port()
    argv = ["setpriv", f"--reuid={project.user}", f"--regid={project.user}", "--init-groups", "--"]
    argv += ["php", "-S", f"127.0.0.1:{port}", "server.php"]
    process = subprocess.Popen(
        argv, cwd=project.current, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers(port), 20, what="the web server")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
            return True
    except OSError:
        return False
