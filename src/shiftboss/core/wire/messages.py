"""What keeper and engine say to each other, one NamedTuple for each message. Standard library only, no I/O.

The socket is a SOCK_SEQPACKET pair which the keeper makes before it forks the engine; the engine gets its
end as `--keeper-fd N`. One message is one JSON object `{"type": "spawn", ...}` of at most `MAX_MESSAGE`
bytes, with at most one descriptor (SCM_RIGHTS). End of file at the engine's end: the keeper is dead, start
nothing more.

A process is named by (entry, process, run): the entry's address (`myapp/queue`, `myapp/queue#health`), the
number of the process from 1, and a run number that the engine chooses, greater at each start of that process.

Engine -> keeper, all of them safe to repeat:

    Sync      tell me everything; also after a descriptor or message was missed. Answer, in this order:
              Hello + api socket, one Offer for each entry, Manifest, one Release for each project, one Held
              (or SpawnFailed) for each run that is not forgotten (+ its output pipe), Synced.
    Spawn     start a run. Answer: Spawned + output pipe, or SpawnFailed. One that is known already is
              answered by its Held. Refused (SpawnFailed, step `busy`) while an earlier run of the same process
              is not Gone, or more than `MAX_UNFORGOTTEN` of its runs wait for Forget.
    Signal    send a signal once, to the main process, its group, or all that it started.
    Stop      the unit's own stop: its signal to its scope, KILL to everything after its wait, until Gone.
    Kill      KILL to everything that the run started, until Gone. May follow Stop.
    Forget    the exit (or the failed start) is stored and the output is read: drop both. Before Gone it is
              remembered until then.
    Reload    read the manifest again. Answer: Offers, Manifest.
    Shutdown  stop everything and end.

Stop, Kill and Signal of a run that the keeper does not know are answered by Gone.

Keeper -> engine: the NamedTuples below. Nothing comes before the first Sync. A message that could not be sent
is sent when the socket has room: order is kept for each run (Spawned, Exited, Gone), not between runs.
Exited may say `gone` already, then no Gone follows; without it something the process started still lives: the
engine decides (usually Kill), and Gone comes when the last has ended.

All times are CLOCK_MONOTONIC seconds (`time.monotonic()`), which every process of one boot shares.
"""

from typing import Literal, NamedTuple, cast, get_args

from shiftboss.core.wire.entry import Entry, Scope

MAX_UNFORGOTTEN = 32

# Which step of a start failed. `unknown`, `busy`, `stopping`: the keeper refused. `pipe`, `fork`: the machine had no
# room (EMFILE, EAGAIN…). `stopped`: it ended before exec, by Stop, Kill or a stranger's signal. The others ran in the
# child: `directory` with ENOENT and `command` with ENOENT mean that there is nothing to run yet.
Step = Literal[
    "unknown",
    "busy",
    "stopping",
    "pipe",
    "fork",
    "cgroup",
    "session",
    "rlimits",
    "isolation",
    "umask",
    "groups",
    "gid",
    "uid",
    "directory",
    "env_file",
    "signals",
    "command",
    "exec",
    "stopped",
    "internal",
]


# ---- engine -> keeper


class Sync(NamedTuple):
    """Tell everything again."""


class Spawn(NamedTuple):
    """Start a run of a process of a manifest entry."""

    entry: str
    process: int
    run: int


class Signal(NamedTuple):
    """Send `signal` (a name without SIG: TERM, HUP, USR1…) once."""

    entry: str
    process: int
    run: int
    signal: str
    scope: Scope = "main"


class Stop(NamedTuple):
    """Stop a run and everything it started, as its entry says."""

    entry: str
    process: int
    run: int


class Kill(NamedTuple):
    """KILL a run and everything it started."""

    entry: str
    process: int
    run: int


class Forget(NamedTuple):
    """Drop the exit status and the output pipe of a run that has ended."""

    entry: str
    process: int
    run: int


class Reload(NamedTuple):
    """Read the manifest again."""


class Shutdown(NamedTuple):
    """Stop everything and end the keeper."""


