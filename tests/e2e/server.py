"""A whole server for end-to-end tests: users, projects, a real backend, and shiftboss as its root would call it."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.native import TemporaryKeeper
from tests.supervisord import TemporarySupervisord
from tests.waiting import wait_until

APPS = Path(__file__).parent / "apps"
SHIFTBOSS = (sys.executable, "-m", "shiftboss")
CLASSIC = (sys.executable, "-m", "shiftboss.cli.classic")
# for a command that gets a signal: a test run in the background, or under nohup, has these ignored
INTERRUPTIBLE = ("env", "--default-signal=INT", "--default-signal=HUP", *SHIFTBOSS)
_COMMAND_SECONDS = 100
# for tests of the fixture `server`, or of what is made from it; without one of them it has a Supervisor
on_both = pytest.mark.parametrize("server", ["supervisor", "native"], indirect=True)
on_supervisor = pytest.mark.parametrize("server", ["supervisor"], indirect=True)
on_native = pytest.mark.parametrize("server", ["native"], indirect=True)
# what changes while nobody changes anything
_LIVE = ("etc/run/", "etc/state/engine/", "etc/state/instance")


@dataclass
class Answer:
    """What a command said and how it ended."""

    status: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.stdout}\n{self.stderr}"


@dataclass
class Server:
    """Everything below one directory; users are made with useradd and removed at the end.

    Workers run on `backend`, unless a project file says otherwise; `daemon` is what runs them.
    """

    directory: Path
    supervisord: TemporarySupervisord
    keeper: TemporaryKeeper
    cron_dir: Path
    backend: str = "supervisor"
    schedules: str = "cron"
    users: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, directory: Path, backend: str = "supervisor", **options: object) -> "Server":
        """Make the directories and the configuration; start `daemon` yourself in a `with` block.

        `options` are for Supervisor.
        """
        supervisord = TemporarySupervisord(directory / "sv", system=True, **options)  # type: ignore[arg-type]
        etc = directory / "etc"
        keeper = TemporaryKeeper(directory / "kp", state=etc / "state", run=etc / "run")
        server = cls(directory, supervisord, keeper, directory / "cron.d", backend)
        for name in ("sv", "kp", "projects", "logs", "etc", "cron.d", "logrotate.d"):
            (directory / name).mkdir(exist_ok=True)
        server.write_config()
        return server

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "config.toml"

    @property
    def daemon(self) -> TemporarySupervisord | TemporaryKeeper:
        return self.keeper if self.is_native else self.supervisord

    @property
    def is_native(self) -> bool:
        return self.backend == "native"

    def write_config(self, extra: str = "", *, supervisor: str = "") -> None:
        """Write config.toml; `supervisor` are more lines of its [supervisor], `extra` stands at its end."""
        self.config.write_text(
            f'[layout]\nprojects = "{self.directory}/projects"\nlogs = "{self.directory}/logs"\n\n'
            f'[backend]\nworkers = "{self.backend}"\nschedules = "{self.schedules}"\n\n'
            f'[supervisor]\nconf_file = "{self.supervisord.conf_file}"\n{supervisor}\n'
            f'[cron]\ndir = "{self.cron_dir}"\n\n[logrotate]\ndir = "{self.directory}/logrotate.d"\n{extra}'
        )

    def add_project(self, *, user: bool = True) -> "TestProject":
        """Make an empty project with a user of its own and one release."""
        name = f"t{secrets.token_hex(3)}"
        project = TestProject(self, name)
        project.root.mkdir()
        project.root.chmod(0o755)
        if user:
            argv = ["useradd", "--user-group", "--no-create-home", "--home-dir", str(project.root)]
            subprocess.run(
                [*argv, "--shell", "/usr/sbin/nologin", project.user], check=True, capture_output=True
            )
            self.users.append(project.user)
        return project

    def add_project_with_schedules(self) -> "TestProject":
        """Make a project with a release whose schedules run on our own engine."""
        self.schedules = "native"
        self.write_config()
        made = self.add_project()
        made.release()
        self.ok("project", "add", made.name, "--user", made.user)
        return made

    def close(self) -> None:
        """Remove the users; the directory is removed by whoever made it."""
        for user in self.users:
            wait_until(lambda user=user: _removed(user), 30, what=f"the last process of {user}", interval=0.2)

    def run(self, *arguments: str, program: tuple[str, ...] = SHIFTBOSS, stdin: str | None = None) -> Answer:
        """Run shiftboss as root with this server's configuration."""
        environment = {**os.environ, "SHIFTBOSS_CONFIG": str(self.config), "NO_COLOR": "1"}
        ended = subprocess.run(
            [*program, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=_COMMAND_SECONDS,
            input=stdin or "",
            check=False,
        )
        return Answer(ended.returncode, ended.stdout, ended.stderr)

    def ok(self, *arguments: str, program: tuple[str, ...] = SHIFTBOSS) -> Answer:
        """Run shiftboss and expect success."""
        answer = self.run(*arguments, program=program)
        assert answer.status == 0, answer
        return answer

    def snapshot(self) -> dict[str, tuple[int, int, str]]:
        """Return owner, mode and content of every configuration file: equal snapshots mean nothing was changed."""
        found = {}
        for place in ("etc", "sv/conf.d", "cron.d", "logrotate.d"):
            for path in sorted((self.directory / place).rglob("*")):
                if path.is_dir() or str(path.relative_to(self.directory)).startswith(_LIVE):
                    continue
                facts = path.lstat()
                content = path.read_text() if path.is_file() and not path.is_symlink() else ""
                found[str(path)] = (facts.st_uid, facts.st_mode, content)
        return found


@contextmanager
def made_server(backend: str) -> Iterator[Server]:
    """Make a server of its own, whose `daemon` is not started; remove it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp"))
    directory.chmod(0o755)
    server = Server.make(directory, backend)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(directory)


def _removed(user: str) -> bool:
    """Remove a user; it is refused while a job that a scheduler left in the background still runs."""
    return subprocess.run(["userdel", user], check=False, capture_output=True).returncode == 0


@dataclass
class TestProject:
    """A project of a test server."""

    __test__ = False
    server: Server
    name: str
    user: str = ""

    def __post_init__(self) -> None:
        self.user = self.user or f"{self.name}_user"

    @property
    def root(self) -> Path:
        return self.server.directory / "projects" / self.name

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def logs(self) -> Path:
        return self.server.directory / "logs" / self.name

    def release(self, number: int = 1, *, app: str | None = None) -> Path:
        """Make a release (a copy of `apps/<app>` if given), owned by the project's user, and make it current."""
        release = self.root / "releases" / str(number)
        release.parent.mkdir(exist_ok=True)
        if app:
            shutil.copytree(APPS / app, release, symlinks=True)
        else:
            release.mkdir()
        self.own(release)
        self.switch(number)
        return release

    def switch(self, number: int) -> None:
        """Let `current` lead to a release, atomically as deploy tools do it."""
        link = self.root / "current.new"
        link.symlink_to(f"releases/{number}")
        link.rename(self.current)

    def own(self, path: Path) -> None:
        """Give a tree to the project's user."""
        subprocess.run(["chown", "-R", f"{self.user}:", str(path)], check=True)

    def write(self, release: Path, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of a release."""
        path = release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        self.own(path)
        return path

    def as_user(self, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as the project's user, in the current release."""
        command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--", *argv]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=cwd or self.current, timeout=60, check=True
        )

    def project_file(self) -> Path:
        return self.server.directory / "etc" / "projects" / f"{self.name}.toml"

    def declare(self, text: str) -> None:
        """Write the project file: the user, and this text."""
        self.project_file().parent.mkdir(exist_ok=True)
        self.project_file().write_text(f'[project]\nuser = "{self.user}"\n\n{text}\n')

    def states(self) -> dict[str, str]:
        """Return the states of this project's processes, by the names that the backend has for them."""
        prefixes = (f"{self.name}_", f"{self.name}/")
        return {name: s for name, s in self.server.daemon.states().items() if name.startswith(prefixes)}

    def process(self, worker: str) -> str:
        """Return the name that the backend has for the only process of a worker."""
        group = f"{self.name}_{worker}"
        return f"{self.name}/{worker}:1" if self.server.is_native else f"{group}:{group}"

    def written(self) -> list[str]:
        """Return the command lines that were written for the backend, each as one text."""
        if self.server.is_native:
            entries = json.loads((self.server.keeper.manifests / f"{self.name}.json").read_text())["entries"]
            return [" ".join(entry["argv"]) for entry in entries]
        files = sorted(self.server.supervisord.conf_dir.glob(f"{self.name}_*.conf"))
        return re.findall(r"(?m)^command=(.*)$", "".join(path.read_text() for path in files))

    def ends(self, count: int, seconds: float) -> dict[str, dict[str, Any]]:
        """Wait until so many schedules have a run that ended; return its row of the history by the schedule's name."""

        def ended() -> dict[str, dict[str, Any]] | None:
            rows = json.loads(self.server.ok("history", self.name, "--json").stdout)
            found = {row["target"].partition("/")[2]: row for row in rows if row["outcome"]}
            return found if len(found) == count else None

        rows = wait_until(ended, seconds, what=f"the end of all {count}")
        assert rows
        return rows

    def log(self, unit: str) -> str:
        """Return the log of a unit."""
        path = self.logs / f"{unit}.log"
        return path.read_text(errors="replace") if path.exists() else ""
