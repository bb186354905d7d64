"""What keeper and engine say to each other, and what the manifest holds. Standard library only, no I/O.

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

import json
import marshal
import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin

VERSION = 1
MAX_MESSAGE = 128 * 1024
MAX_REQUEST = 2048
MAX_MANIFEST = 4 * 1024 * 1024
MAX_UNFORGOTTEN = 32
MAX_PROCESSES = 10_000
MARK = "SHIFTBOSS_RUN"

Scope = Literal["main", "group", "all"]
# Which step of a start failed. `unknown`, `busy`, `stopping`: the keeper refused. `pipe`, `fork`: the machine had no
# room (EMFILE, EAGAIN…). `stopped`: it ended before exec, by Stop, Kill or a stranger's signal. The others ran in the child: `directory` with ENOENT and `command` with ENOENT mean that
# there is nothing to run yet.
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
_ADDRESS = re.compile(r"[a-z0-9][a-z0-9_-]{0,26}/[a-z0-9][a-z0-9_-]{0,26}(#[a-z0-9][a-z0-9_-]{0,26})?")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,26}")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9+]{1,10}")
_CGROUP_FILE = re.compile(r"(memory|cpu|pids|io|blkio)(\.[a-z_]{1,30}){1,3}")
_CGROUP_VALUE = re.compile(r"[a-z0-9][a-z0-9 ]{0,40}")


class WireError(ValueError):
    """A message or a manifest is not as this page says; the text says what is wrong, without its content."""


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


Request = Sync | Spawn | Signal | Stop | Kill | Forget | Reload | Shutdown


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


class Grants(NamedTuple):
    """Who else than the project's own user has rights on it, by number: operators control it, viewers look at it."""

    operators: tuple[int, ...] = ()
    operator_groups: tuple[int, ...] = ()
    viewers: tuple[int, ...] = ()
    viewer_groups: tuple[int, ...] = ()


class Policy(NamedTuple):
    """What only the engine needs of an entry; the keeper passes it on without looking at it.

    `kind` is `worker`, `schedule` or `helper` (a command the engine runs for itself: health, only_if).
    `restart_limit` 0: it never gives up; else so many failed starts in a row make it FATAL.
    `exit_meanings`: exit code as text ("12") to plain words. `options`: the times and wishes of a schedule.
    `memory_soft_bytes`: a process that uses more is asked to start afresh, 0 for never. `grants`: the same in all
    entries of a project.
    """

    kind: str = "worker"
    preset: str = ""
    processes: int = 1
    start_seconds: float = 1.0
    restart: Literal["always", "on-failure", "never"] = "always"
    restart_limit: int = 0
    log_path: str = ""
    log_max_bytes: int = 10 * 1024 * 1024
    log_backups: int = 5
    log_total_bytes: int = 0
    memory_soft_bytes: int = 0
    exit_meanings: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default, never changed
    options: dict[str, Any] = {}  # noqa: RUF012 -- same
    grants: Grants = Grants()


class StopTerms(NamedTuple):
    """How a run is stopped: `signal` (without SIG) to `scope`, KILL after `wait_seconds`."""

    signal: str = "TERM"
    wait_seconds: float = 30.0
    scope: Scope = "group"


class Fallback(NamedTuple):
    """What is done for a limit where its cgroup controller (`memory`, `cpu`, `pids`, `io`) cannot be had.

    `rlimits`: as in Entry. `words`: one sentence part for people ("memory: each process may have 64 MiB by itself…").
    """

    controller: str
    rlimits: dict[str, tuple[int, int]]
    words: str


