"""The ports: everything that the use cases ask of this machine. `host/fake.py` implements them in memory.

Every method raises HostError (with a hint) where the machine refuses; OSError does not leave this room.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from shiftboss.core.facts import (
    EngineAccount,
    EngineFacts,
    EngineSchedule,
    Finished,
    GroupFacts,
    LaunchedFacts,
    Launcher,
    Listener,
    PathFacts,
    PathType,
    Running,
    SupervisorFacts,
    Usage,
)
from shiftboss.core.limits import Ground
from shiftboss.core.spec import Account, SupervisorSite

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Files(Protocol):
    """Files and directories. Links in the last component of a path are never followed."""

    def read(self, path: str) -> str | None:
        """Return the text of a regular file (UTF-8, at most 1 MiB), None if there is none."""
        ...

    def read_as(self, account: Account, path: str, *, limit: int) -> str | None:
        """Return the text of a project's file with no more rights than `account`; links are followed.

        None if there is no such file, if the account may not read it, or if it is larger than `limit` bytes.
        """
        ...

    def read_offered(self, account: Account, path: str, *, limit: int) -> str | None:
        """Return the text of a file that a project offers, read with no more rights than `account`.

        Links are followed on the way (`current` is one), not in the last step. None if nothing is there; HostError
        for anything but a regular file of UTF-8 text of at most `limit` bytes that the account may read.
        """
        ...

    def read_matching(self, directory: str, pattern: str) -> dict[str, str]:
        """Return path and text of the regular files in `directory` whose name matches a glob (see `matching`)."""
        ...

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        """Return the paths in `directory` whose name matches a glob, sorted; anything but directories counts.

        As in a shell, `*` means no name that begins with a dot.
        """
        ...

    def stat(self, path: str) -> PathFacts | None:
        """Return owner, mode and type of a path, None if there is nothing."""
        ...

    def survey(self, account: Account, directory: str) -> dict[str, PathFacts]:
        """Return the facts of a project's directory and of its entries, by path, with no more rights than `account`.

        At most 2000 entries; links among them are not followed, nor are those on the way that a stranger made.
        Empty if there is no such directory or the account cannot read it.
        """
        ...

    def modified(self, path: str) -> float | None:
        """Return when a regular file with content was last written (epoch seconds), None if it was not."""
        ...

    def real_path(self, path: str) -> str | None:
        """Return where a link (such as `current`) finally leads, None if that does not exist."""
        ...

    def stage(self, path: str, text: str, mode: int) -> str:
        """Write `text` to a new file beside `path`, on disk when this returns; return its path.

        Its name ends in `~`, which cron, logrotate and Supervisor's include all pass over.
        """
        ...

    def commit(self, staged: str, path: str) -> None:
        """Put a staged file in the place of `path`, atomically."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def make_directory(self, path: str, uid: int, gid: int, mode: int) -> None:
        """Create a directory and its missing parents (parents: root's, 0755); an existing one is left alone."""
        ...

    def create_file(self, path: str, uid: int, gid: int, mode: int) -> None:
        """Create an empty regular file; an existing regular file is left alone, anything else is refused."""
        ...

    def change_owner(self, path: str, type: PathType, uid: int, gid: int, mode: int) -> None:
        """Give an existing directory or regular file this owner and mode; refused if it is of another type."""
        ...

    def lock(self, path: str, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold an exclusive lock on a file (created if missing, 0600, parents too) while inside.

        Calls `waiting` once if somebody else holds it, then waits for them. The lock ends with the process.
        """
        ...

    def tail(self, path: str, max_bytes: int) -> bytes:
        """Return the last bytes of a regular file, empty if there is none."""
        ...

    def size(self, path: str) -> int:
        """Return the bytes of a regular file, 0 if there is none."""
        ...


class Accounts(Protocol):
    """The passwd and group databases."""

    def by_name(self, name: str) -> Account | None:
        """Return the account, None if there is none of that name."""
        ...

    def group(self, name: str) -> int | None:
        """Return the id of a group, None if there is none of that name."""
        ...

    def create(self, name: str, home: str) -> Account:
        """Create a system account that nobody can log in to, with a group of its own name; return it.

        Its home is not made. HostError if the machine refuses, also if user or group exist already.
        """
        ...

    def all_groups(self) -> tuple[GroupFacts, ...]:
        """Return every group of the local databases with its members, sorted by name."""
        ...

    def own(self) -> Account:
        """Return the account this program runs as."""
        ...

    def engine(self) -> EngineAccount:
        """Return as whom the native engine runs; HostError if there is nobody whom it could become."""
        ...


class Clock(Protocol):
    """Time. Durations come from `monotonic`, labels from `now`."""

    def now(self) -> datetime:
        """Return the current time, aware, in the server's zone."""
        ...

    def zone(self) -> "ZoneInfo":
        """Return the time zone of this server, the one its cron daemon uses."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed point."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Commands(Protocol):
    """Other programs, run to the end."""

    def run(
        self,
        argv: tuple[str, ...],
        *,
        account: Account | None = None,
        directory: str = "/",
        timeout: float = 10,
    ) -> Finished:
        """Run a program (as `account` if given, with a clean environment) and wait for its end.

        A program that is missing or takes longer than `timeout` seconds gives exit status 127 or 124.
        """
        ...

    def find(self, name: str, path: str, account: Account) -> str | None:
        """Return the absolute path of an executable in the colon-separated `path`, as `account` would see it.

        None if there is none. Places that are not absolute are passed over.
        """
        ...


class Supervisor(Protocol):
    """A running supervisord. Group and process names are Supervisor's own (`myapp_queue`, `myapp_queue:x`)."""

    def facts(self) -> SupervisorFacts:
        """Return version and all processes, live."""
        ...

    def reread(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Let it read its files again; return names of groups (added, changed, removed). Nothing is applied."""
        ...

    def add_group(self, group: str) -> None:
        """Take over a group that was added to the files; its programs with autostart are started."""
        ...

    def remove_group(self, group: str) -> None:
        """Forget a group whose processes are all stopped."""
        ...

    def stop_group(self, group: str) -> None:
        """Ask every process of a group to stop; does not wait."""
        ...

    def start_process(self, name: str) -> None:
        """Start `group:process`; does not wait. One that runs already is no error."""
        ...

    def stop_process(self, name: str) -> None:
        """Ask `group:process` to stop; does not wait. One that is stopped already is no error."""
        ...


class Processes(Protocol):
    """What the kernel knows about running processes."""

    def working_directory(self, pid: int) -> str | None:
        """Return the directory of a process (with ` (deleted)` at the end if it is gone), None if unknown."""
        ...

    def usage(self) -> Mapping[int, Usage]:
        """Return memory and CPU of every process, by pid."""
        ...

    def ground(self) -> Ground:
        """Return what there is to bound and to isolate processes."""
        ...

    def lives(self, launcher: Launcher) -> bool:
        """Tell whether the launcher of a run is still there, and nobody else who got its number."""
        ...

    def launched(self, project: str, unit: str, process: int, pid: int) -> LaunchedFacts | None:
        """Return what is known of a process that the launcher started (`pid` 0: it has ended), None for nothing."""
        ...

    def end_launched(self, addresses: Iterable[str], stop_signal: str, pid: int) -> tuple[int, ...]:
        """End what processes (`myapp/queue:1`) that have stopped left in their cgroups; return the pids there were.

        `stop_signal` (without SIG) first, KILL after 5 s. `pid` is Supervisor's. HostError for what outlives that.
        """
        ...

    def launcher(self, *, as_root: bool) -> tuple[str, ...]:
        """Return the command that starts a unit confined; it outlives an upgrade.

        Raises HostError if it is to be run by root (`as_root`) and others can write what it consists of.
        """
        ...

    def running(self, word: str) -> tuple[Running, ...]:
        """Return the living processes with `word` somewhere in their command line (its first 4 KiB), by pid."""
        ...

    def listener(self, port: int) -> Listener | None:
        """Return who listens on a TCP port of this machine, None if nobody does or it cannot be seen."""
        ...


class Supervisors(Protocol):
    """Finds the Supervisor of this server."""

    def locate(self, site: SupervisorSite) -> SupervisorSite:
        """Return `site` with every gap filled from the server's own supervisord.conf.

        HostError if there is none.
        """
        ...

    def connect(self, site: SupervisorSite) -> Supervisor:
        """Return the Supervisor at a located site; nothing is sent yet."""
        ...


class Engine(Protocol):
    """A native engine. Targets are addresses: `myapp`, `myapp/queue`, `myapp/queue:2`."""

    def facts(self, *, usage: bool = False) -> EngineFacts | None:
        """Return everything it runs, live, on request with what it uses; None if it does not run."""
        ...

    def schedules(self) -> tuple[EngineSchedule, ...]:
        """Return its schedules, live; none if it does not run."""
        ...

    def reload(self) -> Mapping[str, str]:
        """Let it read the manifest again; returns when it goes by it, not when all has settled.

        The answer is what is wrong with files of the manifest, by their names; their old content stays valid.
        """
        ...

    def start(self, target: str) -> None:
        """Have processes run; does not wait."""
        ...

    def stop(self, target: str, *, keep: bool = False) -> None:
        """Have processes not run, until they are started or (without `keep`) until the next boot; does not wait."""
        ...

    def restart(self, target: str) -> None:
        """Have processes replaced; does not wait."""
        ...

    def scale(self, target: str, processes: int) -> None:
        """Have so many processes of a worker until its file says another number than now; does not wait."""
        ...


class Engines(Protocol):
    """Finds the native engine."""

    def connect(self, socket: str) -> Engine:
        """Return the engine that listens on a socket; nothing is sent yet."""
        ...


class Started(Protocol):
    """A command that was started and is not waited for: it lives on when we end."""

    def line(self) -> str:
        """Wait for the next line that it prints and return it without its end, "" if there will be none."""
        ...

    def ended(self, seconds: float) -> Finished | None:
        """Return how it ended, and the outputs that nobody has read; None if it still runs after so many seconds."""
        ...


class CronDaemon(Protocol):
    """The cron daemon of this server."""

    def reader(self, cron_dir: str) -> int | None:
        """Return the pid of a running cron daemon that reads `cron_dir`, None if there is none."""
        ...

    def accepts(self, text: str) -> str | None:
        """Return what `crontab -n` complains about in a file with a user field, None if nothing or not checkable."""
        ...

    def announce(self, *paths: str) -> None:
        """Make sure that a running daemon sees files that were just written or removed; takes up to a second."""
        ...

    def start(self, argv: tuple[str, ...], cron_dir: str) -> Started:
        """Start a command of root as a line in `cron_dir` would be: session, environment, limits, without input."""
        ...

    def other_crontabs(self, own_path: str) -> dict[str, str]:
        """Return path and text of every crontab of this machine but our own file."""
        ...


class Boot(Protocol):
    """What is started at boot."""

    def starts(self, services: tuple[str, ...]) -> bool | None:
        """Tell whether one of these services (systemd units or init scripts) starts at boot; None: cannot tell."""
        ...
