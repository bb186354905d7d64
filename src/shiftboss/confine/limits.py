"""Cgroups that bound: a subtree of ours by cgroup v2 and the v1 controllers, its values, and joining it.

A project has one directory in each hierarchy, which holds its budget; its processes live one level below, each
slot (`unit.process`) in a directory of its own. Imports little, and no NamedTuples (`typing` costs 8 ms): the
launcher pays for it at each start. See cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

import errno
import os

V2_CONTROLLERS = ("memory", "cpu", "pids", "io")
# cpuacct: to tell the time used
V1_BOUNDING = ("memory", "cpu", "cpuacct", "pids", "blkio")
_V1_CONTROLLERS = (*V1_BOUNDING, "freezer")  # freezer: to kill what is left
# not there where the kernel does not account for swap: the limit of memory alone then holds
_OPTIONAL = ("memory.swap.max", "memory.memsw.limit_in_bytes")
LAUNCHER_TREE = "shiftboss-launch"
_MAX_READ = 1 << 20
_EVERY_READ = 0o755
Values = dict[str, str]


class LimitTree:
    """Our directories: `v2` ("" for none) with the controllers it has, `v1` by controller (those that v2 has not)."""

    def __init__(self, v2: str, controllers: frozenset[str], v1: dict[str, str]) -> None:
        self.v2, self.controllers, self.v1 = v2, controllers, v1

    def holder(self, controller: str) -> str:
        """Return who holds limits of `memory`, `cpu`, `pids` or `io`: `v2`, `v1` or ""."""
        if controller in self.controllers:
            return "v2"
        return "v1" if _v1_name(controller) in self.v1 else ""

    def directories(self, name: str) -> list[str]:
        """Return the directory `name` (`project` or `project/slot`) in each hierarchy, v2 first."""
        tops = [self.v2] if self.v2 else []
        return [f"{top}/{name}" for top in dict.fromkeys([*tops, *self.v1.values()])]


class Group:
    """The cgroup of one slot: its directory in each hierarchy, and what could not be done as wished.

    `missing`: controllers that this machine does not have, or that refused a value; their limit is not held.
    """

    def __init__(self, name: str, directories: list[str]) -> None:
        self.name, self.directories = name, directories
        self.missing: list[str] = []
        self.notes: list[str] = []


def open_tree(name: str, v2_top: str | None = "", v1: tuple[str, ...] = _V1_CONTROLLERS) -> LimitTree | None:
    """Make (or find) our subtree, `name` in each hierarchy; None if this machine or user has none.

    `v2_top` None: without v2. `v1`: the controllers that are wanted of it. `v2_top` is its directory where the caller has one already in a cgroup delegated to it (keeper); the cgroup above
    it must hold no process then. Without it the subtree lies at the top of the hierarchy, which only root can do.
    cgroup v1: below the unit of systemd that we are in, if we are in one, else at the top.
    """
    mounts = _mounts()
    v2 = v2_top or (f"{mounts['']}/{name}" if "" in mounts and v2_top is not None else "")
    controllers = frozenset(_enable(v2)) if v2 and _make(v2) else frozenset()
    if not controllers and not v2_top:
        remove([v2] if v2 else [])
    found = _open_v1(name, v1, mounts, controllers)
    if not controllers and not found:
        return None
    return LimitTree(v2 if controllers else "", controllers, found)


def _open_v1(name: str, wanted: tuple[str, ...], mounts: Values, controllers: frozenset[str]) -> Values:
    """Make our directory in each v1 hierarchy whose controller v2 has not."""
    found = {}
    for controller in wanted:
        taken = {"blkio": "io", "cpuacct": "cpu"}.get(controller, controller) in controllers
        if controller in mounts and not taken and _make(f"{mounts[controller]}/{name}"):
            found[controller] = f"{mounts[controller]}/{name}"
    return found


def kills(directories: list[str]) -> list[str]:
    """Return a sentence part if the kernel killed in a slot because memory ran out (`usage.read_killed` tells more)."""
    for directory in directories:
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(f"{directory}/{name}").splitlines():
                if line.startswith("oom_kill ") and line != "oom_kill 0":
                    return ["out of memory: killed by the kernel"]
    return []


def find(name: str, pid: int = 0) -> list[str]:
    """Return the directories `name` (`tree/project/slot`) that are there, as `open_tree` lays them out; makes nothing.

    `pid`: a process in them, which says in which unit of systemd they lie; 0: ours.
    """
    paths = [f"{top}/{name}" for top in dict.fromkeys(_mounts(str(pid or "self")).values())]
    return [path for path in paths if os.path.isdir(path)]


def _mounts(process: str = "self") -> Values:
    """Return the directory of each hierarchy that our subtree may lie in: by v1 controller, v2 as ""."""
    own = {}
    for line in _read(f"/proc/{process}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            own[name] = path.rstrip("/")
    found: Values = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            found.setdefault("", point)
        for name in options.split(",") if kind == "cgroup" else ():
            if name in own:
                found.setdefault(name, point + _unit_of_systemd(own[name].removeprefix(root.rstrip("/"))))
    return found


def _unit_of_systemd(path: str) -> str:
    """Return the part of a cgroup's path up to the unit that systemd gave us, "" if there is none.

    A cgroup that is nobody's unit belongs to whoever made it (a container's engine): that one is left alone.
    """
    parts = path.split("/")
    for end, part in enumerate(parts, 1):
        if part.endswith((".service", ".scope")):
            return "/".join(parts[:end])
    return ""


def _make(path: str) -> bool:
    try:
        os.mkdir(path, _EVERY_READ)
    except FileExistsError:
        pass
    except OSError:
        return False
    return os.access(f"{path}/cgroup.procs", os.W_OK)


def _enable(path: str) -> list[str]:
    """Let children of a v2 cgroup have controllers, and those of the one above it; return which they have.

    The kernel refuses (EBUSY) where processes live in the cgroup itself.
    """
    for directory in (os.path.dirname(path), path):
        for controller in V2_CONTROLLERS:
            _try_write(f"{directory}/cgroup.subtree_control", f"+{controller}")
    return [name for name in V2_CONTROLLERS if name in _read(f"{path}/cgroup.subtree_control").split()]


def withdraw(path: str) -> None:
    """Take controllers away from the children of a v2 cgroup and of the one above: a process may live there again."""
    for directory in (path, os.path.dirname(path)):
        for controller in V2_CONTROLLERS:
            _try_write(f"{directory}/cgroup.subtree_control", f"-{controller}")


def prepare(
    tree: LimitTree | None,
    project: str,
    slot: str,
    own: tuple[Values, Values],
    budget: tuple[Values, Values],
) -> Group:
    """Make the cgroups of a project and of one of its slots, with their values; (v2, v1) each. Never raises.

    What cannot be held is in the group's `missing` and `notes`. A value that is not given is not changed: a slot
    whose limits were taken away needs a new cgroup (`remove`).
    """
    group = Group(f"{project}/{slot}", [])
    if tree:
        _make_all(tree, project, budget, group, "the budget's ")
        group.directories = _make_all(tree, group.name, own, group, "")
    wanted = [name.partition(".")[0] for name in (*own[0], *budget[0])]
    group.missing += [
        name
        for name in dict.fromkeys(wanted)
        if not (tree and tree.holder(name)) and name not in group.missing
    ]
    return group


def _make_all(
    tree: LimitTree, name: str, values: tuple[Values, Values], group: Group, whose: str
) -> list[str]:
    made = [path for path in tree.directories(name) if _make(path)]
    if tree.v2 and "/" not in name:
        for controller in tree.controllers:
            _try_write(f"{tree.v2}/{name}/cgroup.subtree_control", f"+{controller}")
    for file, value in values[0].items():
        if tree.holder(file.partition(".")[0]) == "v2":
            _set(f"{tree.v2}/{name}/{file}", file, value, group, whose)
    lines = [(file, value) for file, value in values[1].items() if file.partition(".")[0] in tree.v1]
    for file, value in _in_order(tree, name, lines):
        _set(f"{tree.v1[file.partition('.')[0]]}/{name}/{file}", file, value, group, whose)
    return made


def _in_order(tree: LimitTree, name: str, lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return values in an order that the kernel takes: memory with swap is never below memory alone."""
    limit = next((value for file, value in lines if file == "memory.limit_in_bytes"), "")
    now = _read(f"{tree.v1['memory']}/{name}/memory.memsw.limit_in_bytes").strip() if limit else ""
    if now.isdigit() and int(now) < int(limit):
        return sorted(lines, key=lambda line: line[0] != "memory.memsw.limit_in_bytes")
    return lines


