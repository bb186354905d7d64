"""shiftboss itself: keeper and engine from a checkout, with a manifest made here."""

import grp
import json
import os
import pwd
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from benchmarks import observe
from benchmarks.observe import now
from benchmarks.peers.contract import BACKUPS, ROTATE_AT, Peer, Program
from shiftboss.api.client import Client
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.wire.entry import Entry, Policy, with_revision
from shiftboss.core.wire.manifest import manifest_text
from shiftboss.host.engine_account import engine_identity
from shiftboss.version import VERSION

SOURCE = Path(
    os.environ.get("BENCH_SOURCE") or Path(__file__).resolve().parents[2] / "src"
)  # what is measured
PROJECT = "bench"
RUN = "import sys; sys.path.insert(0, {source!r}); import shiftboss.{module} as m; {call}"
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
"""
ANSWER_SECONDS = 30
R = TypeVar("R")


def part(module: str, call: str) -> tuple[str, ...]:
    """Return the command line that runs a part of the checkout."""
    return (sys.executable, "-I", "-c", RUN.format(source=str(SOURCE), module=module, call=call))


class Ours(Peer):
    """Keeper and engine. Its state and logs are below the directory of the measurement."""

    name = "shiftboss"
    kills: ClassVar[int] = 100
    victims: ClassVar[tuple[str, ...]] = ("engine", "keeper")

    def __init__(self, tools: Path, work: Path) -> None:
        super().__init__(tools, work)
        for name in ("run", "state/manifest", "projects.d", f"projects/{PROJECT}/releases/1"):
            (work / name).mkdir(parents=True)
        self._current = work / f"projects/{PROJECT}/current"
        self._current.symlink_to("releases/1")
        (work / "config.toml").write_text(CONFIG.format(user=pwd.getpwuid(os.geteuid()).pw_name))
        if os.geteuid() == 0:
            os.chown(self.logs, *engine_identity())

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return our version."""
        return VERSION

    def entry(self, program: Program) -> Entry:
        """Return what the manifest says of a program."""
        account = pwd.getpwuid(os.geteuid())
        return Entry(
            address=f"{PROJECT}/{program.name}",
            argv=program.argv,
            user=account.pw_name,
            uid=account.pw_uid,
            gid=account.pw_gid,
            home=account.pw_dir,
            directory=str(self._current),
            current=str(self._current),
            revision="",
            policy=Policy(
                log_path=f"{self.logs}/{program.name}.log", log_max_bytes=ROTATE_AT, log_backups=BACKUPS
            ),
        )

    def configure(self) -> None:
        """Write the manifest, and the project file that the command line reads."""
        entries = tuple(with_revision(self.entry(program)) for program in self.programs)
        path = self.work / f"state/manifest/{PROJECT}.json"
        path.write_text(manifest_text(PROJECT, entries))
        path.chmod(0o600)
        rows = (f"[workers.{p.name}]\ncommand = {json.dumps(shlex.join(p.argv))}\n" for p in self.programs)
        (self.work / f"projects.d/{PROJECT}.toml").write_text("".join(rows))

    def start(self) -> None:
        """Start the keeper; an engine that was killed it starts again by itself."""
        if self.roots and observe.is_alive(self.roots[-1]):
            return
        keeper = part("keeper.main", "sys.exit(m.main(sys.argv[1:]))")
        where = ["--state", f"{self.work}/state", "--run", f"{self.work}/run"]
        where += ["--manifest", f"{self.work}/state/manifest"]
        engine = (*part("engine.main", "m.run()"), "--state", f"{self.work}/state/engine")
        self.roots.append(self.launch(*keeper, *where, "--", *engine))

    def client(self) -> Client:
        """Return a connection to the engine."""
        return Client(f"{self.work}/run/api.sock")

    def ask(self, question: Callable[[Client], R]) -> R:
        """Ask once the engine answers."""
        end = now() + ANSWER_SECONDS
        while True:
            try:
                with self.client() as client:
                    return question(client)
            except ShiftbossError:
                if now() > end:
                    raise

    def announce(self) -> None:
        """Have the manifest read again."""
        with self.client() as client:
            client.reload()

    def stop_all(self) -> None:
        """Have everything stopped."""
        with self.client() as client:
            client.stop(wait_seconds=60)

    def status(self) -> int:
        """Return what `shiftboss status` says, 0 where it cannot ask this backend."""
        said = self.run(Path(sys.prefix) / "bin/shiftboss", "--config", self.work / "config.toml", "status")
        return said.count("RUNNING")

    def api(self, count: int) -> list[float]:
        """Ask over the socket: connect, ask, and decode the answer, each time."""
        took = []
        for _ in range(count):
            begun = now()
            with self.client() as client:
                client.status()
            took.append(now() - begun)
        return took

    def victims_of(self, victim: str) -> list[int]:
        """Return the engine's or the keeper's process."""
        if victim == "keeper":
            return self.roots[-1:]
        return [int((self.work / "run/engine.pid").read_text())]

    def end(self) -> None:
        """Let the keeper end what it made (cgroups too), then KILL what is left."""
        if self.roots and observe.is_alive(self.roots[-1]):
            os.kill(self.roots[-1], signal.SIGTERM)
            keeper = observe.Deaths(self.roots[-1:])
            os.kill(self.roots[-1], signal.SIGTERM)  # a second time: KILL to its children, no waiting
            keeper.wait(20)
            keeper.close()
        super().end()


class OursConfined(Ours):
    """The same, with the switch to another user, its groups, and limits on each start. Needs root."""

    name = "shiftboss, other user"

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return our version, nothing where users cannot be switched."""
        return VERSION if os.geteuid() == 0 else None

    def entry(self, program: Program) -> Entry:
        """Return an entry of user nobody."""
        account = pwd.getpwnam("nobody")
        return (
            super()
            .entry(program)
            ._replace(
                user=account.pw_name,
                uid=account.pw_uid,
                gid=account.pw_gid,
                home="/",
                groups=(grp.getgrnam("users").gr_gid,),
                rlimits={"NOFILE": (1024, 4096), "NPROC": (4096, 4096), "CORE": (0, 0)},
                umask=0o027,
            )
        )