class Confinement(NamedTuple):
    """How a unit is bounded and shut in; made by core/isolation.py, applied by confine/limits.py and confine/isolation.py.

    `v2`, `v1`: file name to value in the unit's own cgroup (`memory.max`: the part before the point is the
    controller, v1 `blkio` being v2 `io`), in the order of writing; `budget_v2`, `budget_v1`: the same for the cgroup
    that holds all units of the project. `steps`: rows of words, see confine/isolation.py.
    """

    v2: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default, never changed
    v1: dict[str, str] = {}  # noqa: RUF012 -- same
    budget_v2: dict[str, str] = {}  # noqa: RUF012 -- same
    budget_v1: dict[str, str] = {}  # noqa: RUF012 -- same
    fallbacks: tuple[Fallback, ...] = ()
    nice: int = 0
    steps: tuple[tuple[str, ...], ...] = ()


class Entry(NamedTuple):
    """One unit of the manifest: what may run, as whom, with which limits.

    `argv[0]` with a slash is taken as it is (relative: to `directory`), without one it is looked up in `path` with
    the user's rights. `directory` is normally the project's `current` link; it is entered afresh at each start.
    `current` is the link whose target is the project's release. `env_file` is read with the user's rights
    (empty: none; missing: an empty one); `environment` wins over it. `rlimits`: name without RLIMIT_
    (NOFILE, AS…) to (soft, hard), -1 for no limit. `processes_max`: greatest process number that may be started.
    `revision` names the content of the fields that matter to a running process: if it differs, restart.
    """

    address: str
    argv: tuple[str, ...]
    user: str
    uid: int
    gid: int
    home: str
    directory: str
    current: str
    revision: str
    groups: tuple[int, ...] = ()
    shell: str = "/bin/sh"
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lang: str = "C.UTF-8"
    environment: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default, never changed
    env_file: str = ""
    umask: int = 0o022
    rlimits: dict[str, tuple[int, int]] = {}  # noqa: RUF012 -- same
    processes_max: int = 1
    confinement: Confinement = Confinement()
    stop: StopTerms = StopTerms()
    policy: Policy = Policy()

    @property
    def project(self) -> str:
        """The project's name."""
        return self.address.partition("/")[0]


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

_REQUESTS: dict[str, type[Request]] = {
    "sync": Sync,
    "spawn": Spawn,
    "signal": Signal,
    "stop": Stop,
    "kill": Kill,
    "forget": Forget,
    "reload": Reload,
    "shutdown": Shutdown,
}
_REPORTS: dict[str, type[Report]] = {
    "hello": Hello,
    "offer": Offer,
    "manifest": Manifest,
    "release": Release,
    "spawned": Spawned,
    "held": Held,
    "spawn_failed": SpawnFailed,
    "exited": Exited,
    "gone": Gone,
    "stopping": Stopping,
    "refused": Refused,
    "synced": Synced,
}
_TYPES = {kind: name for name, kind in (*_REQUESTS.items(), *_REPORTS.items())}
_to_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder each time
_T = TypeVar("_T", bound=tuple[Any, ...])
_MOST_SHARED = 256  # values of one kind that are remembered to be shared
_JSON_BYTES = 6  # at most, for a byte of marshal: "\u0000"
_DEFAULTS_BYTES = 4096  # what the fields that a row leaves out take at most


def encode(message: Request | Report) -> bytes:
    """Return the bytes of one message."""
    plain = _plain(message) if not isinstance(message, Offer) else _plain_offer(message)
    return _to_json({"type": _TYPES[type(message)], **plain}).encode()


def decode_request(raw: bytes) -> Request:
    """Read what an engine sent; raise WireError for anything that is not exactly a request."""
    if len(raw) > MAX_REQUEST:
        raise WireError("the request is too long")
    table = _object(raw)
    kind = _REQUESTS.get(str(table.pop("type", "")))
    if kind is None:
        raise WireError("the request has no known type")
    request: Request = _read(kind, table, strict=True)
    if isinstance(request, Spawn | Signal | Stop | Kill | Forget):
        _check_key(request)
    if isinstance(request, Signal):
        check_signal_name(request.signal)
    return request


def decode_report(raw: bytes) -> Report:
    """Read what a keeper sent; raise WireError if it cannot be understood. Unknown fields are passed over."""
    table = _object(raw)
    kind = _REPORTS.get(str(table.pop("type", "")))
    if kind is None:
        raise WireError("the report has no known type")
    return _read(kind, table, strict=False)


