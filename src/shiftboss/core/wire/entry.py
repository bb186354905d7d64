"""What a unit of the manifest says, and what is derived from it. Standard library only, no I/O.

The keeper reads entries from the manifest (core/wire/manifest.py) and offers them to the engine, without their
secrets, one in a message (core/wire/messages.py).
"""

import json
import re
import zlib
from typing import Any, Literal, NamedTuple

from shiftboss.core.wire.values import WireError, plain, share

VERSION = 1  # of the manifest and of the messages; a default below that changes is a new one
MAX_MESSAGE = 128 * 1024
MAX_PROCESSES = 10_000

Scope = Literal["main", "group", "all"]
_ADDRESS = re.compile(r"[a-z0-9][a-z0-9_-]{0,26}/[a-z0-9][a-z0-9_-]{0,26}(#[a-z0-9][a-z0-9_-]{0,26})?")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,26}")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9+]{1,10}")


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


share(Confinement, StopTerms, Grants)  # entries are much alike, ten thousand of them shall be small


def revision(entry: Entry) -> str:
    """Return the content hash of what a running process was started with (16 hex digits).

    Stop terms, policy and the greatest number of processes take effect without a restart.
    """
    import hashlib  # costs 3 MB and 4 ms: the keeper, which never calls this, shall not pay for it

    started_with = entry._replace(revision="", processes_max=1, stop=StopTerms(), policy=Policy())
    return hashlib.sha256(json.dumps(plain(started_with), sort_keys=True).encode()).hexdigest()[:16]


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


def is_address(text: str) -> bool:
    """Tell whether `text` may be the address of an entry."""
    return _ADDRESS.fullmatch(text) is not None


def is_project(name: str) -> bool:
    """Tell whether `name` may be the name of a project (and of a manifest file)."""
    return _PROJECT.fullmatch(name) is not None


def check_signal_name(name: str) -> None:
    """Raise WireError unless `name` looks like a signal's name without SIG."""
    if not _SIGNAL.fullmatch(name) or name.startswith("SIG"):
        raise WireError("that is not the name of a signal")
