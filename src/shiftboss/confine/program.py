"""From fork to exec: the steps that turn a forked child into a project's program.

Runs in the child only. Order matters: what needs root comes first; everything that looks at files of the
project comes after the drop to its user, so that it happens with that user's rights.

Every page that a child writes is copied, and counting a reference is a write: half of the cost of a start lies
here. So `run` is one flat function that calls system calls directly and makes its words only when it fails.
"""

import os
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn, Protocol

from shiftboss.confine import env_file, limits
from shiftboss.confine.cgroup import join
from shiftboss.confine.isolation import isolate
from shiftboss.confine.steps import StepError, drop_to, explain, find_command, restore_signals, set_rlimits

__all__ = [
    "MARK",
    "Program",
    "StepError",
    "Streams",
    "as_text",
    "drop_to",
    "read_result",
    "restore_signals",
    "run",
]

FAILED = 127
MARK = "SHIFTBOSS_RUN"


class Fallback(Protocol):
    """What is done for a limit whose cgroup controller is missing (core/wire/entry.py)."""

    @property
    def controller(self) -> str: ...

    @property
    def rlimits(self) -> dict[str, tuple[int, int]]: ...

    @property
    def words(self) -> str: ...


class Program(NamedTuple):
    """A command with everything it may have. Paths are absolute; `argv[0]` may be a name to look up in PATH.

    The program's environment is `account` (HOME…), over it the env file, over that `environment`.
    `rlimits`: name without RLIMIT_ to (soft, hard), -1 for no limit. `restored`: signals that the forking process
    handles or ignores; the program shall not. `cgroup`: joined first if it is not the one it was born in. `joined`:
    the directories that bound it, beside `cgroup`. `steps`: see isolation.py. `notes`: what is known already not to be
    as wished; more may come in the child.
    """

    argv: tuple[str, ...]
    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    directory: str
    account: dict[str, str]
    environment: dict[str, str]
    env_file: str
    umask: int
    rlimits: dict[str, tuple[int, int]]
    restored: tuple[int, ...] = ()
    cgroup: str = ""
    joined: tuple[str, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    nice: int = 0
    steps: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


class Streams(NamedTuple):
    """Descriptors of the child: /dev/null, the output pipe, where the result is told, the journal (append only)."""

    null: int
    output: int
    result: int
    journal: int


class Result(NamedTuple):
    """What a child told between fork and exec. `step` "" means that exec was reached; then `words` are notes."""

    step: str
    number: int
    release: str
    words: tuple[str, ...]


def run(program: Program, streams: Streams, parent: int, journal_line: bytes) -> NoReturn:
    """Become the program. Never returns, never raises: what fails is told on `streams.result` (see `read_result`).

    `parent` is the pid of the process that forked: without it nobody would know of this one, and it does not start.
    """
    step, command = "signals", program.argv[0]
    try:
        # first of all: a signal for this child must not run a handler of the process that forked it
        restore_signals(program.restored)
        step = "cgroup"
        _join_groups(program)
        step = "session"
        _start_session(streams, parent, journal_line)
        step = "rlimits"
        notes = _set_limits(program)
        step = "isolation"
        if program.steps:
            notes += [os.fsencode(note) for note in isolate(program.steps)]
        os.umask(program.umask)
        step = "uid"
        drop_to(program.user, program.uid, program.gid, program.groups)
        step = "directory"
        os.chdir(program.directory)
        release = os.getcwdb()
        step = "env_file"
        environment = _environment(program)
        step = "command"
        if "/" not in command:
            command = find_command(command, environment["PATH"])
        os.write(streams.result, b"\0".join((b"", b"0", release, *notes, b"\n")))
        step = "exec"
        os.execve(command, program.argv, environment)  # noqa: S606 -- no shell is meant
    except StepError as failed:
        _tell_failure(streams.result, failed)
    except OSError as error:
        _tell_failure(streams.result, _explained(step, error, program, command))
    except BaseException as error:  # noqa: BLE001 -- a child must end here whatever happens
        words = f"internal error before exec: {type(error).__name__}: {error}"[:1000]
        _tell_failure(streams.result, StepError("internal", 0, words))
    os._exit(FAILED)


def _start_session(streams: Streams, parent: int, journal_line: bytes) -> None:
    os.setsid()
    write_journal(streams.journal, journal_line)
    if os.getppid() != parent:
        os._exit(FAILED)
    os.dup2(streams.null, 0)
    os.dup2(streams.output, 1)
    os.dup2(streams.output, 2)


def _join_groups(program: Program) -> None:
    if program.cgroup:
        join(program.cgroup)
    if program.joined:
        limits.join(program.joined)


def _environment(program: Program) -> dict[str, str]:
    if program.env_file:
        return program.account | env_file.read(program.env_file) | program.environment
    return program.account | program.environment


def _set_limits(program: Program) -> list[bytes]:
    """Set rlimits and priority; return what is not as wished."""
    notes = [*map(os.fsencode, program.notes), *set_rlimits(program.rlimits)]
    if program.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, program.nice)
        except PermissionError:
            notes.append(b"its priority stays as it is: only root can set nice to %d" % program.nice)
    return notes


def write_journal(journal: int, line: bytes) -> None:
    """Record this process before it can do anything: its pid, and the time since boot, after which no start lies.

    A pid alone may be another's later; one that was given away again belongs to a process started after this time.
    Without room for the line the program runs all the same: its mark and its cgroup tell whose it is.
    """
    with suppress(OSError):
        os.write(journal, b"%d %.2f %b\n" % (os.getpid(), time.clock_gettime(time.CLOCK_BOOTTIME), line))


def read_result(raw: bytes) -> Result | None:
    """Return what a child told, None if it ended before it told anything. All of it is text (see `as_text`)."""
    lines = [line.split(b"\0") for line in raw.split(b"\0\n")[:-1]]
    told = next((line for line in lines if line[0]), lines[0] if lines else None)
    if not told:
        return None
    step, number, release, *words = map(as_text, told)
    return Result(step, int(number), release, tuple(words))


def as_text(name: bytes) -> str:
    r"""Return what a project has named as text that can be stored and sent: `\xff` stands for a byte that is none."""
    return name.decode("utf-8", "backslashreplace")


def _tell_failure(result: int, failed: StepError) -> None:
    parts = (failed.step, str(failed.number), "", " ".join(str(failed).replace("\0", " ").split()), "\n")
    os.write(result, b"\0".join(os.fsencode(part) for part in parts))


def _explained(step: str, error: OSError, program: Program, command: str) -> StepError:
    about = {
        "cgroup": program.cgroup or "the cgroups that bound it",
        "directory": program.directory,
        "env_file": program.env_file,
        "command": command,
    }
    return explain(step, error, program.user, about)
