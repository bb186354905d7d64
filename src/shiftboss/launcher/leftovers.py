"""Ends what the last run of a process left behind: its orphans would run beside the new one."""

import errno
import signal

from shiftboss.confine import limits
from shiftboss.confine.remains import end_groups
from shiftboss.confine.steps import StepError


def end_all(directories: list[str], stop_signal: str, shown: str) -> None:
    """Send the unit's own stop signal to everything in a cgroup, after a wait KILL, and remove it; raise StepError."""
    number = getattr(signal, f"SIG{stop_signal}", signal.SIGTERM)
    if end_groups([directories], number):
        pids = ", ".join(map(str, limits.members(directories)[:5])) or "unknown"
        words = f"cannot start {shown}: what its last run left behind does not end (pid {pids})"
        raise StepError("cgroup", errno.EBUSY, words)
