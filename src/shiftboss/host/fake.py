"""A machine in memory: every port, for tests and rehearsals. Nothing here touches the machine we run on.

`fake_machine()` gives a server of root with Supervisor and cron; its parts are changed through their own
attributes (`machine.files.write(…)`, `machine.supervisord.down = True`), and `machine.faults` lets calls fail.
Time goes on only when something sleeps.
"""

import posixpath
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from shiftboss.core.errors import HostError
from shiftboss.core.facts import (
    EngineAccount,
    Finished,
    GroupFacts,
    LaunchedFacts,
    Launcher,
    Listener,
    Running,
    Usage,
)
from shiftboss.core.limits import Ground
from shiftboss.core.spec import DEFAULT_PATH, Account
from shiftboss.host.commands import NOT_FOUND
from shiftboss.host.fake_engine import FakeEngine, FakeEngines
from shiftboss.host.fake_faults import Faults
from shiftboss.host.fake_files import FakeFiles, may
from shiftboss.host.fake_supervisor import FakeSupervisord, FakeSupervisors
from shiftboss.host.machine import Machine
from shiftboss.host.ports import Started

ROOT = Account("root", 0, 0, "root", "/root", "/bin/bash")
CONF_DIR = "/etc/supervisor/conf.d"
_DIRECTORIES = (
    CONF_DIR,
    "/etc/cron.d",
    "/etc/logrotate.d",
    "/var/log",
    "/run",
    "/usr/bin",
    "/infra/projects",
)
_EXECUTE = 1
ENGINE = (53_970, 53_970)
_FIRST_SYSTEM_UID = 900

Answer = Finished | Callable[[tuple[str, ...]], Finished]


class FakeAccounts:
    """The `Accounts` port: `users` and further groups (`groups`) by name; the program runs as `account`.

    `listed` are members of groups beside those whose primary group it is, by the group's name; `complaint` is what
    stands in the way of a new account.
    """

    def __init__(self, account: Account) -> None:
        self.users = {account.name: account}
        self.groups: dict[str, int] = {}
        self.listed: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.complaint = ""
        self._own = account

    def add(self, name: str, uid: int, *, home: str = "") -> Account:
        """Add an account with a group of its own, and return it."""
        self.users[name] = Account(name, uid, uid, name, home or f"/home/{name}", "/usr/sbin/nologin")
        return self.users[name]

    def by_name(self, name: str) -> Account | None:
        return self.users.get(name)

    def group(self, name: str) -> int | None:
        owner = self.users.get(name)  # each has a group of its own
        return self.groups.get(name, owner.gid if owner else None)

    def create(self, name: str, home: str) -> Account:
        if self.complaint:
            raise HostError(f"cannot create user {name}: {self.complaint}", hint="See useradd(8).")
        return self.add(name, _FIRST_SYSTEM_UID + len(self.users), home=home)

    def all_groups(self) -> tuple[GroupFacts, ...]:
        gids = {account.group: account.gid for account in self.users.values()}
        gids |= {name: gid for name, (gid, _) in self.listed.items()}
        return tuple(GroupFacts(name, gid, self._members(name, gid)) for name, gid in sorted(gids.items()))

    def _members(self, name: str, gid: int) -> tuple[str, ...]:
        listed = self.listed.get(name, (gid, ()))[1]
        return tuple(sorted({*listed, *(user.name for user in self.users.values() if user.gid == gid)}))

    def own(self) -> Account:
        return self._own

    def engine(self) -> EngineAccount:
        return EngineAccount(*ENGINE) if self._own.uid == 0 else EngineAccount(self._own.uid, self._own.gid)


