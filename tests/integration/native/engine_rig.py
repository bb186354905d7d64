"""Keeper and engine under test, with directories of their own, and a client to ask them."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from keeper_rig import SOURCE, Rig, lives, marked, until

from shiftboss.api import calls
from shiftboss.api.client import Client
from shiftboss.core import run_policy
from shiftboss.core.errors import HostError
from shiftboss.core.schedule_entry import LANES, SCHEDULE, Options, Times, condition_of
from shiftboss.core.wire.entry import Entry, Policy
from shiftboss.core.wire.manifest import manifest_text
from shiftboss.host.engine_account import engine_identity

ENGINE = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import shiftboss.engine.main as m; m.run()",
)
WORKER = Path(__file__).parent / "engine_worker.py"
PYTHON = "/usr/bin/python3"
EACH_SECOND = Times(every=1)


class EngineRig(Rig):
    """A keeper whose engine is the real one."""

    def __init__(self, directory: Path, cgroups: str = "auto", user: str = "") -> None:
        super().__init__(directory, cgroups, user)
        self.logs = directory / "logs" / "app"
        self.logs.mkdir(parents=True)
        if os.geteuid() == 0 and self.account.pw_uid == 0:
            os.chown(self.logs, *engine_identity())
        else:
            self.own(directory / "logs")
        self.socket = str(self.run / "api.sock")
        self.engine_state = self.state / "engine"
        self.expects_errors = False  # of the engine, in its log
        self.killed = 0  # the last engine that was

    def worker(self, name: str = "queue", *argv: str, processes: int = 1, **fields: Any) -> Entry:
        """Return an entry; `policy_…` goes to its policy."""
        policy = {k.removeprefix("policy_"): fields.pop(k) for k in [*fields] if k.startswith("policy_")}
        policy.setdefault("log_path", str(self.logs / f"{name}.log"))
        policy.setdefault("start_seconds", 0.2)
        return self.entry(
            *(argv or ("/bin/sleep", "100000")),
            address=f"app/{name}",
            policy=Policy(processes=processes, **policy),
            **fields,
        )

    def schedule(
        self,
        name: str,
        *argv: str,
        only_if: tuple[str, ...] = (),
        times: Times = EACH_SECOND,
        **policy: Any,
    ) -> tuple[Entry, ...]:
        """Return the entries of a schedule: its own, and that of its condition if it has one."""
        wishes = run_policy.Policy(only_if=bool(only_if), **policy)
        options = msgspec.to_builtins(Options(times, wishes))
        log = str(self.logs / f"{name}.log")
        terms = Policy(kind=SCHEDULE, processes=0, log_path=log, options=options)
        address = f"app/{name}"
        own = self.entry(*argv, address=address, policy=terms, processes_max=LANES, wait=wishes.stop_seconds)
        if not only_if:
            return (own,)
        asked = self.entry(
            *only_if,
            address=condition_of(address),
            policy=terms._replace(kind="helper", options={}),
            processes_max=LANES,
        )
        return (own, asked)

    def occurrences(self, target: str = "app", **wanted: Any) -> list[calls.Occurrence]:
        """Return stored occurrences, oldest first."""
        with self.client() as client:
            found = client.occurrences(
                calls.Occurrences(targets=(target,), limit=10_000, **wanted)
            ).occurrences
        return sorted(found, key=lambda each: (each.due, each.number))

    def sleepers(self) -> list[int]:
        """Return the pids of every sleep that a run of ours started."""
        return [pid for pid in marked(self.instance) if _program(pid) == "sleep"]

    def outcomes(self, target: str = "app") -> list[str]:
        """Return the outcomes so far, oldest first."""
        return [each.outcome for each in self.occurrences(target) if each.outcome]

    def launch(self, *entries: Entry, **options: Any) -> "EngineRig":
        """Write the manifest and start keeper and engine."""
        self.write_all(*entries)
        return self.launch_written(**options)

    def launch_written(self, **options: Any) -> "EngineRig":
        """Start keeper and engine on the manifest that is there."""
        self.start(*ENGINE, "--state", str(self.engine_state), **options)
        return self

    def write_all(self, *entries: Entry) -> None:
        """Write the manifest of project app, also an empty one."""
        path = self.manifest / "app.json"
        path.write_text(manifest_text("app", entries))
        path.chmod(0o600)
        self.own(self.manifest)

    def client(self) -> Client:
        """Return a new connection to the engine, as soon as there is one."""

        def connect() -> Client | None:
            assert self.process
            assert self.process.poll() is None, f"the keeper ended: {self.log[-3000:]}"
            with contextlib.suppress(HostError):
                client = Client(self.socket)
                try:
                    client.version()
                except HostError:
                    client.close()
                else:
                    return client
            return None

        return until(connect, "an engine that answers", 20)

    def processes(self, *targets: str) -> list[calls.ProcessStatus]:
        """Return the status of every process."""
        with self.client() as client:
            status = client.status(*targets)
        return [p for project in status.projects for unit in project.units for p in unit.processes]

    def states(self, *targets: str) -> list[str]:
        """Return the state of every process."""
        return [process.state for process in self.processes(*targets)]

    def until_states(self, *states: str, deadline: float = 15) -> list[calls.ProcessStatus]:
        """Wait until the states are these; return the processes."""

        def reached() -> list[calls.ProcessStatus] | None:
            try:
                processes = self.processes()
            except HostError:  # an engine that is just going, with the keeper that was killed
                return None
            self.last = processes
            return processes if [p.state for p in processes] == list(states) else None

        return until(reached, f"{states}, not {getattr(self, 'last', None)}", deadline)

    def until_running(self, count: int, deadline: float = 15) -> list[calls.ProcessStatus]:
        """Wait until so many processes run; return them."""
        return self.until_states(*["RUNNING"] * count, deadline=deadline)

    def history(self, *kinds: str, limit: int = 10_000) -> list[calls.Event]:
        """Return stored events, oldest first."""
        with self.client() as client:
            rows = client.history(calls.History(kinds=kinds, limit=limit)).events
        return list(reversed(rows))

    @property
    def engine_pid(self) -> int:
        """The engine's pid, as the keeper wrote it down."""
        return int((self.run / "engine.pid").read_text())

    def kill_engine(self, number: int = signal.SIGKILL) -> int:
        """Signal the engine as soon as there is one; return its pid."""

        def kill() -> int:
            with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
                pid = self.engine_pid
                if lives(pid) and pid != self.killed:  # one that dies slowly is not killed twice
                    os.kill(pid, number)
                    self.killed = pid
                    return pid
            return 0

        return until(kill, "an engine to kill")

    def next_engine(self, old: int) -> int:
        """Wait for an engine after the one with this pid, and until it answers."""

        def fresh() -> int:
            with contextlib.suppress(FileNotFoundError, ValueError):
                pid = self.engine_pid
                return pid if pid != old and lives(pid) else 0
            return 0

        pid = until(fresh, "the next engine")
        self.client().close()
        return pid

    def read_log(self, name: str = "queue") -> str:
        """Return the text of a log and its backups, oldest first."""
        files = sorted(
            self.logs.glob(f"{name}.log*"),
            key=lambda path: -int(path.suffix[1:] if path.suffix != ".log" else 0),
        )
        return "".join(path.read_text(errors="replace") for path in files)


@contextlib.contextmanager
def engine_rig(cgroups: str = "auto", user: str = "") -> Iterator[EngineRig]:
    """Give a rig with a real engine, and clear up after it."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-engine-", dir="/tmp"))
    directory.chmod(0o755)
    made = EngineRig(directory, cgroups, user)
    try:
        yield made
        assert '"level": "ERROR"' not in made.log or made.expects_errors, made.log[-3000:]
    except BaseException:
        if (directory / "keeper.log").exists():
            sys.stderr.write(made.log[:2500])
        raise
    finally:
        made.clear()


def eventually(condition: Callable[[], object], what: str, deadline: float = 15) -> None:
    """Wait until something is true."""
    until(lambda: bool(condition()), what, deadline)


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """Give a directory that every user may write into."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-ledger-", dir="/tmp"))
    directory.chmod(0o777)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _program(pid: int) -> str:
    """Return the name of what a process runs, "" if it has ended meanwhile."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
