"""What this machine has to bound and to isolate units, looked up before anything runs: for plan and status.

Nothing is made or changed. What a keeper or a launcher really got is told by the notes of each process.
"""

import os
from collections.abc import Iterable

from shiftboss.core.limits import Ground

_BOUNDING = frozenset({"memory", "cpu", "pids", "io", "blkio"})
_CAP_SYS_ADMIN = 21


def find_ground() -> Ground:
    """Return what can be had here as the user that we are; the units are watched by an engine."""
    v2, v1 = _hierarchies()
    found, root = _bounding(_read(f"{point}/cgroup.controllers") for point in v2), os.geteuid() == 0
    return Ground(
        v2=found,
        v1=_bounding(v1) - found,
        root=root,
        namespaces=root and _is_admin(),
        weighing=weighing(v2),
        top=_bounding(map(given_below, v2)),
    )


def given_below(point: str) -> str:
    """Return the controllers that a cgroup made directly below a v2 mount would get (cgroups(7), no internal processes).

    All of them at the root of the hierarchy, which alone has no cgroup.type. A container sees a part of it as its
    root: while processes live in that, the kernel refuses (EBUSY) what is not enabled already.
    """
    if os.path.exists(f"{point}/cgroup.type") and _read(f"{point}/cgroup.procs").strip():
        return _read(f"{point}/cgroup.subtree_control")
    return _read(f"{point}/cgroup.controllers")


def weighing(points: Iterable[str], sys: str = "/sys") -> frozenset[str] | None:
    """Return the disks that go by io.weight: by their scheduler bfq, or by iocost, which only the root cgroup tells."""
    disks = {
        disk
        for disk in _names(f"{sys}/block")
        if "[bfq]" in _read(f"{sys}/block/{disk}/queue/scheduler").split()
    }
    seen = False
    for costs in (f"{point}/io.cost.qos" for point in points):
        seen = seen or os.access(costs, os.R_OK)
        rows = [line.split() for line in _read(costs).splitlines()]
        enabled = [row[0] for row in rows if "enable=1" in row]
        disks |= {os.path.basename(os.path.realpath(f"{sys}/dev/block/{number}")) for number in enabled}
    return frozenset(disks) if disks or seen else None


def _hierarchies() -> tuple[list[str], list[str]]:
    """Return where cgroup v2 is mounted, and the controllers of v1, as far as we may write there."""
    v2: list[str] = []
    v1: list[str] = []
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2") and os.access(point, os.W_OK):
            v2 += [point] if kind == "cgroup2" else []
            v1 += options.split(",") if kind == "cgroup" else []
    return v2, v1


def _bounding(texts: Iterable[str]) -> frozenset[str]:
    return _BOUNDING.intersection(word for text in texts for word in text.split())


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


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