# ---- manifest: a directory with one file for each project, `<project>.json`


def manifest_text(project: str, entries: tuple[Entry, ...]) -> str:
    """Return the text of `<project>.json`, entries sorted by address."""
    rows = [_plain(entry) for entry in sorted(entries, key=lambda entry: entry.address)]
    return json.dumps({"version": VERSION, "project": project, "entries": rows}, indent=1) + "\n"


def read_manifest(raw: bytes, project: str, known: dict[int, Entry] | None = None) -> tuple[Entry, ...]:
    """Read `<project>.json`; raise WireError if any of it is not as it must be.

    An entry that `known` has, by the hash of its row, is returned as it is, without being looked at again; `known`
    gets those that it lacks. Reading a file of 500 entries of which one is new takes a tenth of the time then.
    """
    if len(raw) > MAX_MANIFEST:
        raise WireError(f"the file is longer than {MAX_MANIFEST} bytes")
    table = _object(raw)
    if table.get("version") != VERSION:
        raise WireError(f"the version is not {VERSION}: written by another shiftboss")
    rows = table.get("entries")
    if table.get("project") != project or not isinstance(rows, list):
        raise WireError(f"this is not the manifest of {project}")
    entries = tuple(_known_entry(row, project, {} if known is None else known) for row in rows)
    if len({entry.address for entry in entries}) != len(entries):
        raise WireError("two entries have one address")
    return entries


def revision(entry: Entry) -> str:
    """Return the content hash of what a running process was started with (16 hex digits).

    Stop terms, policy and the greatest number of processes take effect without a restart.
    """
    import hashlib  # costs 3 MB and 4 ms: the keeper, which never calls this, shall not pay for it

    started_with = entry._replace(revision="", processes_max=1, stop=StopTerms(), policy=Policy())
    return hashlib.sha256(json.dumps(_plain(started_with), sort_keys=True).encode()).hexdigest()[:16]


def fingerprint(entry: Entry) -> int:
    """Return a checksum of everything in the entry but its secrets, which are in `revision` too.

    Two entries that say the same have the same one, before and after they went over the wire.
    """
    return zlib.crc32(json.dumps(without_secrets(entry), sort_keys=True).encode())


def with_revision(entry: Entry) -> Entry:
    """Return the entry with the `revision` that its content has."""
    return entry._replace(revision=revision(entry))


def without_secrets(entry: Entry) -> Entry:
    """Return the entry as the engine may see it."""
    return entry._replace(environment={})


def step_of(name: str) -> Step:
    """Return the step of that name, `internal` if there is none."""
    return cast(Step, name) if name in get_args(Step) else "internal"


def is_project(name: str) -> bool:
    """Tell whether `name` may be the name of a project (and of a manifest file)."""
    return _PROJECT.fullmatch(name) is not None


def check_signal_name(name: str) -> None:
    """Raise WireError unless `name` looks like a signal's name without SIG."""
    if not _SIGNAL.fullmatch(name) or name.startswith("SIG"):
        raise WireError("that is not the name of a signal")


def _known_entry(row: object, project: str, known: dict[int, Entry]) -> Entry:
    text = _content(row)
    key = hash((project, text))  # siphash, 64 bits, keyed for each process
    if key not in known:
        known[key] = _entry(row, project, len(text))
    return known[key]


def _content(value: object) -> bytes:
    """Return bytes that are the same for the same JSON value; a quarter of the time that its JSON takes."""
    return marshal.dumps(value, 2)  # type: ignore[arg-type]  # it came from JSON; later versions tell apart what is referred to twice


