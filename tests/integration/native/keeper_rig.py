"""A keeper under test: started with its own directories, driven by a test that plays the engine."""

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from shiftboss.confine import cgroup
from shiftboss.confine.program import MARK
from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.entry import MAX_MESSAGE, Entry, StopTerms, with_revision
from shiftboss.core.wire.manifest import manifest_text

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src"
RELAY = HERE / "keeper_relay.py"
PYTHON = "/usr/bin/python3"  # every user may run it
DEADLINE = 15.0
START = """import sys
sys.path.insert(0, {source!r})
import shiftboss.keeper.main as m
{prelude}
sys.exit(m.main(sys.argv[1:]))
"""
R = TypeVar("R")
# a prelude of the keeper: no process can be had while the file `flag` is there
NO_ROOM = """
import errno, os
from shiftboss.confine import kernel
fork = kernel.fork
def fork_if_there_is_room(*arguments):
    if os.path.exists({flag!r}):
        raise OSError(errno.EAGAIN, "no room")
    return fork(*arguments)
kernel.fork = fork_if_there_is_room
"""


def until(condition: Callable[[], R], what: str, deadline: float = DEADLINE) -> R:
    """Return what `condition` returns as soon as it is true; fail after the deadline."""
    end = time.monotonic() + deadline
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {deadline:g} s for {what}"
        time.sleep(0.005)
    return found


def state_of(pid: int) -> str:
    """Return the kernel's letter for the state of a process, "" if it does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def lives(pid: int) -> bool:
    """Tell whether a process lives (a zombie does not)."""
    return state_of(pid) not in ("", "Z", "X")


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment of a process."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(row.split("=", 1) for row in raw.split("\0") if "=" in row)


def marked(instance: str, part: str = "/") -> dict[int, str]:
    """Return pid and mark of every living process of an instance whose mark (it still has it) contains `part`."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                mark = environment_of(int(name)).get(MARK, "")
                if mark.startswith(f"{instance}/") and part in mark and lives(int(name)):
                    found[int(name)] = mark
    return found


