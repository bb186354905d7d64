"""The demo's server: everything below one directory, with a project in it that has two releases."""

import contextlib
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shiftboss.core.errors import HostError
from shiftboss.demo.ending import undisturbed

PROJECT = Path(__file__).resolve().parent / "newsletter"
RELEASES = ("1", "2")

CONFIG = """\
[layout]
projects = "projects"
logs = "logs"
user = "{user}"

[paths]
projects_d = "projects.d"
state = "state"
run = "run"

[backend]
workers = "native"
schedules = "native"
"""

PROJECT_FILE = """\
[project]
environment = {{ PORT = "{port}" }}

[workers.web]            # the page
command = "python3 web.py"

[workers.queue]          # what does the slow work
preset = "huey"
processes = 2

[workers.queue.options]
app = "tasks.huey"
workers = 4              # threads in each process
max_delay = 0.3
no_periodic = true

[schedules.report]       # how far the work is, told in its log
every = "15s"
overlap = "queue"        # one that is asked for while another runs waits for it
command = "python3 report.py"
"""

# root who types a command of somebody else's demo
STEP_DOWN = """\
[ "$(id -u)" != 0 ] || exec setpriv --reuid={uid} --regid={gid} --clear-groups -- "$0" "$@"
"""

# the same program, for this server only, whatever PATH and SHIFTBOSS_CONFIG are where it is typed
PROGRAM = """\
#!/bin/sh
{step_down}SHIFTBOSS_CONFIG={config} exec {python} -P -m shiftboss "$@"
"""


@dataclass(frozen=True)
class Stage:
    """Where the things of one demo are."""

    top: Path
    port: int
    user: str

    @property
    def config(self) -> Path:
        """The config.toml that names everything else."""
        return self.top / "config.toml"

    @property
    def program(self) -> Path:
        """`shiftboss` for this server."""
        return self.top / "shiftboss"

    @property
    def project_file(self) -> Path:
        """What the project runs."""
        return self.top / "projects.d/newsletter.toml"

    @property
    def root(self) -> Path:
        """The directory of the project."""
        return self.top / "projects/newsletter"

    @property
    def outbox(self) -> Path:
        """Where the e-mails arrive."""
        return self.root / "shared/outbox"

    @property
    def page(self) -> str:
        """The address of the project's page."""
        return f"http://127.0.0.1:{self.port}"


def require_huey() -> None:
    """Raise HostError if this Python cannot run the project of the demo."""
    if not (Path(sys.prefix) / "bin/huey_consumer").exists():
        raise HostError(
            f"cannot run the demo: its project needs huey, which {sys.prefix} does not have",
            hint="Run make demo in the checkout of shiftboss, which installs it, "
            "or install shiftboss with its extra: pip install 'shiftboss[demo]'",
        )


@contextlib.contextmanager
def made_stage(*, keep: bool) -> Iterator[Stage]:
    """Make the directory with everything in it but processes; remove it at the end, unless it is kept."""
    # a path of a Unix socket has at most 107 bytes, and TMPDIR may be long
    top = Path(tempfile.mkdtemp(prefix="shiftboss-demo-", dir="/tmp"))
    try:
        top.chmod(0o755)
        stage = Stage(top, _free_port(), _project_user())
        _write_files(stage)
        _deploy(stage)
        yield stage
    finally:
        with undisturbed():
            if not keep:
                shutil.rmtree(top)


def _write_files(stage: Stage) -> None:
    for name in ("logs", "projects", "projects.d", "run", "state"):
        (stage.top / name).mkdir(mode=0o755)
    stage.config.write_text(CONFIG.format(user=stage.user))
    stage.project_file.write_text(PROJECT_FILE.format(port=stage.port))
    python, config = shlex.quote(sys.executable), shlex.quote(str(stage.config))
    step_down = STEP_DOWN.format(uid=os.geteuid(), gid=os.getegid()) if os.geteuid() else ""
    stage.program.write_text(PROGRAM.format(python=python, config=config, step_down=step_down))
    stage.program.chmod(0o755)


def _deploy(stage: Stage) -> None:
    """Put two releases into place, the first one live; a page tells which one it is."""
    for number in RELEASES:
        release = stage.root / "releases" / number
        shutil.copytree(PROJECT, release, ignore=shutil.ignore_patterns("__pycache__"))
        # the project's own packages; a real one would have a virtualenv of its own
        (release / ".venv").symlink_to(sys.prefix)
    (stage.root / "current").symlink_to(f"releases/{RELEASES[0]}")
    (stage.root / "shared").mkdir()
    if os.geteuid() == 0:
        account = pwd.getpwnam(stage.user)
        os.chown(stage.root / "shared", account.pw_uid, account.pw_gid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _project_user() -> str:
    """Return who the project runs as: we, or if we are root nobody, where that one can run this Python."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_name if _can_run_here(nobody) else "root"


def step_down() -> None:
    """Become nobody, if we are root and this code is somebody else's: root must not run what others can change."""
    nobody = pwd.getpwnam("nobody")
    if os.geteuid() == 0 and Path(__file__).stat().st_uid != 0 and _can_run_here(nobody):
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


def _can_run_here(account: pwd.struct_passwd) -> bool:
    """Tell whether a user may enter the directories of this Python: it may lie below a closed one."""
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", "import huey"],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError:
        return False
    return ended.returncode == 0