def _entry(row: object, project: str, size: int) -> Entry:
    if not isinstance(row, dict):
        raise WireError("an entry is not an object")
    entry = _read(Entry, row, strict=False)
    shown = entry.address if _ADDRESS.fullmatch(entry.address) else "an entry"
    if shown == "an entry" or entry.project != project:
        raise WireError(f"{shown} does not belong to {project}")
    _check_entry(entry, shown)
    may_be_long = size * _JSON_BYTES + _DEFAULTS_BYTES > MAX_MESSAGE - 1024
    if may_be_long and len(json.dumps(_plain(without_secrets(entry)))) > MAX_MESSAGE - 1024:
        raise WireError(f"{shown} is longer than {MAX_MESSAGE - 1024} bytes")
    return entry


def _check_entry(entry: Entry, shown: str) -> None:
    check_signal_name(entry.stop.signal)
    words = (*entry.argv, *entry.environment, *entry.environment.values(), *_texts(entry))
    checks = (
        (bool(entry.argv) and bool(entry.argv[0]), "has no command"),
        (all("\0" not in word for word in words), "contains a NUL"),
        (all(name and "=" not in name for name in entry.environment), "has a variable without a name"),
        (_absolute(entry.directory, entry.current, entry.home, entry.env_file or "/"), "has a relative path"),
        (0 <= entry.uid < 2**32 - 1 and 0 <= entry.gid < 2**32 - 1, "has an impossible uid or gid"),
        (all(0 <= gid < 2**32 - 1 for gid in entry.groups), "has an impossible group"),
        (
            all(0 <= number < 2**32 - 1 for numbers in entry.policy.grants for number in numbers),
            "has an impossible operator or viewer",
        ),
        (0 <= entry.umask <= 0o777, "has an impossible umask"),
        (1 <= entry.processes_max <= MAX_PROCESSES, f"has not 1 to {MAX_PROCESSES} processes"),
        (0 <= entry.stop.wait_seconds <= 86_400, "waits more than a day"),
        (all(map(_is_rlimit, entry.rlimits.values())), "has a wrong rlimit"),
        (_is_confinement(entry.confinement), "has a wrong limit or isolation"),
    )
    for right, wrong in checks:
        if not right:
            raise WireError(f"{shown} {wrong}")


def _is_rlimit(pair: tuple[int, int]) -> bool:
    return min(pair) >= -1 and max(pair) < 2**63


def _is_confinement(confinement: Confinement) -> bool:
    """Tell whether every name is that of a controller's file and no word can break out of its line."""
    tables = (confinement.v2, confinement.v1, confinement.budget_v2, confinement.budget_v1)
    rlimits = [pair for fallback in confinement.fallbacks for pair in fallback.rlimits.values()]
    return (
        all(_CGROUP_FILE.fullmatch(name) for table in tables for name in table)
        and all(_CGROUP_VALUE.fullmatch(value) for table in tables for value in table.values())
        and all(map(_is_rlimit, rlimits))
        and -20 <= confinement.nice <= 19
        and all(step and all("\0" not in word for word in step) for step in confinement.steps)
    )


def _texts(entry: Entry) -> tuple[str, ...]:
    return (
        entry.user,
        entry.home,
        entry.directory,
        entry.current,
        entry.shell,
        entry.path,
        entry.lang,
        entry.env_file,
    )


def _absolute(*paths: str) -> bool:
    return all(path.startswith("/") for path in paths)


def _check_key(request: Spawn | Signal | Stop | Kill | Forget) -> None:
    if not _ADDRESS.fullmatch(request.entry):
        raise WireError("that is not the address of an entry")
    if not (1 <= request.process <= MAX_PROCESSES and 1 <= request.run < 2**53):
        raise WireError("process or run is out of range")


# ---- JSON <-> NamedTuple, by the annotations

_ATOMS = frozenset((str, int, float, bool, type(None)))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError):
        raise WireError("not valid JSON") from None
    if not isinstance(table, dict):
        raise WireError("not a JSON object")
    return table


def _plain(value: Any) -> Any:
    if type(value) in _ATOMS:
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: _plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _plain_offer(offer: Offer) -> dict[str, Any]:
    """Return an offer without what has its default: most of an entry has. A default that changes is a new VERSION."""
    return {"serial": offer.serial, "entry": _spare(offer.entry)}


