"""Ends what the last run of a process left behind: its orphans would run beside the new one."""

import errno
import os
import signal
import time

from shiftboss.confine import cgroup, limits
from shiftboss.confine.steps import StepError

GENTLE_SECONDS, KILL_SECONDS = 5.0, 5.0
_LOOK_AGAIN_SECONDS = 0.005


def end_all(directories: list[str], stop_signal: str, shown: str) -> None:
    """Send the unit's own stop signal to everything in a cgroup, after a wait KILL, and remove it; raise StepError."""
    number = getattr(signal, f"SIG{stop_signal}", signal.SIGTERM)
    for pid in limits.members(directories):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    if _removed(directories, GENTLE_SECONDS, []):
        return
    if not _removed(directories, KILL_SECONDS, _killable(directories)):
        pids = ", ".join(map(str, limits.members(directories)[:5])) or "unknown"
        words = f"cannot start {shown}: what its last run left behind does not end (pid {pids})"
        raise StepError("cgroup", errno.EBUSY, words)


def _removed(directories: list[str], seconds: float, killed: list[str]) -> bool:
    """Wait until a group is empty and removed, killing what is in `killed` again and again; False after `seconds`."""
    end = time.monotonic() + seconds
    while not limits.remove(directories):
        if time.monotonic() > end:
            return False
        for path in killed:
            cgroup.kill(path)
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True


def _killable(directories: list[str]) -> list[str]:
    """Return the directory by which a group is killed at once: cgroup v2, or that of the v1 freezer."""
    files = ("cgroup.kill", "cgroup.freeze", "freezer.state")
    return [path for path in directories if any(os.path.exists(f"{path}/{name}") for name in files)]
