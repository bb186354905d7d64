"""What can be asked of the engine: one table of calls with request, reply and access. No I/O.

Transport: a unix socket, JSON lines. A request is `{"id": 1, "call": "status", "args": {...}}`; its answer
`{"id": 1, "reply": {...}}` or `{"id": 1, "error": {"kind", "message", "hint"}}`. A call that streams answers
first, then sends `{"id": 1, "item": {...}}` until one side closes. Who asks is known from the socket's peer
credentials, what they may from the table's `access` (core/access.py). Times in `at`, `started`, `ended` are seconds since the epoch; durations are seconds.

It is one file because a row and its types change together.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from shiftboss.core.access import Access  # all messages of the keeper come with it: no client needs them

VERSION = 1
MAX_REQUEST = 64 * 1024
MAX_WAIT_SECONDS = 86_400.0

ErrorKind = Literal["user", "host", "denied", "bug"]
Wait = Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)]
Targets = Annotated[tuple[Annotated[str, Meta(max_length=80)], ...], Meta(max_length=1000)]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request: unknown fields are errors."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A reply or a part of one: fields may be added later. Never part of a cycle: a collection need not look at it."""


# ---- requests


class Nothing(Struct, frozen=True):
    """No arguments."""


class Select(Struct, frozen=True):
    """What it is about: addresses (`myapp`, `myapp/queue`, `myapp/queue:2`); none: everything.

    `usage` (status only): also what each process uses; costs some reads of files for each.
    """

    targets: Targets = ()
    usage: bool = False


class Act(Struct, frozen=True):
    """Start, stop or restart. The answer comes when all is settled, at the latest after `wait_seconds`.

    Settled: running for its start seconds, or failed, or waiting; for stop: nothing of it left. `keep`: a stop
    that survives a reboot.
    """

    targets: Targets
    wait_seconds: Wait = 0
    keep: bool = False


class Scale(Struct, frozen=True):
    """Run so many processes of one worker, whatever the file says, until the file says something else."""

    target: Annotated[str, Meta(max_length=80)]
    processes: Annotated[int, Meta(ge=0, le=10_000)]
    wait_seconds: Wait = 0


class Reload(Struct, frozen=True):
    """Read the manifest again and change what differs, nothing else."""

    wait_seconds: Wait = 0


class History(Struct, frozen=True):
    """Past events, newest first. `kinds` empty: all; `since`: seconds since the epoch; `before`: an event's id."""

    targets: Targets = ()
    kinds: Annotated[tuple[Annotated[str, Meta(max_length=20)], ...], Meta(max_length=20)] = ()
    since: float = 0
    before: int = 0
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


class Logs(Struct, frozen=True):
    """The last lines of each target's log (at most `lines`), and new ones as they come if `follow`."""

    targets: Targets = ()
    lines: Annotated[int, Meta(ge=0, le=10_000)] = 10
    follow: bool = False


class Occurrences(Struct, frozen=True):
    """Past and open occurrences of schedules, newest first. `outcomes` empty: all, also those without one.

    `since`, `until`: those due in that time, both included, in seconds since the epoch; 0: without a bound. `since`
    alone: also those that have ended since.
    """

    targets: Targets = ()
    outcomes: Annotated[tuple[Annotated[str, Meta(max_length=20)], ...], Meta(max_length=10)] = ()
    since: float = 0
    until: float = 0
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


class RunNow(Struct, frozen=True):
    """Run a schedule now. The answer comes with the outcome, at the latest after `wait_seconds`."""

    target: Annotated[str, Meta(max_length=80)]
    wait_seconds: Wait = 0


class RunLog(Struct, frozen=True):
    """The output of one run of a schedule, as far as its log still has it."""

    target: Annotated[str, Meta(max_length=80)]
    run: Annotated[int, Meta(ge=1)]


# ---- replies


class ProcessUse(Answer, frozen=True):
    """What a process and all that it started use, by its cgroup or by /proc; None: this machine does not tell.

    `memory_bytes` counts the page cache where a cgroup counts, `working_bytes` not what the kernel can drop.
    `cpu_seconds` since its start, of which it stood still `throttled_seconds` because of its share.
    """

    memory_bytes: int | None = None
    working_bytes: int | None = None
    peak_bytes: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    tasks: int | None = None


