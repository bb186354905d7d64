"""Two projects of two users under one roof, and the launcher that starts what one of them wants to run.

Everything is open to everybody (0755, 0644): what keeps the projects apart in these tests is the isolation alone.
"""

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftboss.confine import cgroup, limits
from shiftboss.confine.limits import LAUNCHER_TREE as TREE
from shiftboss.core.isolation import confined
from shiftboss.core.spec import Account, Isolation, Limits, Project, Site, Worker
from shiftboss.core.wire.entry import Entry, with_revision
from shiftboss.core.wire.manifest import manifest_text

MAIN = Path(__file__).resolve().parents[3] / "src/shiftboss/launcher/main.py"
PYTHON = "/usr/bin/python3"  # another user may not get into the tests' own
# a virtual machine without hardware to help takes longer for everything
DEADLINE = int(os.environ.get("SHIFTBOSS_TESTS_DEADLINE", "20"))


@dataclass
class World:
    """The directories, and what the victim has."""

    top: Path
    mine: Project
    victim: Project
    site: Site

    def entry(self, *argv: str, unit: str = "queue", **fields: Any) -> Entry:
        """Return an entry of my project without limits and isolation."""
        account = self.mine.account
        plain = Entry(
            address=f"{self.mine.name}/{unit}",
            argv=argv,
            user=account.name,
            uid=account.uid,
            gid=account.gid,
            home=account.home,
            directory=self.mine.current,
            current=self.mine.current,
            revision="",
        )
        return plain._replace(**fields)

    def confined(self, *argv: str, unit: str = "queue", bounds: Limits | None = None, **asked: Any) -> Entry:
        """Return an entry with limits and isolation (`level`, `no_new_privs`, `private_network`)."""
        wished = Worker(
            self.mine,
            unit,
            "custom",
            "supervisor",
            argv,
            limits=bounds or Limits(),
            isolation=Isolation(**asked),
        )
        return confined(self.entry(*argv, unit=unit), wished, self.site, "none", watched=False)

    def order(self, *entries: Entry) -> Path:
        """Write what may be launched; return the directory."""
        directory = self.top / "orders"
        directory.mkdir(exist_ok=True)
        rows = tuple(map(with_revision, entries))
        (directory / f"{self.mine.name}.json").write_text(manifest_text(self.mine.name, rows))
        return directory

    def command(self, address: str = "", *, before: tuple[str, ...] = ()) -> list[str]:
        """Return the command line of the launcher."""
        orders = str(self.top / "orders")
        shown = address or f"{self.mine.name}/queue:1"
        return [*before, PYTHON, "-I", "-S", str(MAIN), "--orders", orders, shown]

    def start(self, *entries: Entry, process: int = 1, unit: str = "queue") -> "subprocess.Popen[bytes]":
        """Launch a process of a unit in the background; `process` 0 is a run without a number."""
        self.order(*entries)
        number = f":{process}" if process else ""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(f"{self.mine.name}/{unit}{number}"), **pipes)

    def run(self, entry: Entry, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """Launch process 1 and wait for its end."""
        self.order(entry)
        command = self.command(**options)
        return subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)

    def python(self, program: str, **confinement: Any) -> "subprocess.CompletedProcess[bytes]":
        """Run a Python program in my project and wait for its end."""
        return self.run(self.confined(PYTHON, "-I", "-c", program, **confinement))

    def answer(self, program: str, **confinement: Any) -> Any:
        """Run a Python program that prints JSON; return that."""
        finished = self.python(program, **confinement)
        assert finished.returncode == 0, finished.stderr.decode()
        return json.loads(finished.stdout)

    def group(self, slot: str = "queue.1") -> list[str]:
        """Return the directories of a slot's cgroup."""
        tree = limits.open_tree(TREE)
        assert tree, "no cgroup can be made here"
        return tree.directories(f"{self.mine.name}/{slot}")

    def clear(self) -> None:
        """End everything that was launched and remove its cgroups."""
        tree = limits.open_tree(TREE)
        for directory in tree.directories(self.mine.name) if tree else []:
            end = time.monotonic() + DEADLINE
            while os.path.exists(directory) and not cgroup.remove(directory) and time.monotonic() < end:
                cgroup.kill(directory)
                for pid in cgroup.members(directory):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
            assert not os.path.exists(directory), f"something is left in {directory}"


@contextlib.contextmanager
def world(**budget: Any) -> Iterator[World]:
    """Give two projects; what was launched is ended and everything removed afterwards."""
    top = Path(tempfile.mkdtemp(prefix="shiftboss-confine-", dir="/tmp"))
    top.chmod(0o755)
    first = random.randrange(200_000, 900_000, 2)
    names = [f"{who}{secrets.token_hex(3)}" for who in ("mine", "victim")]
    projects = [_project(top, name, first + n) for n, name in enumerate(names)]
    state = top / "state"
    state.mkdir(mode=0o755)
    site = Site("", "", str(state), "", str(top / "projects"), str(top / "logs"), "{project}", True)
    mine = _with_budget(projects[0], Limits(**budget))
    made = World(top, mine, projects[1], site)
    try:
        yield made
    finally:
        made.clear()
        shutil.rmtree(top)


def _with_budget(project: Project, budget: Limits) -> Project:
    return Project(project.name, project.root, project.logs, project.account, budget=budget)


def _project(top: Path, name: str, uid: int) -> Project:
    """Lay out a project with a release, a shared directory, an env file and a log, all of them readable for everybody."""
    root, logs = top / "projects" / name, top / "logs" / name
    for directory in (root / "releases/1", root / "shared", logs):
        directory.mkdir(parents=True)
    (root / "releases/1/version").write_text("1")
    (root / ".env").write_text(f"SECRET={name}")
    (logs / "queue.log").write_text(f"log of {name}")
    (root / "current").symlink_to("releases/1")
    for place in (root, logs):
        for path in (place, *place.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
    return Project(name, str(root), str(logs), Account(name, uid, uid, name, str(root)))
