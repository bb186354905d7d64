"""`shiftboss up`: in a terminal, as process 1 of a container, and by an ordinary user. About 20 s."""

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.public_copy import make_public_copy
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

CONTAINER = ("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
# says what it does, leaves an orphan now and then, and ends well when asked to
WORKER = 'trap "echo bye; exit 0" TERM; while :; do echo tick; (sleep 0.1 &); sleep 0.3; done'


@pytest.fixture(scope="session")
def program() -> Iterator[str]:
    """Give a Python that every user may run and that has shiftboss, as `make install` makes one."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp"))
    directory.chmod(0o755)
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(directory / "venv")], check=True)
    (packages,) = (directory / "venv/lib").glob("python3*/site-packages")
    make_public_copy(packages)
    yield f"{directory}/venv/bin/python"
    shutil.rmtree(directory)


class Up:
    """An installation of its own with one project, and a `shiftboss up` in it."""

    def __init__(self, directory: Path, program: str, user: str) -> None:
        self.directory, self.program, self.user = directory, program, user
        self.account = pwd.getpwnam(user)
        self.said = directory / "said"
        for path in ("etc/projects", "projects/shop/releases/1", "logs"):
            (directory / path).mkdir(parents=True)
        (directory / "projects/shop/current").symlink_to("releases/1")
        (directory / "etc/config.toml").write_text(
            f'[layout]\nprojects = "{directory}/projects"\nlogs = "{directory}/logs"\nuser = "{user}"\n'
            '[backend]\nworkers = "native"\n'
        )
        self.declare(WORKER)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def declare(self, script: str, **keys: int) -> None:
        """Have one worker of two processes that run a shell script."""
        command = json.dumps(["/bin/sh", "-c", script])
        more = "".join(f"{key} = {value}\n" for key, value in keys.items())
        text = f"[workers.tick]\ncommand = {command}\nprocesses = 2\n{more}"
        (self.directory / "etc/projects/shop.toml").write_text(f'[project]\nuser = "{self.user}"\n{text}')

    def argv(self, *words: str) -> list[str]:
        """Return the command line of a shiftboss of this installation, run by its user."""
        become = ["setpriv", f"--reuid={self.user}", f"--regid={self.account.pw_gid}", "--init-groups", "--"]
        clean = [
            "env",
            "-i",
            f"HOME={self.directory}",
            "PATH=/usr/bin:/bin",
            f"SHIFTBOSS_CONFIG={self.directory}/etc/config.toml",
        ]
        return [*become, *clean, self.program, "-I", "-m", "shiftboss", *words]

    def start(self, *options: str, inside: tuple[str, ...] = ()) -> None:
        """Start it, in a container if `inside` says so, and wait until both processes run."""
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(
                [*inside, *self.argv("up", *options)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.until_said("shop/tick:1 started", "shop/tick:2 started")

    def until_said(self, *words: str, deadline: float = 20) -> str:
        """Wait until all of this was printed; return everything that was."""
        wait_until(
            lambda: all(w in self.said.read_text() for w in words), deadline, what=f"{words} in {self.said}"
        )
        return self.said.read_text()

    @property
    def keeper(self) -> int:
        """The keeper's pid as this machine sees it (process 1, seen from inside, is no use here)."""
        is_container = Path(f"/proc/{self.process.pid}/comm").read_text() == "unshare\n"
        return children_of(self.process.pid)[0] if is_container else self.process.pid

    def family(self) -> dict[int, str]:
        """Return pid and command line of everything below the keeper."""
        found, waiting = {}, [self.keeper]
        while waiting:
            children = children_of(waiting.pop())
            found |= {child: command_of(child) for child in children}
            waiting += children
        return found

    def end(self, number: int = signal.SIGTERM, deadline: float = 20) -> int:
        """Send a signal to the keeper; return the exit status."""
        os.kill(self.keeper, number)
        return self.process.wait(deadline)

    def left(self) -> list[str]:
        """Return what still runs of it, by the directory that stands in its environment or command line."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                try:
                    text = (path / "cmdline").read_text() + (path / "cwd").readlink().as_posix()
                except OSError:
                    continue
                if str(self.directory) in text:
                    found.append(text)
        return found

    def close(self) -> None:
        """End what a failed test left: a KILL of process 1 is the end of its container."""
        if not hasattr(self, "process") or self.process.poll() is not None:
            return
        for pid in (*self.family(), self.keeper):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(20)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, zombies too; none if it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_of(pid: int) -> str:
    """Return the command line of a process, "" for a zombie and for one that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


@pytest.fixture
def up(public_tmp: Path, program: str) -> Iterator[Up]:
    """Give an installation of root, whose project runs as root."""
    made = Up(public_tmp, program, "root")
    yield made
    made.close()


@pytest.fixture
def user_up(public_tmp: Path, program: str) -> Iterator[Up]:
    """Give an installation of an ordinary user."""
    user = f"t{secrets.token_hex(4)}"
    subprocess.run(["useradd", "--no-create-home", "--home-dir", str(public_tmp / "home"), user], check=True)
    (public_tmp / "home").mkdir()
    made = Up(public_tmp / "home", program, user)
    yield made
    made.close()
    wait_until(
        lambda: subprocess.run(["userdel", user], capture_output=True, check=False).returncode == 0,
        20,
        what=f"the last process of {user}",
    )


@pytest.mark.parametrize("inside", [(), CONTAINER], ids=["terminal", "process 1"])
def test_it_runs_reaps_tells_and_ends_with_nothing_left(up: Up, inside: tuple[str, ...]) -> None:
    up.start("--logs", inside=inside)
    assert b"shiftboss.keeper.main" in Path(f"/proc/{up.keeper}/cmdline").read_bytes()
    up.until_said("shop/tick:1 | tick", "shop/tick:2 | tick")
    engine = next(pid for pid, line in up.family().items() if "shiftboss.engine" in line)
    os.kill(engine, signal.SIGKILL)
    up.until_said("the engine ended (-9)")
    wait_until(
        lambda: " | tick" in up.said.read_text().rpartition("(-9)")[2], what="output that is told again"
    )

    assert up.end() == 0

    assert up.left() == []
    assert sorted(path.name for path in (up.directory / "etc/run").iterdir() if "lock" not in path.name) == []
    said = up.until_said("shop/tick:1 ended: stopped", "shop/tick:2 ended: stopped", deadline=5)
    assert said.count(" started, pid ") == 2
    assert (up.directory / "logs/shop/tick.log").read_text().count("bye\n") == 2


def test_orphans_of_workers_are_reaped_by_process_1(up: Up) -> None:
    up.start(inside=CONTAINER)

    def adopted() -> list[int]:
        return [pid for pid in children_of(up.keeper) if command_of(pid).startswith("sleep\0")]

    for _ in range(3):
        orphan = wait_until(adopted, 10, what="an orphan of a worker", interval=0.005)[0]
        # a zombie would still be there
        wait_until(lambda pid=orphan: not Path(f"/proc/{pid}").exists(), 10, what="the orphan to be reaped")
    assert up.end() == 0


@pytest.mark.parametrize("inside", [(), CONTAINER], ids=["terminal", "process 1"])
def test_an_ordinary_user_may_do_the_same(user_up: Up, inside: tuple[str, ...]) -> None:
    user_up.start("--logs", inside=inside)
    user_up.until_said("shop/tick:1 | tick")
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in (user_up.keeper, *user_up.family())}
    assert owners == {user_up.account.pw_uid}

    assert user_up.end() == 0

    assert user_up.left() == []