class ProcessStatus(Answer, frozen=True, omit_defaults=True):
    """One process. `state` is a state of the lifecycle; `stale`: it runs an older release than `current`.

    `deleted`: its release is no longer there (None: the engine may not look). `reason`: why it is not, or last
    ended, as it did. `next_start_seconds`: in BACKOFF and WAITING.
    """

    process: int
    state: str
    wish: Literal["up", "down"]
    run: int
    pid: int | None = None
    uptime_seconds: float | None = None
    restarts: int = 0
    failures: int = 0
    stale: bool = False
    deleted: bool | None = False
    release: str | None = None
    reason: str | None = None
    next_start_seconds: float | None = None
    notes: tuple[str, ...] = ()
    use: ProcessUse | None = None


class UnitStatus(Answer, frozen=True):
    """One unit. `wanted`: processes that should exist; `override`: by a live scale, else None.

    `fingerprint`: checksum of the manifest's entry that the engine goes by (core/wire/entry.py), `revision`: of
    that part of it that needs a restart when it changes.
    """

    address: str
    fingerprint: int
    revision: str
    kind: str
    preset: str
    user: str
    command: tuple[str, ...]
    log: str
    wanted: int
    override: int | None
    processes: tuple[ProcessStatus, ...]
    log_trouble: str | None = None


class ProjectStatus(Answer, frozen=True):
    """One project: where `current` leads ("" nowhere), and its units."""

    name: str
    user: str
    release: str
    units: tuple[UnitStatus, ...]


class Status(Answer, frozen=True):
    """Everything selected, and what is wrong with the backend itself (`troubles`, sentences).

    `controllers`: who holds limits here, as in the keeper's `Hello`.
    """

    version: str
    projects: tuple[ProjectStatus, ...]
    troubles: tuple[str, ...] = ()
    controllers: dict[str, str] = {}


class ProcessChange(Answer, frozen=True):
    """What a start, stop, restart, scale or reload did to one process."""

    target: str
    state: str
    old_pid: int | None
    new_pid: int | None
    settled: bool
    reason: str | None = None


class Changed(Answer, frozen=True):
    """The processes concerned. `complete` is false when the wait ended before all were settled."""

    processes: tuple[ProcessChange, ...]
    complete: bool