def _spare(value: Any) -> dict[str, Any]:
    defaults = value._field_defaults
    return {
        name: _spare(item) if isinstance(item, Policy) else item if isinstance(item, dict) else _plain(item)
        for name, item in zip(value._fields, value, strict=True)
        if name not in defaults or item != defaults[name]
    }


def _read(kind: type[_T], table: Mapping[str, Any], *, strict: bool) -> _T:
    fields = _fields(kind)
    if strict and not table.keys() <= fields.keys():
        raise WireError(f"{kind.__name__} has an unknown field")
    values = {name: read(table[name], name) for name, read in fields.items() if name in table}
    try:
        return kind(**values)
    except TypeError:
        raise WireError(f"{kind.__name__} lacks a field") from None


_Reader = Callable[[Any, str], Any]
"""Returns a JSON value (of the field of that name) as its annotation has it; raises WireError if it is of another type."""


@cache
def _fields(kind: type[tuple[Any, ...]]) -> dict[str, _Reader]:
    return {name: _reader(wanted) for name, wanted in kind.__annotations__.items()}


def _reader(wanted: Any) -> _Reader:
    """Return the reader of an annotation."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return lambda value, _name: value
    if isinstance(wanted, UnionType):  # X | None
        return _optional(_reader(inside[0]))
    if origin is Literal:
        return _literal(inside)
    if origin in (tuple, dict):
        return _shared(_tuple(inside) if origin is tuple else _dict(_reader(inside[1])))
    if hasattr(wanted, "_fields"):
        read = _named(wanted)
        return _shared(read) if wanted in (Confinement, StopTerms, Grants) else read
    return _text() if wanted is str else _atom(wanted)


def _shared(read: _Reader) -> _Reader:
    """Return the reader that makes equal values one object: entries are much alike, ten thousand of them shall be small."""
    known: dict[int, Any] = {}

    def shared(value: Any, name: str) -> Any:
        key = hash(_content(value))  # siphash, 64 bits, keyed for each process
        found = known.get(key)
        if found is None:
            found = read(value, name)
            if len(known) >= _MOST_SHARED:
                known.clear()
            known[key] = found
        return found

    return shared


def _text() -> _Reader:
    known: dict[str, str] = {}  # equal ones are one object, as in _shared

    def read(value: Any, name: str) -> Any:
        if type(value) is not str:
            raise _wrong_type(name)
        if len(known) >= _MOST_SHARED:
            known.clear()
        return known.setdefault(value, value)

    return read


def _atom(wanted: type) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if wanted is float and type(value) is int and abs(value) < 2**53:
            return float(value)
        if type(value) is not wanted or value in (float("inf"), float("-inf")) or value != value:
            raise _wrong_type(name)
        return value

    return read


def _literal(words: tuple[Any, ...]) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, str) or value not in words:
            raise _wrong_type(name)
        return value

    return read


def _optional(inner: _Reader) -> _Reader:
    return lambda value, name: None if value is None else inner(value, name)


def _named(kind: type[_T]) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong_type(name)
        return _read(kind, value, strict=False)

    return read


def _dict(inner: _Reader) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong_type(name)
        return {key: inner(item, name) for key, item in value.items()}

    return read


def _tuple(inside: tuple[Any, ...]) -> _Reader:
    each = [_reader(kind) for kind in inside if kind is not Ellipsis]
    is_open = inside[-1] is Ellipsis

    def read(value: Any, name: str) -> Any:
        if not isinstance(value, list):
            raise _wrong_type(name)
        if not is_open and len(value) != len(each):
            raise WireError(f"{name} has the wrong length")
        return tuple(
            inner(item, name)
            for inner, item in zip(each * len(value) if is_open else each, value, strict=True)
        )

    return read


def _wrong_type(name: str) -> WireError:
    return WireError(f"{name} has the wrong type")