def test_ctrl_c_stops_in_the_workers_way_and_a_second_one_kills(up: Up) -> None:
    up.declare('trap "echo no" TERM; while :; do sleep 0.1; done', stop_wait=300)
    up.start()
    os.killpg(up.process.pid, signal.SIGINT)
    up.until_said("Ctrl-C again kills what is left")
    log = up.directory / "logs/shop/tick.log"
    wait_until(lambda: log.exists() and log.read_text().count("no") == 2, 10, what="the signal")
    assert up.process.poll() is None

    os.killpg(up.process.pid, signal.SIGINT)

    assert up.process.wait(15) == 0
    assert up.left() == []


def test_it_goes_on_when_nobody_reads_what_it_says(up: Up) -> None:
    up.start()
    narrator = next(pid for pid, line in up.family().items() if "narrator" in line)
    os.kill(narrator, signal.SIGKILL)
    wait_until(lambda: narrator not in up.family(), 5, what="the narrator to be reaped")
    assert sum("tick" in line for line in up.family().values()) >= 2
    assert up.end() == 0


def test_a_second_one_is_refused_and_the_first_goes_on(up: Up) -> None:
    up.start()
    ended = subprocess.run(up.argv("up"), capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert f"shiftboss runs already, as process {up.keeper}" in ended.stderr
    assert up.end() == 0


def test_root_refuses_code_that_others_can_write(up: Up, program: str) -> None:
    open_place = Path(program).parent.parent / "lib"
    open_place.chmod(0o777)
    try:
        ended = subprocess.run(up.argv("up"), capture_output=True, text=True, timeout=30, check=False)
    finally:
        open_place.chmod(0o755)
    assert ended.returncode == 1
    assert f"others can write {open_place}" in ended.stderr
    assert "make install" in ended.stderr
