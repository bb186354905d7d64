"""A whole server for end-to-end tests: users, projects, a real Supervisor, and shiftboss as its root would call it."""

import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.supervisord import TemporarySupervisord
from tests.waiting import wait_until

APPS = Path(__file__).parent / "apps"
SHIFTBOSS = (sys.executable, "-m", "shiftboss")
CLASSIC = (sys.executable, "-m", "shiftboss.cli.classic")
# for a command that gets a signal: a test run in the background, or under nohup, has these ignored
INTERRUPTIBLE = ("env", "--default-signal=INT", "--default-signal=HUP", *SHIFTBOSS)
_COMMAND_SECONDS = 100


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
    """Everything below one directory; users are made with useradd and removed at the end."""

    directory: Path
    supervisord: TemporarySupervisord
    cron_dir: Path
    users: list[str] = field(default_factory=list)
    extra_config: str = ""

    @classmethod
    def make(cls, directory: Path, **options: object) -> "Server":
        """Make the directories and the configuration; start `supervisord` yourself in a `with` block."""
        supervisord = TemporarySupervisord(directory / "sv", system=True, **options)  # type: ignore[arg-type]
        server = cls(directory, supervisord, directory / "cron.d")
        for name in ("sv", "projects", "logs", "etc", "cron.d", "logrotate.d"):
            (directory / name).mkdir(exist_ok=True)
        server.write_config()
        return server

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "config.toml"

    def write_config(self, extra: str = "", *, supervisor: str = "") -> None:
        """Write config.toml; `supervisor` are more lines of its [supervisor], `extra` stands at its end."""
        self.config.write_text(
            f'[layout]\nprojects = "{self.directory}/projects"\nlogs = "{self.directory}/logs"\n\n'
            f'[backend]\nworkers = "supervisor"\nschedules = "cron"\n\n'
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
                facts = path.lstat()
                content = path.read_text() if path.is_file() and not path.is_symlink() else ""
                if not path.is_dir() and path.name != "lock":
                    found[str(path)] = (facts.st_uid, facts.st_mode, content)
        return found


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
        """Return the states of this project's processes at Supervisor."""
        states = self.server.supervisord.states()
        return {name: state for name, state in states.items() if name.startswith(f"{self.name}_")}

    def log(self, unit: str) -> str:
        """Return the log of a unit."""
        path = self.logs / f"{unit}.log"
        return path.read_text(errors="replace") if path.exists() else ""
