"""Limits of a unit or a project -> cgroup v2 and v1 values and rlimits, and who holds which limit on a machine.

The sources are Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.rst of Linux, setrlimit(2), ioprio_set(2).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.sizes import size_text
from shiftboss.core.spec import Limits

if TYPE_CHECKING:
    from shiftboss.core.wire.entry import Entry, Fallback

Holder = Literal["cgroup v2", "cgroup v1", "rlimit", "engine", "kernel", "nobody"]
CPU_PERIOD_US = 100_000


class Ground(Struct, frozen=True):
    """What a machine offers: controllers that can be had by cgroup v2 and v1, and whether we are root there.

    `watched`: an engine watches the unit's memory (native backend). `namespaces`: mount namespaces can be made.
    `weighing`: disks that are shared out by weight; None: that cannot be seen. `top`: the controllers that v2 gives
    directly below its mount, where the launcher's cgroups lie; None: all of `v2`.
    """

    v2: frozenset[str] = frozenset()
    v1: frozenset[str] = frozenset()
    root: bool = True
    namespaces: bool = True
    watched: bool = True
    weighing: frozenset[str] | None = None
    top: frozenset[str] | None = None


def launcher_ground(found: Ground) -> Ground:
    """Return what there is for units that Supervisor or cron starts: no engine watches them."""
    return replace(found, v2=found.v2 if found.top is None else found.top, watched=False)


def ground_of(found: Ground, controllers: Mapping[str, str] | None) -> Ground:
    """Return what was found, corrected by what a running keeper has (None: none runs)."""
    if controllers is None:
        return found
    v2 = frozenset(name for name, holder in controllers.items() if holder == "v2")
    v1 = frozenset(
        "blkio" if name == "io" else name for name, holder in controllers.items() if holder == "v1"
    )
    return replace(found, v2=v2, v1=v1)


class Holding(Struct, frozen=True):
    """Who holds one limit. `words` says what does not hold as wished, "" if all is well."""

    limit: str
    value: str
    by: Holder
    words: str = ""


def within(limits: Limits, budget: Limits) -> Limits:
    """Return a unit's limits, none above its project's: cgroup v1 refuses a CPU share above the parent's."""
    return Limits(
        memory_bytes=_lesser(limits.memory_bytes, budget.memory_bytes),
        memory_soft_bytes=limits.memory_soft_bytes,
        cpu_percent=_lesser(limits.cpu_percent, budget.cpu_percent),
        tasks_max=_lesser(limits.tasks_max, budget.tasks_max),
        nofile=limits.nofile,
        nice=limits.nice,
        io_weight=limits.io_weight,
    )


def _lesser(own: int, budget: int) -> int:
    return min(own, budget) if own and budget else own


def v2_values(limits: Limits, *, watched: bool) -> dict[str, str]:
    """Return file name to value for cgroup v2; without limits the values that take old ones away are left out.

    Swap is forbidden with a memory limit: else a leaking worker would fill the swap instead of ending. Who is
    `watched` is asked to start afresh at its soft limit; for others the kernel slows it down there (memory.high).
    """
    values: dict[str, str] = {}
    if limits.memory_bytes:
        values |= {"memory.max": str(limits.memory_bytes), "memory.swap.max": "0"}
    if limits.memory_soft_bytes and not watched:
        values["memory.high"] = str(limits.memory_soft_bytes)
    if limits.cpu_percent:
        values["cpu.max"] = f"{_quota(limits)} {CPU_PERIOD_US}"
    if limits.tasks_max:
        values["pids.max"] = str(limits.tasks_max)
    if limits.io_weight:
        values["io.weight"] = str(limits.io_weight)
    return values


def v1_values(limits: Limits, *, watched: bool) -> dict[str, str]:
    """Return file name to value for the controllers of cgroup v1, in the order of writing."""
    values: dict[str, str] = {}
    if limits.memory_bytes:
        size = str(limits.memory_bytes)
        values |= {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}
    if limits.memory_soft_bytes and not watched:
        values["memory.soft_limit_in_bytes"] = str(limits.memory_soft_bytes)
    if limits.cpu_percent:
        values |= {"cpu.cfs_period_us": str(CPU_PERIOD_US), "cpu.cfs_quota_us": str(_quota(limits))}
    if limits.tasks_max:
        values["pids.max"] = str(limits.tasks_max)
    if limits.io_weight:
        values["blkio.bfq.weight"] = str(min(limits.io_weight, 1000))  # 1 to 1000, the usual is 100 as well
    return values


def limits_of(entry: "Entry") -> Limits:
    """Return the limits that a manifest entry was made with: those of its unit, within its project's budget."""
    return replace(
        _limits_from(entry.confinement.v2),
        memory_soft_bytes=entry.policy.memory_soft_bytes or _number(entry.confinement.v2, "memory.high"),
        nofile=entry.rlimits.get("NOFILE", (0, 0))[0],
        nice=entry.confinement.nice,
    )


def budget_of(entry: "Entry") -> Limits:
    """Return the budget of its project that a manifest entry was made with."""
    return _limits_from(entry.confinement.budget_v2)


