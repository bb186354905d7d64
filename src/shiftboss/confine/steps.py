"""The steps from root to a project's user, one function each; imports little: the launcher pays for it at each start."""

import errno
import os
import resource
import stat

# the functions below Python's `signal`, whose wrappers make an enum of each number: 157 page faults a start
from _signal import SIG_SETMASK, pthread_sigmask  # type: ignore[import-not-found]  # typeshed has no such module
from _signal import signal as set_action

_DEFAULT_ACTION = 0
RLIMITS = {
    name.removeprefix("RLIMIT_"): getattr(resource, name) for name in dir(resource) if name[:7] == "RLIMIT_"
}


class StepError(Exception):
    """A step between fork and exec failed; the text is a plain sentence part without a full stop."""

    def __init__(self, step: str, number: int, words: str) -> None:
        super().__init__(words)
        self.step, self.number = step, number


def restore_signals(numbers: tuple[int, ...]) -> None:
    """Give signals their default action and unblock all: an ignored one (SIGPIPE!) would be inherited by exec."""
    for number in numbers:
        set_action(number, _DEFAULT_ACTION)
    pthread_sigmask(SIG_SETMASK, ())


def set_rlimits(rlimits: dict[str, tuple[int, int]]) -> list[bytes]:
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


def explain(step: str, error: OSError, user: str, about: dict[str, str]) -> StepError:
    """Make the words of a failed system call; `about`: what the steps cgroup, directory, env_file, command are about."""
    number, why = error.errno or 0, error.strerror or str(error)
    if step == "exec":
        return _explain_exec(number, why, about["command"])
    if step == "directory" and number == errno.EACCES:
        why = f"{_closed_directory(about['directory'])} is closed to {user}"
    what = {
        "signals": "restore signals",
        "cgroup": f"join {about.get('cgroup')}",
        "session": "start a session with its output",
        "rlimits": "set limits",
        "directory": f"enter {about.get('directory')}",
        "env_file": f"read {about.get('env_file')}",
        "command": f"find {about.get('command')}",
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
