"""What this machine has to bound and to isolate units, looked up before anything runs: for plan and status.

What a keeper really got is told by the notes of each process; in containers that may be less.
"""

import os

from shiftboss.core.limits import Ground

_BOUNDING = frozenset({"memory", "cpu", "pids", "io", "blkio"})
_CAP_SYS_ADMIN = 21


def find_ground() -> Ground:
    """Return what can be had here as the user that we are; the units are watched by an engine."""
    v2, v1 = _hierarchies()
    root = os.geteuid() == 0
    return Ground(v2=v2, v1=v1 - v2, root=root, namespaces=root and _is_admin())


def _hierarchies() -> tuple[frozenset[str], frozenset[str]]:
    """Return the controllers of cgroup v2 and v1 whose hierarchies we may write in."""
    v2: set[str] = set()
    v1: set[str] = set()
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2") and os.access(point, os.W_OK):
            words = _read(f"{point}/cgroup.controllers").split() if kind == "cgroup2" else options.split(",")
            (v2 if kind == "cgroup2" else v1).update(_BOUNDING.intersection(words))
    return frozenset(v2), frozenset(v1)


def _is_admin() -> bool:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