class FakeClock:
    """The `Clock` port: stands still until somebody sleeps, or `pass_by` is called."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        self._monotonic = 1000.0
        self.server_zone = ZoneInfo("Europe/Riga")

    def now(self) -> datetime:
        return self._now.astimezone(self.server_zone)

    def zone(self) -> ZoneInfo:
        return self.server_zone

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self._faults.reach("clock.sleep")
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class FakeCommands:
    """The `Commands` port: programs are files in memory that may be executed; `answers` say how they end.

    An answer is found by the program's path, or by its name without a directory. A program without an answer
    ends well and says nothing. `ran` has every argument vector that was run.
    """

    def __init__(self, files: FakeFiles, faults: Faults) -> None:
        self._files, self._faults = files, faults
        self.answers: dict[str, Answer] = {}
        self.ran: list[tuple[str, ...]] = []

    def install(self, *paths: str) -> None:
        """Put programs there that everybody may execute."""
        for path in paths:
            self._files.write(path, "\x7fELF", mode=0o755)

    def run(
        self,
        argv: tuple[str, ...],
        *,
        account: Account | None = None,
        directory: str = "/",
        timeout: float = 10,
    ) -> Finished:
        self._faults.reach("commands.run", argv[0])
        known = argv[0].startswith("/") or "/" not in argv[0]
        place = posixpath.dirname(argv[0]) or DEFAULT_PATH
        program = self.find(posixpath.basename(argv[0]), place, account or ROOT) if known else None
        if program is None:
            return Finished(NOT_FOUND, stderr=f"{argv[0]}: no such file or directory")
        self.ran.append(argv)
        answer = self.answers.get(program) or self.answers.get(posixpath.basename(program)) or Finished(0)
        return answer if isinstance(answer, Finished) else answer(argv)

    def find(self, name: str, path: str, account: Account) -> str | None:
        for directory in path.split(":"):
            candidate = posixpath.join(directory, name)
            if directory.startswith("/") and self._may_execute(candidate, account):
                return candidate
        return None

    def _may_execute(self, path: str, account: Account) -> bool:
        try:
            node = self._files.node(self._files.resolve(path, account))
        except OSError:
            return False
        # root, too, needs one x bit (access(2))
        is_program = node is not None and node.type == "file" and node.mode & 0o111
        return bool(is_program) and node is not None and may(node, account, _EXECUTE)


class FakeProcesses:
    """The `Processes` port: the living processes of Supervisor and engine in memory, and what is put in here."""

    def __init__(self, supervisord: FakeSupervisord, engine: FakeEngine) -> None:
        self._supervisord, self._engine = supervisord, engine
        self.directories: dict[int, str] = {}
        self.used: dict[int, Usage] = {}
        self.listeners: dict[int, Listener] = {}
        self.offered = Ground(v2=frozenset({"memory", "cpu", "pids", "io"}))
        self.others: list[Running] = []
        self.confined: dict[str, LaunchedFacts] = {}
        self.orphans: dict[str, int] = {}

    def working_directory(self, pid: int) -> str | None:
        return self.directories.get(pid) or self._living().get(pid)

    def usage(self) -> Mapping[int, Usage]:
        """Return what was put in, and for each living process that was not: 20 MiB, half a percent."""
        return {pid: Usage(pid, 1, 20 * 1024 * 1024, 0.5) for pid in self._living()} | self.used

    def _living(self) -> dict[int, str]:
        return {**self._supervisord.living(), **self._engine.living()}

    def ground(self) -> Ground:
        return self.offered

    def lives(self, launcher: Launcher) -> bool:
        """Tell whether the pid is one of `others`."""
        return any(process.pid == launcher.pid for process in self.others)

    def launched(self, project: str, unit: str, process: int, pid: int) -> LaunchedFacts | None:
        """Return what was put in."""
        return self.confined.get(f"{project}/{unit}:{process}")

    def end_launched(self, addresses: Iterable[str], stop_signal: str, pid: int) -> tuple[int, ...]:
        """End what is among `orphans`."""
        return tuple(self.orphans.pop(address) for address in addresses if address in self.orphans)

    def launcher(self, *, as_root: bool) -> tuple[str, ...]:
        return ("/opt/shiftboss/bin/python", "-I", "-S", "/opt/shiftboss/launcher/main.py")

    def running(self, word: str) -> tuple[Running, ...]:
        """Return those of `others` that have the word."""
        return tuple(process for process in self.others if word in "\0".join(process.argv))

    def listener(self, port: int) -> Listener | None:
        return self.listeners.get(port)


class FakeStarted:
    """The `Started` port: a command that has printed these lines and ended."""

    def __init__(self, finished: Finished) -> None:
        self._finished = finished

    def line(self) -> str:
        line, _, rest = self._finished.stdout.partition("\n")
        self._finished = replace(self._finished, stdout=rest)
        return line

    def ended(self, seconds: float) -> Finished | None:
        return self._finished


class FakeCronDaemon:
    """The `CronDaemon` port: one daemon (`pid`, None if it does not run) that reads /etc/cron.d.

    `complaint` is what its checker says of any file; `program` is what becomes of a command that it starts.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.pid: int | None = 77
        self.directory = "/etc/cron.d"
        self.complaint: str | None = None
        self.crontabs: dict[str, str] = {}
        self.program: Callable[[tuple[str, ...]], Finished] = lambda _argv: Finished(0)

    def reader(self, cron_dir: str) -> int | None:
        return self.pid if cron_dir == self.directory else None

    def accepts(self, text: str) -> str | None:
        self._faults.reach("cron.accepts")
        return self.complaint

    def announce(self, *paths: str) -> None:
        for path in paths:
            self._faults.reach("cron.announce", path)

    def start(self, argv: tuple[str, ...], cron_dir: str) -> Started:
        self._faults.reach("cron.start", argv[0])
        return FakeStarted(self.program(argv))

    def other_crontabs(self, own_path: str) -> dict[str, str]:
        return {path: text for path, text in self.crontabs.items() if path != own_path}


class FakeBoot:
    """The `Boot` port: `answer` for every service."""

    def __init__(self) -> None:
        self.answer: bool | None = True

    def starts(self, services: tuple[str, ...]) -> bool | None:
        return self.answer


class FakeMachine(Machine, frozen=True):
    """Every port in memory, with the parts that the ports do not show."""

    files: FakeFiles
    accounts: FakeAccounts
    clock: FakeClock
    commands: FakeCommands
    processes: FakeProcesses
    supervisors: FakeSupervisors
    cron: FakeCronDaemon
    boot: FakeBoot
    engines: FakeEngines
    supervisord: FakeSupervisord
    engine: FakeEngine
    faults: Faults


def fake_machine(account: Account = ROOT) -> FakeMachine:
    """Return a server with Supervisor, cron and logrotate and their empty directories; we run as `account`."""
    faults = Faults()
    clock = FakeClock(faults)
    files = FakeFiles(account, clock, faults)
    for directory in _DIRECTORIES:
        files.directory(directory)
    supervisord = FakeSupervisord(CONF_DIR, files, clock, faults)
    supervisord.uid = account.uid
    state = "/var/lib" if account.uid == 0 else f"{account.home}/.local/state"
    engine = FakeEngine(f"{state}/shiftboss/manifest", files, clock, faults)
    return FakeMachine(
        files=files,
        accounts=FakeAccounts(account),
        clock=clock,
        commands=FakeCommands(files, faults),
        processes=FakeProcesses(supervisord, engine),
        supervisors=FakeSupervisors(supervisord, files, faults),
        cron=FakeCronDaemon(faults),
        boot=FakeBoot(),
        engines=FakeEngines(engine),
        supervisord=supervisord,
        engine=engine,
        faults=faults,
    )
