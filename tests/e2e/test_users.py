"""An ordinary user with a Supervisor of one's own, or with nothing at all: the same program, no root."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.public_copy import PYTHON, program_as
from tests.e2e.refusals import WRONG_USE, assert_refused
from tests.e2e.server import Answer, Server
from tests.native import TemporaryKeeper
from tests.supervisord import DEBIAN_PYTHON, TemporarySupervisord
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root
on_native = pytest.mark.parametrize("home", ["native"], indirect=True)
# writes numbered lines, and says at the end how it came
COUNTER = "trap 'echo bye; exit 0' TERM; n=0; while :; do echo line $n of $$; n=$((n+1)); sleep 0.05; done"


@dataclass
class Home:
    """A user, a home directory with a project `app` in it, and the copy of shiftboss that the user runs."""

    user: str
    directory: Path
    copy: Path
    daemon: TemporarySupervisord | TemporaryKeeper

    @property
    def state(self) -> Path:
        return self.directory / ".local" / "state" / "shiftboss"

    @property
    def is_native(self) -> bool:
        return isinstance(self.daemon, TemporaryKeeper)

    def run(self, *words: str) -> Answer:
        """Run shiftboss as the user, with nothing but HOME to tell it where everything is."""
        program = program_as(self.user, self.copy, home=str(self.directory))
        ended = subprocess.run(
            [*program, *words],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return Answer(ended.returncode, ended.stdout, ended.stderr)

    def ok(self, *words: str) -> Answer:
        answer = self.run(*words)
        assert answer.status == 0, answer
        return answer

    @property
    def app(self) -> Path:
        return self.directory / "projects" / "app"

    def processes(self) -> list[dict[str, Any]]:
        """Return the processes of the first worker of `app`, as `status --json` tells them."""
        (project,) = json.loads(self.run("status", "--json").stdout)["projects"]
        found: list[dict[str, Any]] = project["workers"][0]["processes"]
        return found

    def counting(self, processes: int = 2) -> list[int]:
        """Set up a worker that counts; return its pids when it runs."""
        self.ok("setup", "app", "custom", "--workers", str(processes), "--", "/bin/sh", "-c", COUNTER)
        return [each["pid"] for each in self.processes()]

    def until_running(self, count: int, *, without: int = 0) -> list[int]:
        """Wait until so many run and none of them is `without`; return their pids."""

        def pids() -> list[int]:
            found = [each["pid"] for each in self.processes() if each["state"] == "RUNNING"]
            return found if len(found) == count and without not in found else []

        return wait_until(pids, 30, what=f"{count} running processes")

    def log(self) -> str:
        return (self.directory / "logs" / "app" / "custom.log").read_text()

    def files(self) -> set[str]:
        """Return what is in the home directory and in the directory of the user's Supervisor.

        What changes while nobody changes anything is left out.
        """
        places = [self.directory]
        if isinstance(self.daemon, TemporarySupervisord):
            places.append(self.daemon.conf_dir)
        live = tuple(str(self.state / name) for name in ("run/", "engine/", "instance"))
        found = (str(path) for place in places for path in place.rglob("*") if not path.is_dir())
        return {path for path in found if not path.startswith(live)}


@pytest.fixture(params=["supervisor", "native"])
def home(request: pytest.FixtureRequest, public_tmp: Path, public_copy: Path) -> Iterator[Home]:
    """Give a user with a running backend."""
    server = Server.make(public_tmp)
    try:
        user = server.add_project().user
        own = public_tmp / "own"
        own.mkdir()
        home = public_tmp / "home"
        made = Home(user, home, public_copy, TemporarySupervisord(own, python=DEBIAN_PYTHON, user=user))
        if request.param == "native":
            made.daemon = own_keeper(made, public_copy, own)
        furnish(made)
        with made.daemon:
            yield made
    finally:
        server.close()


def own_keeper(home: Home, copy: Path, directory: Path) -> TemporaryKeeper:
    """Return the keeper that `shiftboss up` would start for the user, from a Python that the user may run."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(directory / "venv")], check=True)
    (packages,) = (directory / "venv").glob("lib/python3*/site-packages")
    (packages / "copy.pth").write_text(f"{copy}\n")  # as `python -I` finds it
    become = ("setpriv", f"--reuid={home.user}", f"--regid={home.user}", "--init-groups", "--")
    nothing = ("env", "-i", f"HOME={home.directory}", "PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1")
    return TemporaryKeeper(
        directory,
        state=home.state,
        run=home.state / "run",
        python=str(directory / "venv" / "bin" / "python"),
        become=(*become, *nothing),
    )