OfRun = Spawn | Signal | Stop | Kill | Forget
Request = Sync | OfRun | Reload | Shutdown


# ---- keeper -> engine


class Hello(NamedTuple):
    """First answer to Sync, with the listening api socket as its descriptor.

    `instance` marks everything of this installation (it stays the same for one state directory). `degraded`
    are sentences about what this machine does not allow (no cgroups, no subreaper…). `started`: since when this
    keeper lives (monotonic); with its pid that names its life. `controllers`: who holds limits of
    `memory`, `cpu`, `pids` and `io` here, `v2` or `v1`; one that is left out is held by no cgroup.
    """

    version: int
    instance: str
    pid: int
    api_path: str
    degraded: tuple[str, ...] = ()
    started: float = 0.0
    controllers: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default, never changed


class Offer(NamedTuple):
    """An entry that may be started. `environment` is left out: secrets do not reach the engine.

    Offers with the `serial` of a Manifest are that manifest; other serials are out of date.
    """

    serial: int
    entry: Entry


class Manifest(NamedTuple):
    """All `total` Offers of `serial` have been sent: this is what may run now.

    Unless `base` is 0 only what differs from that earlier manifest was offered; `removed` are the addresses that are
    no more, and the rest stays. `errors`: file name (such as `myapp.json`) to what is wrong with it; its earlier
    entries stay valid.
    """

    serial: int
    total: int
    errors: dict[str, str]
    base: int = 0
    removed: tuple[str, ...] = ()


class Release(NamedTuple):
    """Where the `current` link of a project leads now (empty: nowhere)."""

    project: str
    path: str


class Exit(NamedTuple):
    """How a main process ended. `code`: exit code, or minus the signal's number.

    `sent` is the name of the last signal the keeper sent to it ("" none). Memory is the greatest resident size.
    """

    code: int
    at: float
    sent: str
    core_dumped: bool
    user_seconds: float
    system_seconds: float
    max_rss_bytes: int


class Spawned(NamedTuple):
    """The program has replaced the child (execve succeeded); comes with the read end of its output pipe.

    `release`: the directory it runs in, links resolved after the chdir. `cgroup`: path of its cgroup ("" none).
    `notes`: what could not be done as wished (a hard limit that cannot be raised). `groups`: the directories that
    count and bound what it uses, one for each hierarchy (see confine/usage.py); none: nothing counts it.
    """

    entry: str
    process: int
    run: int
    pid: int
    started: float
    release: str
    revision: str
    cgroup: str = ""
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Held(NamedTuple):
    """A run the keeper holds, with its output pipe. `exit` None: alive. `gone`: nothing it started lives."""

    entry: str
    process: int
    run: int
    pid: int
    started: float
    release: str
    revision: str
    cgroup: str = ""
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    stopping: bool = False
    exit: Exit | None = None
    gone: bool = False


class SpawnFailed(NamedTuple):
    """The run did not come to be. `words`: one plain sentence part ("cannot enter /x: Permission denied").

    It is kept and repeated at Sync until Forget.
    """

    entry: str
    process: int
    run: int
    step: Step
    errno: int
    words: str


class Exited(NamedTuple):
    """The main process has ended; kept until Forget."""

    entry: str
    process: int
    run: int
    exit: Exit
    gone: bool


class Gone(NamedTuple):
    """Nothing that the run started is left."""

    entry: str
    process: int
    run: int


class Stopping(NamedTuple):
    """The keeper is stopping everything and starts nothing more; end after the last Gone or at end of file."""


class Refused(NamedTuple):
    """A request was not understood or not allowed; nothing was done."""

    words: str


class Synced(NamedTuple):
    """All that Sync asked for has been sent."""


Report = (
    Hello
    | Offer
    | Manifest
    | Release
    | Spawned
    | Held
    | SpawnFailed
    | Exited
    | Gone
    | Stopping
    | Refused
    | Synced
)


def step_of(name: str) -> Step:
    """Return the step of that name, `internal` if there is none."""
    return cast(Step, name) if name in get_args(Step) else "internal"
