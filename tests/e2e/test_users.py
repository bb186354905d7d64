"""An ordinary user with a Supervisor of one's own: the same program, no root."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.public_copy import program_as
from tests.e2e.refusals import WRONG_USE, assert_refused
from tests.e2e.server import Answer, Server
from tests.supervisord import DEBIAN_PYTHON, TemporarySupervisord

pytestmark = pytest.mark.needs_root


@dataclass
class Home:
    """A user, a home directory with a project `app` in it, and the copy of shiftboss that the user runs."""

    user: str
    directory: Path
    copy: Path
    supervisord: TemporarySupervisord

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
        """Return what is in the home directory and in the directory of the user's Supervisor."""
        places = self.directory, self.supervisord.conf_dir
        return {str(path) for place in places for path in place.rglob("*") if not path.is_dir()}


@pytest.fixture
def home(public_tmp: Path, public_copy: Path) -> Iterator[Home]:
    """Give a user with a running Supervisor."""
    server = Server.make(public_tmp)
    try:
        user = server.add_project().user
        daemon = TemporarySupervisord(public_tmp / "own", python=DEBIAN_PYTHON, user=user)
        daemon.directory.mkdir()
        made = Home(user, public_tmp / "home", public_copy, daemon)
        furnish(made)
        with daemon:
            yield made
    finally:
        server.close()


def furnish(home: Home) -> None:
    release = home.directory / "projects" / "app" / "releases" / "1"
    config = home.directory / ".config" / "shiftboss" / "config.toml"
    for directory in (release, config.parent, home.directory / "logrotate.d"):
        directory.mkdir(parents=True)
    (release.parents[1] / "current").symlink_to("releases/1")
    config.write_text(
        f'[layout]\nprojects = "{home.directory}/projects"\nlogs = "{home.directory}/logs"\n'
        f'[supervisor]\nconf_file = "{home.supervisord.conf_file}"\n'
        f'[logrotate]\ndir = "{home.directory}/logrotate.d"\n'
    )
    subprocess.run(["chown", "--recursive", f"{home.user}:", str(home.directory)], check=True)


def test_a_user_sets_up_changes_and_removes_a_worker_without_root(home: Home) -> None:
    untouched = home.files()
    line = ("setup", "app", "custom", "--", "sleep", "1000")

    home.ok(*line)

    assert_runs(home, 1)
    conf = home.supervisord.conf_dir / "app_custom.conf"
    assert "\nuser=" not in conf.read_text(), "only root may switch"
    assert 'workers = "supervisor"' in (home.directory / ".config/shiftboss/config.toml").read_text()
    again = home.ok(*line)
    assert "nothing to change" in again.stdout

    home.ok("scale", "app/custom", "2")
    assert_runs(home, 2)
    assert (home.directory / "logrotate.d" / "shiftboss-app").exists()
    home.ok("restart", "app")
    home.ok("stop", "app/custom:2")
    assert home.run("status").status == 3

    home.ok("remove", "app", "--yes")
    left = home.files() - untouched
    assert left == {
        f"{home.directory}/logs/app/custom.log",
        f"{home.directory}/.local/state/shiftboss/run/lock",
    }
    assert home.supervisord.states() == {}


def test_a_user_is_told_that_crontabs_of_the_server_are_roots(home: Home) -> None:
    before = home.files()

    answer = home.run("cron", "app", "backup", "@daily", "--", "true")

    assert_refused(answer, WRONG_USE, "cannot schedule app/backup on cron", "as root (sudo)")
    assert home.files() - before <= {f"{home.directory}/.local/state/shiftboss/run/lock"}


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
