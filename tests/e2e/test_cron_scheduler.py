"""The Laravel scheduler and any other schedule on a real cron daemon."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crond import ONE_RUN_SECONDS, TemporaryCron
from tests.e2e.laravel import laravel_project
from tests.e2e.server import CLASSIC, SHIFTBOSS, Server, TestProject
from tests.e2e.test_laravel_scheduler import with_tasks, with_the_lines_of_the_guide
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
    table = project.project_file().read_text()
    _, mark, section = table.partition("[schedules.show]")
    assert mark
    project.project_file().write_text(f"{table}\n[schedules.plain]\nplain = true{section}")
    server.ok("apply", project.name)

    for name in ("show", "plain"):
        wait_until(lambda name=name: said_by(project, name), ONE_RUN_SECONDS, what=f"the output of {name}")
        assert json.loads(said_by(project, name)[0]) == [str(release.resolve()), *words]


def said_by(project: TestProject, schedule: str) -> list[str]:
    """Return what the runs of a schedule wrote, without the lines that frame them."""
    return [line for line in project.log(schedule).splitlines() if not line.startswith("--- run ")]


def test_what_cron_starts_is_accounted_for(server: Server, cron: TemporaryCron) -> None:
    """The launcher: history, reasons, time limits, Laravel's tasks, and a history that no project user can forge."""
    project = laravel_project(server)
    with_tasks(project)
    with_the_lines_of_the_guide(project)
    every_minute = ("* * * * *", "--")
    server.ok("cron", project.name)
    server.ok("cron", project.name, "bad", *every_minute, "/bin/sh", "-c", "echo no disk; exit 4")
    server.ok("cron", project.name, "long", "--timeout", "2s", *every_minute, "/bin/sleep", "1000")
    rows = project.ends(3, ONE_RUN_SECONDS + 30)
    assert (rows["bad"]["outcome"], rows["bad"]["exit_status"]) == ("failed", 4)
    assert (rows["bad"]["reason"], rows["bad"]["output"]) == ("exit 4; log: no disk", "no disk")
    assert (rows["long"]["outcome"], rows["long"]["reason"]) == ("timed_out", "it ran longer than 2 s")
    assert rows["scheduler"]["outcome"] == "failed", "Laravel itself exits with 0"
    for task in ("app:heartbeat broken", "exit 7", "closure-boom"):
        assert task in rows["scheduler"]["reason"]

    schedules = json.loads(server.run("status", project.name, "--json").stdout)["projects"][0]["schedules"]
    told = {each["name"]: each for each in schedules}
    assert (told["bad"]["last"]["outcome"], told["bad"]["last"]["exit_status"]) == ("failed", 4)
    assert (told["bad"]["state"], told["bad"]["reason"]) == ("WAITING", "exit 4; log: no disk")
    why = server.ok("why", f"{project.name}/bad").stdout
    assert "it failed (exit 4; log: no disk)" in why
    assert "Next: " in why
    output = server.ok("logs", f"{project.name}/bad", "--run", str(rows["bad"]["run"])).stdout.splitlines()
    assert output[1:-1] == ["no disk"]

    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    wait_until(lambda: "later" in heartbeat.read_text(), 20, what="the task in the background")
    spool = server.directory / "etc/state/spool" / project.name / "bad"
    with pytest.raises(subprocess.CalledProcessError):
        project.as_user("sh", "-c", f"echo '{{}}' >> {spool}")
    server.ok("remove", project.name, "--yes")
    assert list(server.cron_dir.iterdir()) == []
    assert not (server.directory / "etc/state/launch/cron" / f"{project.name}.json").exists()


# what a program can see of the environment that it was started in
SURROUNDINGS = (
    "env | grep -v '^_=' | sort; id; pwd; umask; ulimit -a; ulimit -aH; nice; readlink /proc/self/fd/0; grep Sig[BI]"
    " /proc/self/status; ps -o tty= -p $$"
)


def runs_of(project: TestProject, schedule: str) -> list[dict[str, Any]]:
    """Return the rows of the history of a schedule that have an outcome, oldest first."""
    rows = json.loads(project.server.ok("history", f"{project.name}/{schedule}", "--json").stdout)
    return [row for row in rows if row["outcome"]]


def output_of(project: TestProject, schedule: str, run: int) -> list[str]:
    """Return what a run has printed."""
    shown = project.server.ok("logs", f"{project.name}/{schedule}", "--run", str(run)).stdout
    return shown.splitlines()[1:-1]


