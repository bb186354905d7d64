"""The keeper: `python -I -m shiftboss.keeper.main --manifest DIR --state DIR --run DIR -- ENGINE ARGUMENT…`.

It owns the children, their pipes and exit statuses, and api.sock; it starts what the engine asks for and the
manifest holds. The engine's command gets `--keeper-fd N` appended. Options:

    --manifest DIR    one JSON file a project; owned by root or us, not writable by others
    --state DIR       `instance`: the name of this installation, made once
    --run DIR         lock, keeper.pid, engine.pid, api.sock, started (the journal)
    --cgroups KIND    auto (default), v2, v1 or none

TERM, INT: stop everything and end (a second one: KILL). HUP: read the manifest again. Exit status 1: it could not
start, for the reason on standard error; 2: wrong usage.
"""

import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from shiftboss.confine import cgroup, kernel
from shiftboss.core import wire
from shiftboss.keeper import journal, manifest
from shiftboss.keeper.leftovers import Leftovers
from shiftboss.keeper.link import Link
from shiftboss.keeper.loop import Loop, say
from shiftboss.keeper.releases import Releases
from shiftboss.keeper.runs import Runs

_USAGE = "usage: keeper --manifest DIR --state DIR --run DIR [--cgroups auto|v2|v1|none] -- ENGINE ARGUMENT…"
_CGROUPS: dict[str, tuple[cgroup.Kind, ...]] = {
    "auto": ("v2", "v1"),
    "v2": ("v2",),
    "v1": ("v1",),
    "none": (),
}
_STRAYS_SECONDS = 5.0


class CannotStartError(Exception):
    """The keeper cannot start; the text says why."""


class Options(NamedTuple):
    """The command line; paths are absolute."""

    manifest: str
    state: str
    run: str
    cgroups: tuple[cgroup.Kind, ...]
    engine: list[str]


