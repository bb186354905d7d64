"""Ends what lives on in cgroups of units that have stopped: gently, then by KILL, within ten seconds."""

import os
import time

from shiftboss.confine import cgroup, limits

GENTLE_SECONDS, KILL_SECONDS = 5.0, 5.0
_LOOK_AGAIN_SECONDS = 0.005
Groups = list[list[str]]


def end_groups(groups: Groups, number: int) -> Groups:
    """Send signal `number` to everything in some cgroups, after a wait KILL, and remove them; return those that stay.

    Each group is the directories of one slot (`limits.LimitTree.directories`).
    """
    for directories in groups:
        for pid in limits.members(directories):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
    left = _unremoved(groups, GENTLE_SECONDS, by_force=False)
    return _unremoved(left, KILL_SECONDS, by_force=True)


def _unremoved(groups: Groups, seconds: float, *, by_force: bool) -> Groups:
    """Wait until groups are empty and removed, killing again and again if so wished; return those that are not."""
    end = time.monotonic() + seconds
    while groups := [directories for directories in groups if not limits.remove(directories)]:
        if time.monotonic() > end:
            break
        for directories in groups if by_force else ():
            for path in _killable(directories):
                cgroup.kill(path)
        time.sleep(_LOOK_AGAIN_SECONDS)
    return groups


def _killable(directories: list[str]) -> list[str]:
    """Return the directory by which a group is killed at once: cgroup v2, or that of the v1 freezer."""
    files = ("cgroup.kill", "cgroup.freeze", "freezer.state")
    return [path for path in directories if any(os.path.exists(f"{path}/{name}") for name in files)]
