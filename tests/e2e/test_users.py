"""An ordinary user with a Supervisor of one's own, or with nothing at all: the same program, no root."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.public_copy import PYTHON, program_as
from tests.e2e.refusals import WRONG_USE, assert_refused
from tests.e2e.server import Answer, Server
from tests.native import TemporaryKeeper
from tests.supervisord import DEBIAN_PYTHON, TemporarySupervisord

pytestmark = pytest.mark.needs_root


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