class Keeper:
    """All parts together: who may start takes the lock, clears up after a dead keeper, and only then starts things."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._prepare_process()
        self._lock = take_lock(options.run)
        _write(f"{options.run}/keeper.pid", f"{os.getpid()}\n")
        self._instance = read_instance(options.state)
        self._degraded: list[str] = []
        self._loop = Loop()
        self._manifest = manifest.load(options.manifest, manifest.EMPTY)
        self._tree = cgroup.find_tree(f"shiftboss-{self._instance}", options.cgroups)
        if self._tree is None:
            self._degrade(
                "without cgroups, a process that hides well enough is found only when the server stops"
            )
        book = f"{options.run}/started"
        Leftovers(self._instance, book, self._manifest.entries, self._tree).stop_all()
        self._journal = journal.Journal(book)
        self._api = listen(f"{options.run}/api.sock")
        self._engine = Link(
            self._loop,
            options.engine,
            journal.engine_mark(self._instance),
            self._journal,
            f"{options.run}/engine.pid",
            self._on_request,
        )
        self._runs = Runs(self._loop, self._instance, self._tree, self._journal, self._engine.post)
        self._releases = Releases(self._loop, self._tell_release)
        self._stopping = self._finishing = False

    def run(self) -> None:
        """Start the engine and serve until everything is stopped."""
        try:
            kernel.become_subreaper()
        except OSError as error:
            self._degrade(str(error))
        with suppress(OSError):
            self._journal.rewrite()
        self._connect()
        self._take_manifest(self._manifest)
        self._engine.start()
        notify("READY=1")
        gc.collect()
        gc.freeze()  # what lives now lives for ever: a collection must not copy its pages after each fork
        self._loop.run()

    def _prepare_process(self) -> None:
        for descriptor in (0, 1, 2):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        os.closerange(3, 1 << 20)
        os.chdir("/")
        os.umask(0o022)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._files = (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _degrade(self, words: str) -> None:
        self._degraded.append(words)
        say(words)

    def _connect(self) -> None:
        """Tie the parts together."""
        self._runs.files = self._files
        self._runs.on_gone = self._check_done
        self._engine.restored = self._releases.restored = self._runs.restored
        self._engine.on_end = self._finish
        self._loop.reaped = self._runs.after_reaping
        self._loop.on_signal = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
        }
        self._loop.take_signals()
        if self._tree and self._tree.kind == "v2":
            with suppress(OSError):
                self._engine.cgroup = cgroup.make(self._tree, "engine")
                if "INVOCATION_ID" in os.environ and cgroup.is_alone(self._tree):
                    cgroup.join(cgroup.make(self._tree, "keeper"))  # systemd wants processes in leaves only
                self._runs.tree = self._tree._replace(birth=kernel.birth_works(self._engine.cgroup))

    # ---- what the engine asks for

    def _on_request(self, request: wire.Request) -> None:
        match request:
            case wire.Sync():
                self._tell_everything()
            case wire.Reload():
                self._reload()
            case wire.Shutdown():
                self._stop()
            case _:
                self._runs.perform(request)

    def _tell_everything(self) -> None:
        post = self._engine.post
        hello = wire.Hello(
            wire.VERSION, self._instance, os.getpid(), f"{self._options.run}/api.sock", tuple(self._degraded)
        )
        post(("hello",), lambda: (hello, self._api.fileno()))
        self._tell_manifest()
        for project in self._releases.paths:
            self._tell_release(project)
        for key, held in self._runs.held.items():
            post(("held", *key), held.held)
        if self._stopping:
            post(("stopping",), lambda: (wire.Stopping(), -1))
        post(("synced",), lambda: (wire.Synced(), -1))
        if self._finishing:
            self._engine.post_end()

    def _tell_manifest(self) -> None:
        for address in self._manifest.entries:
            self._engine.post(("offer", address), partial(self._offer, address))
        self._engine.post(("manifest",), self._manifest_report)

    def _offer(self, address: str) -> tuple[wire.Report, int] | None:
        entry = self._manifest.entries.get(address)
        return (wire.Offer(self._manifest.serial, wire.without_secrets(entry)), -1) if entry else None

    def _manifest_report(self) -> tuple[wire.Report, int]:
        serial, entries, errors = self._manifest
        return wire.Manifest(serial, len(entries), errors), -1

    def _tell_release(self, project: str) -> None:
        paths = self._releases.paths
        self._engine.post(("release", project), lambda: (wire.Release(project, paths.get(project, "")), -1))

    def _reload(self) -> None:
        self._take_manifest(manifest.load(self._options.manifest, self._manifest))
        self._tell_manifest()

    def _take_manifest(self, found: manifest.Manifest) -> None:
        self._manifest = self._runs.manifest = found
        self._releases.set_entries(found.entries)
        for name, words in found.errors.items():
            say(f"{name}: {words}")

    # ---- the end

    def _stop(self) -> None:
        """Stop everything as its entry says; asked a second time, KILL."""
        notify("STOPPING=1")
        again, self._stopping, self._runs.closed = self._stopping, True, True
        self._engine.post(("stopping",), lambda: (wire.Stopping(), -1))
        for key in self._runs.living():
            self._runs.kill(key) if again else self._runs.stop(key)
        self._check_done()

    def _check_done(self) -> None:
        if self._stopping and not self._finishing and not self._runs.living():
            self._finishing = True
            self._engine.end()

    def _finish(self) -> None:
        """Nothing of ours lives but what escaped every scope; end that too, and leave nothing behind."""
        deadline = time.monotonic() + _STRAYS_SECONDS
        while time.monotonic() < deadline and self._runs.kill_strays():
            time.sleep(0.01)
            self._loop.reap()
        for name in ("api.sock", "engine.pid", "keeper.pid", "started"):
            with suppress(OSError):
                os.unlink(f"{self._options.run}/{name}")
        if self._tree:
            with suppress(OSError):
                cgroup.remove(self._tree.top)
        self._loop.running = False


def take_lock(directory: str) -> int:
    """Make the run directory and take its lock; raise CannotStartError.

    A record lock (fcntl): a child between fork and exec does not inherit it, so none can hold it for a dead keeper.
    """
    try:
        os.makedirs(directory, 0o755, exist_ok=True)
        manifest.check_owner(os.stat(directory, follow_symlinks=False))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{directory}/lock", flags, 0o600)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStartError(f"another keeper runs on {directory}") from None
    except wire.WireError as error:
        raise CannotStartError(f"{directory} {error}") from None
    except OSError as error:
        raise CannotStartError(f"cannot lock {directory}: {error.strerror}") from None
    return descriptor


def read_instance(state: str) -> str:
    """Return the name of this installation, made at the first start; raise CannotStartError."""
    path = f"{state}/instance"
    try:
        os.makedirs(state, 0o755, exist_ok=True)
        if not os.path.exists(path):
            _write(path, f"{os.urandom(4).hex()}\n")
        with open(path, encoding="ascii", errors="replace") as file:
            name = file.read(64).strip()
    except OSError as error:
        raise CannotStartError(f"cannot read or make {path}: {error.strerror}") from None
    if not name.isalnum():
        raise CannotStartError(f"{path} does not hold a name: remove it")
    return name


def listen(path: str) -> socket.socket:
    """Return the listening api socket, open to everybody: rights go by the peer's credentials. Raise CannotStartError."""
    before = os.umask(0o111)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(path)
        server.listen(128)
    except OSError as error:
        raise CannotStartError(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    return server


def _write(path: str, text: str) -> None:
    with open(f"{path}~", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(f"{path}~", path)


def notify(text: str) -> None:
    """Tell systemd (sd_notify(3)) if it waits for that."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def parse_options(arguments: list[str]) -> Options:
    """Read the command line; raise ValueError with the usage."""  # argparse would cost 8 ms and 1 MB
    values = {"--cgroups": "auto"}
    rest = list(arguments)
    while rest and rest[0] != "--":
        if len(rest) < 2:
            raise ValueError(_USAGE)
        values[rest[0]] = rest[1]
        del rest[:2]
    known = {"--manifest", "--state", "--run", "--cgroups"}
    if values.keys() != known or values["--cgroups"] not in _CGROUPS or len(rest) < 2:
        raise ValueError(_USAGE)
    where, state, run = (os.path.abspath(values[name]) for name in ("--manifest", "--state", "--run"))
    return Options(where, state, run, _CGROUPS[values["--cgroups"]], rest[1:])


def main(arguments: list[str]) -> int:
    """Run a keeper until it is told to stop; return the exit status."""
    try:
        options = parse_options(arguments)
    except ValueError as error:
        say(str(error))
        return 2
    try:
        keeper = Keeper(options)
    except CannotStartError as error:
        say(f"cannot start: {error}")
        return 1
    keeper.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