def _limits_from(v2: dict[str, str]) -> Limits:
    return Limits(
        memory_bytes=_number(v2, "memory.max"),
        cpu_percent=_number(v2, "cpu.max") * 100 // CPU_PERIOD_US,
        tasks_max=_number(v2, "pids.max"),
        io_weight=_number(v2, "io.weight"),
    )


def _number(v2: dict[str, str], name: str) -> int:
    return int(v2.get(name, "0").split()[0])


def _quota(limits: Limits) -> int:
    return limits.cpu_percent * CPU_PERIOD_US // 100


def rlimits(limits: Limits) -> dict[str, tuple[int, int]]:
    """Return the rlimits that hold a limit by themselves, wherever the unit runs."""
    return {"NOFILE": (limits.nofile, limits.nofile)} if limits.nofile else {}


def fallbacks(limits: Limits) -> "tuple[Fallback, ...]":
    """Return what is done for each limit whose controller is not there, with the words for it."""
    from shiftboss.core.wire.entry import Fallback  # for a manifest only: a status does not need it

    found = []
    if limits.memory_bytes:
        # DATA and not AS: node and the JVM reserve far more address space than they ever use
        pair = (limits.memory_bytes, limits.memory_bytes)
        words = (
            f"each process may have {size_text(limits.memory_bytes)} for itself: there is no memory cgroup"
        )
        found.append(Fallback("memory", {"DATA": pair}, words))
    if limits.cpu_percent:
        words = f"{limits.cpu_percent}% of the CPU is not held: there is no cpu cgroup"
        found.append(Fallback("cpu", {}, words))
    if limits.tasks_max:
        pair = (limits.tasks_max, limits.tasks_max)
        words = f"{limits.tasks_max} tasks are counted for the whole user: there is no pids cgroup"
        found.append(Fallback("pids", {"NPROC": pair}, words))
    if limits.io_weight:
        words = f"the share {limits.io_weight} of the disk is not held: there is no io cgroup with weights"
        found.append(Fallback("io", {}, words))
    return tuple(found)


def holdings(limits: Limits, ground: Ground) -> tuple[Holding, ...]:
    """Return who holds each limit that is set, in the order of the configuration page."""
    words = {fallback.controller: fallback.words for fallback in fallbacks(limits)}
    found = []
    for name, controller, value in _by_controller(limits):
        by = _holder(controller, ground)
        held = Holding(name, value, by, words[controller] if by in {"rlimit", "nobody"} else "")
        found.append(_weighed(held, ground) if controller == "io" else held)
    if limits.memory_soft_bytes:
        found.insert(1 if limits.memory_bytes else 0, _soft(limits, ground))
    if limits.nofile:
        found.append(Holding("nofile", str(limits.nofile), "rlimit"))
    if limits.nice:
        refused = limits.nice < 0 and not ground.root
        found.append(_nice(limits, refused))
    return tuple(found)


def _by_controller(limits: Limits) -> list[tuple[str, str, str]]:
    rows = [
        ("memory", "memory", size_text(limits.memory_bytes), limits.memory_bytes),
        ("cpu", "cpu", f"{limits.cpu_percent}%", limits.cpu_percent),
        ("tasks_max", "pids", str(limits.tasks_max), limits.tasks_max),
        ("io_weight", "io", str(limits.io_weight), limits.io_weight),
    ]
    return [(name, controller, text) for name, controller, text, value in rows if value]


def _weighed(held: Holding, ground: Ground) -> Holding:
    """The kernel takes a weight in silence where no disk goes by it (cgroup-v2.rst, "IO Interface Files")."""
    if held.by == "nobody":
        return held
    if ground.weighing is None:
        return replace(held, words="only on disks with the scheduler bfq, or with iocost")
    if ground.weighing:
        return replace(held, words=f"only on {', '.join(sorted(ground.weighing))}")
    words = f"the share {held.value} of the disk is not held: no disk has the scheduler bfq, or iocost"
    return replace(held, by="nobody", words=words)


def _holder(controller: str, ground: Ground) -> Holder:
    if controller in ground.v2:
        return "cgroup v2"
    if ("blkio" if controller == "io" else controller) in ground.v1:
        return "cgroup v1"
    return "rlimit" if controller in {"memory", "pids"} else "nobody"


def _soft(limits: Limits, ground: Ground) -> Holding:
    value = size_text(limits.memory_soft_bytes)
    if ground.watched:
        return Holding("memory_soft", value, "engine")
    if "memory" in ground.v2:
        return Holding(
            "memory_soft",
            value,
            "cgroup v2",
            "nobody starts it afresh there: the kernel slows it down from here on",
        )
    if "memory" in ground.v1:
        return Holding(
            "memory_soft",
            value,
            "cgroup v1",
            "nobody starts it afresh there: the kernel takes from its cache first",
        )
    return Holding("memory_soft", value, "nobody", "nobody watches its memory on this backend")


def _nice(limits: Limits, refused: bool) -> Holding:
    words = "only root can raise a priority" if refused else ""
    return Holding("nice", str(limits.nice), "nobody" if refused else "kernel", words)