def _set(path: str, file: str, value: str, group: Group, whose: str) -> None:
    number = _try_write(path, value)
    if not number or (file in _OPTIONAL and number in (errno.ENOENT, errno.EACCES)):
        return
    group.missing.append(_v2_name(file.partition(".")[0]))
    if not (file == "blkio.bfq.weight" and number in (errno.ENOENT, errno.EACCES)):
        group.notes.append(f"{whose}{file} cannot be set to {value}: {os.strerror(number)}")


def set_values(tree: LimitTree, name: str, values: Values) -> None:
    """Write values (v2 and v1 names) where their controller is held, in their order; what is refused stays."""
    for file, value in values.items():
        controller = file.partition(".")[0]
        if os.path.exists(f"{tree.v2}/{name}/{file}") and controller in tree.controllers:
            _try_write(f"{tree.v2}/{name}/{file}", value)
        elif controller in tree.v1:
            _try_write(f"{tree.v1[controller]}/{name}/{file}", value)


def join(directories: list[str] | tuple[str, ...]) -> None:
    """Move this process into every hierarchy's directory; raise OSError.

    It must be single-threaded: v1 lets a single thread move at once, where moving a process waits for a grace
    period of the kernel (10 to 16 ms), as v2 always does.
    """
    for directory in directories:
        try:
            _write(f"{directory}/tasks", "0")
        except FileNotFoundError:
            _write(f"{directory}/cgroup.procs", "0")


def members(directories: list[str]) -> list[int]:
    """Return the pids in a group."""
    found: set[int] = set()
    for directory in directories:
        # 0 stands for a process outside our pid namespace: as an argument of kill(2) it would mean ourselves
        found |= {int(word) for word in _read(f"{directory}/cgroup.procs").split() if word != "0"}
    return sorted(found)


def remove(directories: list[str]) -> bool:
    """Remove the empty directories of a group; False if something lives in it."""
    empty = True
    for directory in directories:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno == errno.EROFS:  # as containers have it: nothing of ours can be there
                continue
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
            empty = False
    return empty


def _v1_name(controller: str) -> str:
    return "blkio" if controller == "io" else controller


def _v2_name(controller: str) -> str:
    return "io" if controller == "blkio" else controller


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(descriptor, _MAX_READ):
            parts.append(part)
        return os.fsdecode(b"".join(parts))
    except OSError:  # ENODEV: it was removed while we read
        return ""
    finally:
        os.close(descriptor)


def _try_write(path: str, text: str) -> int:
    """Write, and return the number of the error, 0 for none."""
    try:
        _write(path, text)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