def test_a_run_by_hand_is_as_one_of_cron_and_a_paused_schedule_is_skipped(
    server: Server, cron: TemporaryCron, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What root's terminal has set does not reach the program: variables, priority, limits, umask."""
    project = server.add_project()
    project.release()
    address = f"{project.name}/show"
    server.ok("cron", project.name, "show", "* * * * *", "--shell", "--", SURROUNDINGS)
    wait_until(lambda: runs_of(project, "show"), ONE_RUN_SECONDS, what="a run of cron")

    for name, value in (
        ("ONLY_OF_ROOT", "1"),
        ("LANG", "C"),
        ("TZ", "Asia/Tokyo"),
        ("PATH", "/odd:/usr/bin:/bin"),
    ):
        monkeypatch.setenv(name, value)
    odd = ("sh", "-c", 'ulimit -S -n 512; umask 077; exec nice -n 5 "$@"', "sh", *SHIFTBOSS)
    answer = server.ok("run", address, program=odd)
    assert answer.stdout.splitlines()[-1] == f"{address}: ran"
    by_cron, by_hand = runs_of(project, "show")[0], runs_of(project, "show")[-1]
    assert (by_cron["cause"], by_hand["cause"]) == (None, "by root")
    shown = output_of(project, "show", by_hand["run"])
    assert shown == output_of(project, "show", by_cron["run"])
    assert answer.stdout.splitlines()[1:-2] == shown
    assert f"uid={project.as_user('id', '-u').stdout.strip()}({project.user})" in answer.stdout

    server.ok("pause", address)
    assert f"{address} does not run: paused by root" in server.ok("status").stdout
    server.ok("apply", project.name)
    skipped = wait_until(
        lambda: runs_of(project, "show")[-1]["outcome"] == "skipped", ONE_RUN_SECONDS, what="a skipped time"
    )
    assert skipped
    assert runs_of(project, "show")[-1]["reason"] == "paused by root"
    assert server.ok("run", address).stdout.endswith(f"{address}: ran\n"), "a person may still run it"
    server.ok("resume", address)
    wait_until(
        lambda: (
            runs_of(project, "show")[-1]["outcome"] == "ran" and not runs_of(project, "show")[-1]["cause"]
        ),
        ONE_RUN_SECONDS,
        what="a run of cron again",
    )


def test_a_run_by_hand_shows_the_output_live_and_ends_with_the_status_of_the_command(server: Server) -> None:
    """It respects the lock, and goes on when who asked for it goes away. Needs no cron daemon."""
    project = server.add_project()
    release = project.release()
    address = f"{project.name}/slow"
    program = "echo first; while [ ! -e go ]; do sleep 0.1; done; echo last; exit 7"
    server.run("cron", project.name, "slow", "0 4 1 1 *", "--shell", "--", program)
    environment = {**os.environ, "SHIFTBOSS_CONFIG": str(server.config)}
    asked = ([*SHIFTBOSS, "run", address], subprocess.PIPE, environment)
    with subprocess.Popen(asked[0], stdout=asked[1], text=True, env=asked[2]) as run:
        assert run.stdout
        assert [run.stdout.readline() for _ in range(2)][1] == "first\n"
        second = server.run("run", address)
        words = f"{address}: skipped: overlap: run 1 of an earlier occurrence has not ended\n"
        assert (second.status, second.stdout) == (1, words)
        assert "by root: it was skipped (overlap" in server.ok("why", address).stdout
        go = project.write(release, "go", "")
        rest, _ = run.communicate(timeout=30)
    assert run.returncode == 7
    shown = [line for line in rest.splitlines() if not line.startswith("--- ")]
    assert shown == ["last", f"{address}: failed: exit 7; log: last"]

    go.unlink()
    with subprocess.Popen(asked[0], stdout=asked[1], text=True, env=asked[2]) as run:
        assert run.stdout
        run.stdout.readline()
        run.kill()
    project.write(release, "go", "")
    wait_until(lambda: "run 3 ended" in _ended(project), 30, what="the end of the run that nobody waits for")

    answer = server.run("run", address, "--detach")
    assert "is started" in answer.stdout
    wait_until(lambda: "run 4 ended" in _ended(project), 30, what="the end of the run in the background")
    last = runs_of(project, "slow")[-1]
    assert (last["run"], last["outcome"], last["exit_status"], last["cause"]) == (4, "failed", 7, "by root")


def _ended(project: TestProject) -> str:
    return " ".join(f"run {row['run']} ended" for row in runs_of(project, "slow"))


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
