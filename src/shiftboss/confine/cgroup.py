"""Cgroups for killing: a subtree of our own, cgroup v2 or the v1 freezer. Limits: see limits.py and groups.py.

See cgroups(7) and Documentation/admin-guide/cgroup-v2.rst. Paths are those of directories below the mount.
"""

import errno
import os
import signal
from contextlib import suppress
from typing import Literal, NamedTuple

Kind = Literal["v2", "v1"]
_MAX_READ = 1 << 20


class Tree(NamedTuple):
    """Our subtree. `top` is its directory; processes live in directories below it, see groups.py.

    `birth`: children can be born in a cgroup (see kernel.birth_works); else they join it.
    """

    kind: Kind
    top: str
    birth: bool = False


def find_tree(name: str, kinds: tuple[Kind, ...] = ("v2", "v1")) -> Tree | None:
    """Make (or find) the subtree `name` below our own cgroup; None if this machine or user cannot."""
    mounts = _mounts()
    for kind in kinds:
        if kind in mounts:
            top = f"{mounts[kind]}/{name}"
            with suppress(OSError):
                _make_directory(top)
                if os.access(f"{top}/cgroup.procs", os.W_OK) and (kind == "v1" or _may_enter(mounts[kind])):
                    return Tree(kind, top)
    return None


def _may_enter(own: str) -> bool:
    # moving a process needs the right to write the common ancestor's cgroup.procs as well
    return os.access(f"{own}/cgroup.procs", os.W_OK)


def _mounts() -> dict[Kind, str]:
    """Return, for v2 and the v1 freezer, the directory of the cgroup this process is in."""
    own = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path.rstrip("/")
    found: dict[Kind, str] = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind = after.split()[0]
        if kind == "cgroup2" and "" in own:
            found["v2"] = _below(point, root, own[""])
        elif kind == "cgroup" and "freezer" in after.split()[2].split(",") and "freezer" in own:
            found["v1"] = _below(point, root, own["freezer"])
    return found


def _below(point: str, root: str, own: str) -> str:
    """Return where our cgroup is seen: a container may have mounted only a part (`root`) of the hierarchy."""
    return point + (own.removeprefix(root) if root != "/" else own)


def make(tree: Tree, name: str) -> str:
    """Return the directory of a cgroup in our subtree, made if it is missing; raise OSError."""
    path = f"{tree.top}/{name}"
    _make_directory(path)
    return path


def _make_directory(path: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, 0o755)


def join(path: str) -> None:
    """Move this process into a cgroup; raise OSError. Slow (10 to 16 ms): see kernel.fork_into."""
    _write(f"{path}/cgroup.procs", "0")


def members(path: str) -> list[int]:
    """Return the pids in a cgroup and below it; none if it does not exist."""
    # 0 stands for a process outside our pid namespace: as an argument of kill(2) it would mean ourselves
    found = [int(word) for word in _read(f"{path}/cgroup.procs").split() if word != "0"]
    for name in _directories(path):
        found += members(f"{path}/{name}")
    return found


def is_empty(path: str) -> bool:
    """Tell whether no process lives in a cgroup or below it (v2 counts that itself)."""
    events = _read(f"{path}/cgroup.events")
    return "populated 0" in events if events else not members(path)


def kill(path: str) -> None:
    """Send KILL to everything in a cgroup and below it; what is being forked meanwhile dies too (v2, Linux 5.14).

    Before that kernel and on v1 it is frozen first, so that nothing forks between reading and killing.
    Call again until it is empty: v1 freezing may take a moment. Do not use the cgroup again (see kernel.fork).
    """
    with suppress(OSError):
        _write(f"{path}/cgroup.kill", "1")
        return
    freeze, frozen, thawed = _freezer(path)
    with suppress(OSError):
        _write(freeze, frozen)
    for pid in members(path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(OSError):
        _write(freeze, thawed)


def _freezer(path: str) -> tuple[str, str, str]:
    if os.path.exists(f"{path}/freezer.state"):
        return f"{path}/freezer.state", "FROZEN", "THAWED"
    return f"{path}/cgroup.freeze", "1", "0"


def remove(path: str) -> bool:
    """Remove an empty cgroup and those below it; False if it is still in use (try again later)."""
    try:
        for name in _directories(path):
            remove(f"{path}/{name}")
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


def is_alone(tree: Tree) -> bool:
    """Tell whether this process is alone in its cgroup, the one above our subtree, and that is not the root.

    The root alone has no cgroup.type (that of a container, which is called / in there, has one).
    """
    own = os.path.dirname(tree.top)
    return os.path.exists(f"{own}/cgroup.type") and _read(f"{own}/cgroup.procs").split() == [str(os.getpid())]


def names(tree: Tree) -> list[str]:
    """Return the names of the cgroups in our subtree that processes may live in: `@engine`, `project/slot.run`."""
    found = []
    for name in _directories(tree.top):
        below = _directories(f"{tree.top}/{name}")
        found += [f"{name}/{each}" for each in below] or [name]
    return found


def clear(top: str) -> None:
    """Remove what is empty of all that is below a directory."""
    for name in _directories(top):
        remove(f"{top}/{name}")


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        parts = []
        while part := os.read(descriptor, _MAX_READ):
            parts.append(part)
        return os.fsdecode(b"".join(parts))
    except OSError as error:
        if error.errno == errno.ENODEV:  # it was removed while we read
            return ""
        raise
    finally:
        os.close(descriptor)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
