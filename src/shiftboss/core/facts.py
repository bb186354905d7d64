"""Facts about the machine as values, and the questions that are answered with them.

Backends ask (a `Query` is a value), `host/` answers; nothing here reads anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PathType = Literal["directory", "file", "link", "other"]


@dataclass(frozen=True, slots=True)
class PathFacts:
    """Owner, group, permission bits (07777) and type of a path; links are not followed."""

    uid: int
    gid: int
    mode: int
    type: PathType


@dataclass(frozen=True, slots=True)
class ProcessFacts:
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


@dataclass(frozen=True, slots=True)
class SupervisorFacts:
    """The running Supervisor: its version, the uid it runs as, and all its processes, sorted by name."""

    version: str
    uid: int
    processes: tuple[ProcessFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel says of one process: its parent, resident memory, CPU since its start (100 = one core)."""

    pid: int
    parent: int
    memory_bytes: int
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Listener:
    """The process that listens on a TCP port."""

    pid: int
    user: str
    command: str


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: exit status as a shell reports it, and what it printed."""

    status: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Ask for the text of one file. Answer: `str`, or None if there is no such file."""

    path: str


@dataclass(frozen=True, slots=True)
class ReadMatching:
    """Ask for the text of all regular files in a directory whose name matches a glob.

    Answer: `dict[str, str]`, path to text. A directory that does not exist raises HostError when asked.
    """

    directory: str
    pattern: str


@dataclass(frozen=True, slots=True)
class StatPath:
    """Ask who owns a path. Answer: `PathFacts`, or None if there is nothing."""

    path: str


@dataclass(frozen=True, slots=True)
class AskSupervisor:
    """Ask the running Supervisor for everything. Answer: `SupervisorFacts`; HostError if it does not answer."""


Query = ReadFile | ReadMatching | StatPath | AskSupervisor

# One answer for each query, of the type that the query's docstring names.
Answers = Mapping[Query, object]
