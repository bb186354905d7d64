"""Facts about the machine as values, and the questions that are answered with them.

Backends ask (a `Query` is a value), `host/` answers; nothing here reads anything.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from shiftboss.core.spec import Schedule

PathType = Literal["directory", "file", "link", "other"]


class PathFacts(Struct, frozen=True):
    """Owner, group, permission bits (07777) and type of a path; links are not followed."""

    uid: int
    gid: int
    mode: int
    type: PathType


class GroupFacts(Struct, frozen=True):
    """A Unix group. `members` are all its users by name: those listed, and those who have it as primary group."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


class ProcessFacts(Struct, frozen=True):
    """One process as Supervisor reports it (XML-RPC getProcessInfo); times are epoch seconds, 0 for never."""

    group: str
    name: str
    state: str
    pid: int = 0
    started: int = 0
    stopped: int = 0
    now: int = 0
    exit_status: int = 0
    spawn_error: str = ""


class SupervisorFacts(Struct, frozen=True):
    """The running Supervisor: its version, the uid it runs as, all its processes, sorted by name, and its pid."""

    version: str
    uid: int
    processes: tuple[ProcessFacts, ...] = ()
    pid: int = 0


class ProcessUse(Struct, frozen=True):
    """What a process and all that it started use; None: it cannot be told. `cpu_seconds` since its start."""

    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    tasks: int | None = None


class LaunchedFacts(Struct, frozen=True):
    """What the cgroup of a process that the launcher started tells: its use, and how often memory ran out in this run.

    `limit_bytes`, `peak_bytes`: of memory. `own_limit`: its own was reached, else its project's or the machine's.
    """

    use: ProcessUse
    killed: int = 0
    own_limit: bool = False
    limit_bytes: int | None = None
    peak_bytes: int | None = None


class Launcher(Struct, frozen=True):
    """Who watches over a run: pid, its start in ticks since boot, and which boot that was."""

    pid: int
    since: int
    boot: str


class SpooledRun(Struct, frozen=True):
    """One occurrence that cron started. Times are seconds since the epoch.

    `outcome`: as of any schedule, None while it runs. `began` None: it did not run. `output`: the end of what a run
    that went wrong has written. `cause`: who asked for it ("by root"), "" if its time had come.
    """

    run: int
    due: int
    outcome: str | None
    reason: str = ""
    began: float | None = None
    ended: float | None = None
    exit_status: int | None = None
    memory_bytes: int | None = None
    output: str = ""
    cause: str = ""


class EngineProcess(Struct, frozen=True):
    """One process as the native engine tells it. `up`: it is wanted to run; `deleted`: its release is gone.

    `notes`: what of its limits and isolation cannot be had. `use`: if it was asked for.
    """

    number: int
    state: str
    up: bool = True
    pid: int | None = None
    uptime_seconds: float | None = None
    restarts: int = 0
    stale: bool = False
    deleted: bool | None = False
    reason: str | None = None
    notes: tuple[str, ...] = ()
    use: ProcessUse | None = None


class EngineUnit(Struct, frozen=True):
    """One unit that the native engine has. `fingerprint` and `revision` name the entry that it goes by.

    `trouble`: why its log is not written as it should be. `override`: number of processes by a live scale.
    """

    address: str
    fingerprint: int
    revision: str
    processes: tuple[EngineProcess, ...] = ()
    override: int | None = None
    trouble: str | None = None


class EngineSchedule(Struct, frozen=True):
    """One schedule that the native engine has; times are seconds since the epoch.

    `when`: its times in words; `running`: runs that live; `paused`: by whom; `trouble`: why it is stopped, or cannot run at all. `due`, `began`,
    `ended`, `outcome`, `exit_status`, `reason` are of the last occurrence that has an outcome.
    """

    address: str
    when: str = ""
    command: tuple[str, ...] = ()
    next: int | None = None
    running: int = 0
    paused: str = ""
    trouble: str = ""
    due: int | None = None
    began: float | None = None
    ended: float | None = None
    outcome: str | None = None
    exit_status: int | None = None
    reason: str = ""


class EngineFacts(Struct, frozen=True):
    """The running native engine: its units, and what is wrong with itself (sentences).

    `controllers`: who holds limits of `memory`, `cpu`, `pids` and `io` there, `v2` or `v1`; None: not known.
    """

    version: str
    units: tuple[EngineUnit, ...] = ()
    troubles: tuple[str, ...] = ()
    controllers: Mapping[str, str] | None = None


class EngineAccount(Struct, frozen=True):
    """As whom the native engine runs on this machine, by number; it owns the log directories of its units."""

    uid: int
    gid: int


class Usage(Struct, frozen=True):
    """What the kernel says of one process: its parent, resident memory, CPU since its start (100 = one core)."""

    pid: int
    parent: int
    memory_bytes: int
    cpu_percent: float


class Running(Struct, frozen=True):
    """A living process: its parent, the user id it runs as, its words and its directory ("" if they cannot be seen)."""

    pid: int
    parent: int
    uid: int
    argv: tuple[str, ...]
    directory: str = ""


class Listener(Struct, frozen=True):
    """The process that listens on a TCP port."""

    pid: int
    user: str
    command: str


class Finished(Struct, frozen=True):
    """How a program ended: exit status as a shell reports it, and what it printed."""

    status: int
    stdout: str = ""
    stderr: str = ""


class ReadFile(Struct, frozen=True):
    """Ask for the text of one file. Answer: `str`, or None if there is no such file."""

    path: str


class ReadMatching(Struct, frozen=True):
    """Ask for the text of all regular files in a directory whose name matches a glob.

    Answer: `dict[str, str]`, path to text. A directory that does not exist raises HostError when asked.
    """

    directory: str
    pattern: str


class StatPath(Struct, frozen=True):
    """Ask who owns a path. Answer: `PathFacts`, or None if there is nothing."""

    path: str


class AskSupervisor(Struct, frozen=True):
    """Ask the running Supervisor for everything. Answer: `SupervisorFacts`; HostError if it does not answer."""


class AskEngine(Struct, frozen=True):
    """Ask the native engine for everything. Answer: `EngineFacts`, None if it does not run."""


class FindGround(Struct, frozen=True):
    """Ask what there is to bound and to isolate units. Answer: `core.limits.Ground`."""


class FindRepeats(Struct, frozen=True):
    """Ask whether tasks inside a schedule repeat within its minute. Answer: why they do or may, "" if none does."""

    schedule: Schedule


class FindEngineAccount(Struct, frozen=True):
    """Ask as whom the native engine runs. Answer: `EngineAccount`."""


class FindLauncher(Struct, frozen=True):
    """Ask for the command that starts a unit confined (`launcher/main.py`). Answer: a tuple of its first words."""


Query = (
    ReadFile
    | ReadMatching
    | StatPath
    | AskSupervisor
    | AskEngine
    | FindEngineAccount
    | FindRepeats
    | FindGround
    | FindLauncher
)

# One answer for each query, of the type that the query's docstring names.
Answers = Mapping[Query, object]