def furnish(home: Home) -> None:
    release = home.directory / "projects" / "app" / "releases" / "1"
    config = home.directory / ".config" / "shiftboss" / "config.toml"
    for directory in (release, config.parent, home.directory / "logrotate.d"):
        directory.mkdir(parents=True)
    (release.parents[1] / "current").symlink_to("releases/1")
    own = home.daemon
    supervisor = (
        f'[supervisor]\nconf_file = "{own.conf_file}"\n' if isinstance(own, TemporarySupervisord) else ""
    )
    config.write_text(
        f'[layout]\nprojects = "{home.directory}/projects"\nlogs = "{home.directory}/logs"\n'
        f'{supervisor}[logrotate]\ndir = "{home.directory}/logrotate.d"\n'
    )
    subprocess.run(["chown", "--recursive", f"{home.user}:", str(home.directory)], check=True)


def test_a_user_sets_up_changes_and_removes_a_worker_without_root(home: Home) -> None:
    untouched = home.files()
    line = ("setup", "app", "custom", "--", "sleep", "1000")

    home.ok(*line)

    assert_runs(home, 1)
    backend = "native" if home.is_native else "supervisor"
    assert f'workers = "{backend}"' in (home.directory / ".config/shiftboss/config.toml").read_text()
    if isinstance(home.daemon, TemporarySupervisord):
        conf = (home.daemon.conf_dir / "app_custom.conf").read_text()
        assert "\nuser=" not in conf, "only root may switch"
    again = home.ok(*line)
    assert "nothing to change" in again.stdout

    home.ok("scale", "app/custom", "2")
    assert_runs(home, 2)
    assert (home.directory / "logrotate.d" / "shiftboss-app").exists() == (not home.is_native)
    restarted = home.ok("restart", "app").stdout
    assert restarted.count(" -> ") == 2, restarted
    home.ok("stop", "app/custom:2")
    assert home.run("status").status == 3

    home.ok("remove", "app", "--yes")
    left = home.files() - untouched
    assert left == {f"{home.directory}/logs/app/custom.log"}
    assert home.daemon.states() == {}


def test_a_user_is_told_that_crontabs_of_the_server_are_roots(home: Home) -> None:
    file = home.directory / ".config/shiftboss/projects/app.toml"
    home.ok("project", "add", "app")
    file.write_text(
        file.read_text() + '\n[schedules.backup]\ncron = "@daily"\ncommand = "true"\nbackend = "cron"\n'
    )
    before = home.files()

    answer = home.run("apply", "app")

    assert_refused(answer, WRONG_USE, "cannot schedule app/backup on cron", "as root (sudo)")
    assert home.files() == before


def test_a_crash_of_a_users_worker_is_mended_and_the_other_one_left_alone(home: Home) -> None:
    first, second = home.counting()

    os.kill(first, signal.SIGKILL)

    assert second in home.until_running(2, without=first)
    if home.is_native:
        said = home.ok("history", "app/custom").stdout
        assert "killed by SIGKILL, which shiftboss did not send" in said


def test_a_users_deploy_makes_workers_stale_until_they_are_restarted(home: Home) -> None:
    old = home.counting()
    release = home.app / "releases" / "2"
    as_user = ("setpriv", f"--reuid={home.user}", f"--regid={home.user}", "--init-groups", "--")
    subprocess.run([*as_user, "mkdir", release], check=True)
    subprocess.run([*as_user, "ln", "--symbolic", "releases/2", home.app / "next"], check=True)
    subprocess.run(
        [*as_user, "mv", "--no-target-directory", home.app / "next", home.app / "current"], check=True
    )

    wait_until(lambda: home.run("status").stdout.count("STALE") == 2, 20, what="two stale processes")
    assert [(each["pid"], each["stale"]) for each in home.processes()] == [(pid, True) for pid in old]

    said = home.ok("restart", "app").stdout

    new = [each["pid"] for each in home.processes()]
    assert all(f"pid {was} -> {now}" in said for was, now in zip(old, new, strict=True)), said
    assert [each["stale"] for each in home.processes()] == [False, False]
    assert {os.readlink(f"/proc/{pid}/cwd") for pid in new} == {str(release)}
    wait_until(lambda: home.log().count("bye") == 2, 10, what="an orderly end of both")


