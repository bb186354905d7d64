"""From fork to exec: the steps that turn a forked child into a project's program.

Runs in the child only. Order matters: what needs root comes first; everything that looks at files of the
project comes after the drop to its user, so that it happens with that user's rights.

Every page that a child writes is copied, and counting a reference is a write: half of the cost of a start lies
here. So `run` is one flat function that calls system calls directly and makes its words only when it fails.
"""

import errno
import os
import resource
import stat
import time

# the functions below Python's `signal`, whose wrappers make an enum of each number: 157 page faults a start
from _signal import SIG_SETMASK, pthread_sigmask  # type: ignore[import-not-found]  # typeshed has no such module
from _signal import signal as set_action
from contextlib import suppress
from typing import NamedTuple, NoReturn

from shiftboss.confine import env_file
from shiftboss.confine.cgroup import join

FAILED = 127
MARK = "SHIFTBOSS_RUN"
_DEFAULT_ACTION = 0
RLIMITS = {
    name.removeprefix("RLIMIT_"): getattr(resource, name) for name in dir(resource) if name[:7] == "RLIMIT_"
}


class Program(NamedTuple):
    """A command with everything it may have. Paths are absolute; `argv[0]` may be a name to look up in PATH.

    The program's environment is `account` (HOME…), over it the env file, over that `environment`.
    `rlimits`: name without RLIMIT_ to (soft, hard), -1 for no limit. `restored`: signals that the forking process
    handles or ignores; the program shall not. `cgroup`: joined first if it is not the one it was born in.
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


class StepError(Exception):
    """A step between fork and exec failed; the text is a plain sentence part without a full stop."""

    def __init__(self, step: str, number: int, words: str) -> None:
        super().__init__(words)
        self.step, self.number = step, number


def run(program: Program, streams: Streams, parent: int, journal_line: bytes) -> NoReturn:
    """Become the program. Never returns, never raises: what fails is told on `streams.result` (see `read_result`).

    `parent` is the pid of the process that forked: without it nobody would know of this one, and it does not start.
    """
    step = "signals"
    try:
        # first of all: a signal for this child must not run a handler of the process that forked it
        restore_signals(program.restored)
        step = "cgroup"
        if program.cgroup:
            join(program.cgroup)
        step = "session"
        _start_session(streams, parent, journal_line)
        step = "rlimits"
        notes = _limit(program.rlimits)
        os.umask(program.umask)
        step = "uid"
        drop_to(program.user, program.uid, program.gid, program.groups)
        step = "directory"
        os.chdir(program.directory)
        release = os.getcwdb()
        step = "env_file"
        environment = program.account | program.environment
        if program.env_file:
            environment = program.account | env_file.read(program.env_file) | program.environment
        step = "command"
        command = program.argv[0]
        if "/" not in command:
            command = find_command(command, environment["PATH"])
        os.write(streams.result, b"\0".join((b"", b"0", release, *notes, b"\n")))
        step = "exec"
        os.execve(command, program.argv, environment)  # noqa: S606 -- no shell is meant
    except StepError as failed:
        _tell_failure(streams.result, failed)
    except OSError as error:
        _tell_failure(streams.result, _explain(step, error, program))
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


def restore_signals(numbers: tuple[int, ...]) -> None:
    """Give signals their default action and unblock all: an ignored one (SIGPIPE!) would be inherited by exec."""
    for number in numbers:
        set_action(number, _DEFAULT_ACTION)
    pthread_sigmask(SIG_SETMASK, ())


def write_journal(journal: int, line: bytes) -> None:
    """Record this process before it can do anything: its pid, and the time since boot, after which no start lies.

    A pid alone may be another's later; one that was given away again belongs to a process started after this time.
    Without room for the line the program runs all the same: its mark and its cgroup tell whose it is.
    """
    with suppress(OSError):
        os.write(journal, b"%d %.2f %b\n" % (os.getpid(), time.clock_gettime(time.CLOCK_BOOTTIME), line))


def read_result(raw: bytes) -> Result | None:
    """Return what a child told, None if it ended before it told anything."""
    lines = [line.split(b"\0") for line in raw.split(b"\0\n")[:-1]]
    told = next((line for line in lines if line[0]), lines[0] if lines else None)
    if not told:
        return None
    step, number, release, *words = map(os.fsdecode, told)
    return Result(step, int(number), release, tuple(words))


def _tell_failure(result: int, failed: StepError) -> None:
    parts = (failed.step, str(failed.number), "", " ".join(str(failed).replace("\0", " ").split()), "\n")
    os.write(result, b"\0".join(os.fsencode(part) for part in parts))


def _limit(rlimits: dict[str, tuple[int, int]]) -> list[bytes]:
    """Set resource limits; return a sentence for each hard limit that this user cannot raise."""
    notes: list[bytes] = []
    for name, limits in rlimits.items():
        number = RLIMITS.get(name)
        if number is None:
            raise StepError("rlimits", errno.EINVAL, f"cannot set the limit {name}: this system has none")
        try:
            resource.setrlimit(number, limits)
        except (ValueError, PermissionError):  # Python turns EPERM into ValueError
            notes.append(_limit_as_allowed(name, number, limits))
    return notes


def _limit_as_allowed(name: str, number: int, limits: tuple[int, int]) -> bytes:
    allowed = resource.getrlimit(number)[1]
    lower = min((limit for limit in (limits[0], allowed) if limit >= 0), default=-1)
    try:
        resource.setrlimit(number, (lower, allowed))
    except ValueError as error:
        raise StepError(
            "rlimits", errno.EINVAL, f"cannot set the limit {name} to {limits}: {error}"
        ) from None
    return f"the limit {name} stays at {allowed}: the hard limit cannot be raised".encode()


def drop_to(user: str, uid: int, gid: int, groups: tuple[int, ...]) -> None:
    """Give up root for good; without root the account must be our own. Raise StepError."""
    step = "uid"
    try:
        if os.geteuid() == 0:
            step = "groups"
            os.setgroups(groups or (gid,))
            step = "gid"
            os.setresgid(gid, gid, gid)
            step = "uid"
            os.setresuid(uid, uid, uid)
        elif uid != os.geteuid() or uid != os.getuid():
            raise StepError(step, errno.EPERM, f"cannot become {user}: only root can")
    except OSError as error:
        what = {
            "groups": f"set the groups of {user}",
            "gid": f"set the group of {user}",
            "uid": f"become {user}",
        }
        raise StepError(step, error.errno or 0, f"cannot {what[step]}: {error.strerror}") from None


def find_command(name: str, path: str) -> str:
    """Return the path of a command as this user finds it in PATH; raise StepError."""
    there = ""
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
        there = there or (candidate if os.path.isfile(candidate) else "")
    if there:
        raise StepError("command", errno.EACCES, f"cannot run {there}: it is not executable by this user")
    raise StepError("command", errno.ENOENT, f"cannot run {name}: not found in {path}")


def _explain(step: str, error: OSError, program: Program) -> StepError:
    """Make the words of a failed system call."""
    number, why = error.errno or 0, error.strerror or str(error)
    if step == "exec":
        return _explain_exec(number, why, program.argv[0])
    if step == "directory" and number == errno.EACCES:
        why = f"{_closed_directory(program.directory)} is closed to {program.user}"
    what = {
        "signals": "restore signals",
        "cgroup": f"join {program.cgroup}",
        "session": "start a session with its output",
        "rlimits": "set limits",
        "directory": f"enter {program.directory}",
        "env_file": f"read {program.env_file}",
        "command": f"find {program.argv[0]}",
    }
    return StepError(step, number, f"cannot {what.get(step, step)}: {why}")


def _explain_exec(number: int, why: str, command: str) -> StepError:
    """A command that is not there or not ours to run is step `command`: it may come with the next release."""
    try:
        is_file = stat.S_ISREG(os.stat(command).st_mode)
    except OSError as error:
        return StepError("command", error.errno or 0, f"cannot run {command}: {error.strerror}")
    if not is_file or (number == errno.EACCES and not os.access(command, os.X_OK)):
        return StepError(
            "command", errno.EACCES, f"cannot run {command}: it is no file that this user may execute"
        )
    reasons = {
        errno.ENOENT: "its interpreter (the #! line) does not exist",
        errno.ENOEXEC: "it has no #! line and is no program",
    }
    return StepError("exec", number, f"cannot run {command}: {reasons.get(number, why)}")


def _closed_directory(path: str) -> str:
    """Return the first directory on the way to `path` that this user may not enter."""
    parts = path.split("/")
    for end in range(2, len(parts)):
        above = "/".join(parts[:end])
        if not os.access(above, os.X_OK):
            return above
    return path