class Reloaded(Answer, frozen=True):
    """What the new manifest changed, by address; `untouched` counts units that are as they were.

    `errors`: manifest file to what is wrong with it (its earlier units stay).
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    restarted: tuple[str, ...]
    resized: tuple[str, ...]
    untouched: int
    errors: dict[str, str]
    processes: tuple[ProcessChange, ...] = ()
    complete: bool = True


class Event(Answer, frozen=True, omit_defaults=True):
    """Something that happened. `kind`: start, exit, failure, state, asked, config, trouble.

    Of schedules: occurrence (it has an outcome), alert (`state`: failed, missed, slow, runaway, unknown, unwritten).
    `target` is an address (empty: the backend itself). For exits: `code` (minus the signal's number), `reason`,
    `started`. `who`, `uid`: the user who asked. `id` is 0 where it is not (yet) stored.
    """

    at: float
    kind: str
    target: str = ""
    process: int = 0
    run: int = 0
    id: int = 0
    pid: int | None = None
    state: str | None = None
    started: float | None = None
    code: int | None = None
    outcome: str | None = None
    reason: str | None = None
    who: str | None = None
    uid: int | None = None


class HistoryRows(Answer, frozen=True):
    """Events, newest first."""

    events: tuple[Event, ...]


class LogLines(Answer, frozen=True, omit_defaults=True):
    """Lines of one unit's log; `trouble`: why they cannot be read.

    Followed lines say their `process`, and how many before them were `lost` because the reader was too slow.
    """

    target: str
    lines: tuple[str, ...] = ()
    process: int = 0
    lost: int = 0
    trouble: str | None = None


class LogTails(Answer, frozen=True):
    """The last lines of every selected log; when following there are none: they come as items."""

    logs: tuple[LogLines, ...]


class Occurrence(Answer, frozen=True, omit_defaults=True):
    """One occurrence, or (`last` > `due`) `times` of them that share one fate (0: nobody counted).

    `outcome`: ran, failed, timed_out, skipped, missed, unknown; None as long as there is none, then `stage` says how
    far it has come. Times are seconds since the epoch; `lateness` in seconds. `cause`: what made it due, if not its
    time. `excerpt`: the end of the output of a run that failed.
    """

    target: str
    number: int
    due: int
    last: int
    times: int = 1
    stage: str = ""
    outcome: str | None = None
    reason: str = ""
    exit_status: int | None = None
    run: int = 0
    attempt: int = 1
    began: float | None = None
    ended: float | None = None
    lateness: float | None = None
    cause: str = ""
    memory_bytes: int | None = None
    excerpt: str | None = None


class OccurrenceRows(Answer, frozen=True):
    """Occurrences, newest first."""

    occurrences: tuple[Occurrence, ...]


class ScheduleStatus(Answer, frozen=True):
    """One schedule. `when`: its times in words; `next`: the next due second, None if the clock makes none.

    `running` and `waiting`: occurrences without an outcome; `background`: runs that have ended and left something
    that lives on. `paused`: by whom; `halted`: why it was stopped as a runaway; `error`: why the manifest's entry cannot be used. `last`: the latest occurrence with an outcome.
    """

    address: str
    user: str
    command: tuple[str, ...]
    preset: str
    log: str
    when: str = ""
    next: int | None = None
    running: tuple[Occurrence, ...] = ()
    waiting: int = 0
    background: tuple[int, ...] = ()
    paused: str = ""
    halted: str = ""
    error: str = ""
    last: Occurrence | None = None


class Schedules(Answer, frozen=True):
    """Every selected schedule."""

    schedules: tuple[ScheduleStatus, ...]


class Ran(Answer, frozen=True):
    """What became of a run that somebody asked for; `outcome` is None if the wait ended before it had one."""

    number: int
    run: int = 0
    outcome: str | None = None
    reason: str = ""
    exit_status: int | None = None


class Version(Answer, frozen=True):
    """Who answers: program and protocol version, pids (`keeper_pid` 0: it was killed), since when this engine runs."""

    version: str
    protocol: int
    instance: str
    engine_pid: int
    keeper_pid: int
    uptime_seconds: float


class Done(Answer, frozen=True):
    """It was accepted."""


class Error(Answer, frozen=True):
    """Why it was not done. `kind` tells who acts: the user, the machine's administrator, or us."""

    kind: ErrorKind
    message: str
    hint: str = ""


# ---- envelopes


class Request(Struct, frozen=True):
    """One line from a client; `args` is checked by the call's own type."""

    id: Annotated[int, Meta(ge=0, lt=2**53)]
    call: Annotated[str, Meta(max_length=40)]
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to a client: exactly one of `reply`, `error`, `item` is there."""

    id: int
    reply: Any = None
    error: Error | None = None
    item: Any = None


class Call(msgspec.Struct, frozen=True):
    """One row of the table. `item` is the type of what a streaming call sends after its reply.

    `access`: see core/access.py. A call that needs `read` or `operate` names what it is about in `targets` (none:
    everything that the caller may) or `target`; the server checks and completes them before the call is carried out.
    """

    args: type[Struct]
    reply: type[Answer]
    access: "Access"
    item: type[Answer] | None = None


CALLS: dict[str, Call] = {
    "ping": Call(Nothing, Done, "anyone"),
    "version": Call(Nothing, Version, "anyone"),
    "status": Call(Select, Status, "read"),
    "history": Call(History, HistoryRows, "read"),
    "events": Call(Select, Done, "read", item=Event),
    "logs": Call(Logs, LogTails, "read", item=LogLines),
    "schedules": Call(Select, Schedules, "read"),
    "occurrences": Call(Occurrences, OccurrenceRows, "read"),
    "run_log": Call(RunLog, LogLines, "read"),
    "start": Call(Act, Changed, "operate"),
    "stop": Call(Act, Changed, "operate"),
    "restart": Call(Act, Changed, "operate"),
    "scale": Call(Scale, Changed, "operate"),
    "run": Call(RunNow, Ran, "operate"),
    "stop_runs": Call(Select, Done, "operate"),
    "pause": Call(Select, Done, "operate"),
    "resume": Call(Select, Done, "operate"),
    "reload": Call(Reload, Reloaded, "admin"),
    "shutdown": Call(Nothing, Done, "admin"),
}