def test_a_user_follows_a_log(home: Home, public_tmp: Path) -> None:
    (pid,) = home.counting(1)
    with following(home, public_tmp / "shown") as shown:
        wait_until(lambda: f"of {pid}" in shown.read_text(), 20, what="lines of the worker")
        os.kill(pid, signal.SIGKILL)
        (fresh,) = home.until_running(1, without=pid)
        wait_until(lambda: f"of {fresh}" in shown.read_text(), 20, what="lines of the next one")


@on_native
def test_a_users_workers_outlive_the_engine_and_no_line_is_lost(home: Home) -> None:
    assert isinstance(home.daemon, TemporaryKeeper)
    pids = home.counting()

    home.daemon.kill_engine()

    assert [each["pid"] for each in home.processes()] == pids
    assert Path(f"/proc/{home.daemon.engine_pid}").owner() == home.user
    home.ok("stop", "app")
    check_lines(home, pids)


@on_native
def test_a_users_next_up_ends_what_a_killed_keeper_left_and_runs_everything_once(
    home: Home, public_tmp: Path
) -> None:
    assert isinstance(home.daemon, TemporaryKeeper)
    old = home.counting()
    home.daemon.kill()
    said = public_tmp / "said"
    command = [*home.daemon.become, home.daemon.python, "-I", "-m", "shiftboss", "up"]
    with said.open("wb") as sink:
        process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    try:
        wait_until(lambda: said.read_text().count(" started, pid ") == 2 or process.poll(), 60, what="both")
        assert process.poll() is None, said.read_text()
        new = home.until_running(2)
        assert set(new).isdisjoint(old)
        assert {Path(f"/proc/{pid}").owner() for pid in (process.pid, *new)} == {home.user}
        marks = [mark for mark in home.daemon.processes().values() if mark.startswith("app/custom/")]
        assert len({mark.rpartition("/")[0] for mark in marks}) == 2, marks
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0, said.read_text()
    finally:
        process.terminate()
        process.wait(60)
    assert home.daemon.processes() == {}
    check_lines(home, [*old, *new])


@on_native
def test_a_limit_that_a_user_may_not_raise_is_lower_and_the_status_says_so(home: Home) -> None:
    """Who may not raise a hard limit gets what there is. The user lowers that of the own keeper here."""
    assert isinstance(home.daemon, TemporaryKeeper)
    lower = ("prlimit", f"--pid={home.daemon.pid}", "--nofile=1024:4096")
    subprocess.run([*home.daemon.become, *lower], check=True)
    home.counting(1)
    file = home.directory / ".config/shiftboss/projects/app.toml"
    file.write_text(f"{file.read_text()}nofile = 8000\n")
    said = "the limit NOFILE stays at 4096: the hard limit cannot be raised"

    home.ok("apply", "app")

    (process,) = home.processes()
    assert said in process["notes"]
    assert f"app/custom: {said}" in home.ok("status").stdout
    limits = Path(f"/proc/{process['pid']}/limits").read_text()
    assert "Max open files            4096                 4096" in limits


def check_lines(home: Home, pids: list[int]) -> None:
    """Check that each of these ended as it was asked to, and that its lines are in the log, once and in order."""
    rows = [line.split() for line in home.log().splitlines()]
    assert rows.count(["bye"]) == len(pids)
    for pid in pids:
        numbers = [int(row[1]) for row in rows if row[2:] == ["of", str(pid)]]
        assert numbers == [*range(len(numbers))]
        assert numbers


@contextmanager
def following(home: Home, output: Path) -> Iterator[Path]:
    """Run `logs -f` as the user, and end it by Ctrl-C; what it shows stands in `output`."""
    default = ("env", "--default-signal=INT")
    program = (*default, *program_as(home.user, home.copy, home=str(home.directory)))
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*program, "logs", "-f", "app"], stdout=file, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            yield output
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, b"Traceback" in errors) == (130, False), errors


def assert_runs(home: Home, count: int) -> None:
    document = json.loads(home.ok("status", "--json").stdout)
    (project,) = document["projects"]
    (worker,) = project["workers"]
    assert project["user"] == home.user
    assert [process["state"] for process in worker["processes"]] == ["RUNNING"] * count
    for process in worker["processes"]:
        assert Path(f"/proc/{process['pid']}").owner() == home.user
    for path in home.files():
        assert Path(path).owner() == home.user, path
    log = home.directory / "logs" / "app"
    assert (log.stat().st_mode & 0o777, (log / "custom.log").stat().st_mode & 0o777) == (0o750, 0o640)