class Engine:
    """The engine's end of the socket, in the test."""

    def __init__(self, keeper: socket.socket, pid: int, held: socket.socket) -> None:
        self.socket, self.pid, self._held = keeper, pid, held
        self.seen: list[
            tuple[Any, int]
        ] = []  # reports with descriptors (-1: none) that were not asked for yet
        self.all: list[Any] = []

    def send(self, request: messages.Request | bytes) -> None:
        """Send a request, or raw bytes."""
        raw = request if isinstance(request, bytes) else codec.encode(request)
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.socket.send(raw)
            except BlockingIOError:
                assert time.monotonic() < end, "the keeper does not read"
                self.receive(0.01)
            else:
                return

    def receive(self, seconds: float) -> bool:
        """Take in one report if one comes in time; False at end of file or if none came."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            raw, descriptors, flags, _ = socket.recv_fds(self.socket, MAX_MESSAGE, 4)
        except ConnectionResetError:
            return False
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        if not raw:
            return False
        report = codec.decode_report(raw)
        self.all.append(report)
        self.seen.append((report, descriptors[0] if descriptors else -1))
        return True

    def expect(self, kind: type[R], deadline: float = DEADLINE, **fields: object) -> R:
        """Return the first report of a kind whose fields are these; it is taken from `seen`."""
        return self.expect_with_fd(kind, deadline, **fields)[0]

    def expect_with_fd(self, kind: type[R], deadline: float = DEADLINE, **fields: object) -> tuple[R, int]:
        """Return a report and its descriptor."""
        end = time.monotonic() + deadline
        while True:
            for index, (report, descriptor) in enumerate(self.seen):
                if isinstance(report, kind) and all(getattr(report, n) == v for n, v in fields.items()):
                    del self.seen[index]
                    return report, descriptor
            left = end - time.monotonic()
            assert left > 0, (
                f"no {kind.__name__} {fields} within {deadline:g} s, but {str(self.all[-10:])[-1500:]}"
            )
            self.receive(min(left, 0.5))

    def nothing_more(self, seconds: float = 0.3) -> bool:
        """Tell whether no report comes within some time."""
        return not self.receive(seconds) and not self.seen

    def sync(self) -> list[Any]:
        """Ask for everything; return all reports of the answer. Descriptors of runs stay in `seen`."""
        self.send(messages.Sync())
        start = len(self.all)
        self.expect(messages.Synced)
        return self.all[start:]

    def spawn(
        self, entry: str = "app/worker", process: int = 1, run: int = 1
    ) -> tuple[messages.Spawned, int]:
        """Start a run; return the report and its output pipe."""
        self.send(messages.Spawn(entry, process, run))
        return self.expect_with_fd(messages.Spawned, entry=entry, process=process, run=run)

    def end(self, *key: Any) -> messages.Exit:
        """Kill a run, wait for its end, forget it; return how it ended."""
        self.send(messages.Kill(*key))
        exited = self.expect(messages.Exited, entry=key[0], process=key[1], run=key[2])
        if not exited.gone:
            self.expect(messages.Gone, entry=key[0], process=key[1], run=key[2])
        self.send(messages.Forget(*key))
        return exited.exit

    def close(self) -> None:
        """Let the engine end."""
        for _, descriptor in self.seen:
            if descriptor >= 0:
                os.close(descriptor)
        self.seen.clear()
        self.socket.close()
        self._held.close()


def read_all(descriptor: int, wanted: bytes = b"", deadline: float = DEADLINE) -> bytes:
    """Read an output pipe until end of file, or until `wanted` has come."""
    found, end = b"", time.monotonic() + deadline
    while not wanted or wanted not in found:
        left = end - time.monotonic()
        assert left > 0, f"{found[-200:]!r} and no end within {deadline:g} s"
        if select.select([descriptor], [], [], left)[0]:
            part = os.read(descriptor, 65536)
            if not part:
                break
            found += part
    return found


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


class Rig:
    """Directories of one keeper, below a directory that everybody may enter."""

    def __init__(self, directory: Path, cgroups: str = "auto", user: str = "") -> None:
        self.root, self.cgroups = directory, cgroups
        self.account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
        self.manifest, self.state, self.run = directory / "manifest", directory / "state", directory / "run"
        self.current = directory / "app" / "current"
        self.releases = directory / "app" / "releases"
        for path in (self.manifest, self.state, self.run, self.releases / "1"):
            path.mkdir(parents=True)
        self.current.symlink_to("releases/1")
        self.prelude = ""  # Python that runs in the keeper before it starts: the faults of a test
        self.source, self.relay = SOURCE, RELAY
        if user:  # who cannot enter our checkout gets a copy of what a keeper needs
            self.source, self.relay = directory / "src", Path(shutil.copy(RELAY, directory))
            for room in ("confine", "keeper", "core/wire", "core/__init__.py", "__init__.py"):
                _copy(SOURCE / "shiftboss" / room, self.source / "shiftboss" / room)
        self.own(directory)
        self.process: subprocess.Popen[bytes] | None = None
        self.engines: list[Engine] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(directory / "relay.sock"))
        (directory / "relay.sock").chmod(0o777)
        self._listener.listen(8)

    def own(self, path: Path) -> None:
        """Give files of the test to the user that the keeper runs as."""
        if os.geteuid() == 0:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def entry(self, *argv: str, address: str = "app/worker", user: str = "", **fields: Any) -> Entry:
        """Return an entry that runs a command in the project's current release."""
        account = pwd.getpwnam(user) if user else self.account
        entry = Entry(
            address=address,
            argv=argv,
            user=account.pw_name,
            uid=account.pw_uid,
            gid=account.pw_gid,
            home=account.pw_dir,
            directory=str(self.current),
            current=str(self.current),
            revision="",
            processes_max=fields.pop("processes_max", 100),
            stop=StopTerms("TERM", fields.pop("wait", 5.0), fields.pop("scope", "group")),
        )
        return with_revision(entry._replace(**fields))

    def write(self, *entries: Entry) -> None:
        """Write the manifest; a project without entries keeps its file."""
        for project in {entry.project for entry in entries}:
            path = self.manifest / f"{project}.json"
            path.write_text(manifest_text(project, tuple(e for e in entries if e.project == project)))
            path.chmod(0o600)
            self.own(self.manifest)

    def argv(self, *engine: str) -> list[str]:
        """Return the command line of the keeper."""
        command = [PYTHON, "-I", "-c", START.format(source=str(self.source), prelude=self.prelude)]
        command += ["--manifest", str(self.manifest), "--state", str(self.state), "--run", str(self.run)]
        return [*command, "--cgroups", self.cgroups, "--", *engine]

    def start(self, *engine: str, before: tuple[str, ...] = (), **options: Any) -> "Rig":
        """Start the keeper, with the relay as its engine unless another is given."""
        relay = (PYTHON, "-I", str(self.relay), str(self.root / "relay.sock"))
        if self.account.pw_uid != os.geteuid() and not before:
            ids = (f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}")
            before = ("setpriv", *ids, "--clear-groups")
        with (self.root / "keeper.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *self.argv(*(engine or relay))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        return self

    @property
    def pid(self) -> int:
        """The keeper's pid."""
        assert self.process
        return self.process.pid

    @property
    def instance(self) -> str:
        """The name that marks everything of this keeper."""
        return (self.state / "instance").read_text().strip()

    @property
    def log(self) -> str:
        """What the keeper said."""
        return (self.root / "keeper.log").read_text()

    def engine(self, deadline: float = DEADLINE) -> Engine:
        """Return the engine that the keeper starts next."""
        self._listener.settimeout(deadline)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise AssertionError(f"the keeper starts no engine: {self.log[-2000:]}") from None
        raw, descriptors, _, _ = socket.recv_fds(connection, 100, 1)
        keeper = socket.socket(fileno=descriptors[0])
        keeper.setblocking(False)
        engine = Engine(keeper, int(raw), connection)
        self.engines.append(engine)
        return engine

    def synced(self) -> Engine:
        """Return the next engine, after its Sync."""
        engine = self.engine()
        engine.sync()
        return engine

    def kill_keeper(self) -> None:
        """kill -9, as the world does it."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, deadline: float = DEADLINE) -> int:
        """TERM; return the exit status."""
        assert self.process
        self.process.terminate()
        return self.process.wait(deadline)

    def clear(self) -> None:
        """End the keeper and whatever is left of it, and fail if something was left by an orderly end."""
        orderly = self.process is not None and self.process.poll() == 0
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                orderly = self.process.wait(30) == 0
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for engine in self.engines:
            engine.close()
        self._listener.close()
        left = marked(self.instance) if (self.state / "instance").exists() else {}
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroups = self._cgroups() if (self.state / "instance").exists() else []
        for path in cgroups:
            until(lambda path=path: cgroup.remove(path), f"an empty {path}")
        log = self.log if (self.root / "keeper.log").exists() else ""
        shutil.rmtree(self.root)
        assert "internal error" not in log, log
        assert not (orderly and (left or cgroups)), f"an orderly end left {left} {cgroups}"

    def _cgroups(self) -> list[str]:
        roots = Path("/sys/fs/cgroup").glob(f"*/shiftboss-{self.instance}")
        return [str(path) for path in (*roots, *Path("/sys/fs/cgroup").glob(f"shiftboss-{self.instance}"))]


@contextlib.contextmanager
def rig(cgroups: str = "auto", user: str = "") -> Iterator[Rig]:
    """Give a rig, and clear up after it."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-keeper-", dir="/tmp"))
    directory.chmod(0o755)
    made = Rig(directory, cgroups, user)
    try:
        yield made
    finally:
        made.clear()
