"""The cgroups of the slots of one installation: to kill a run and all that it started, to bound it, to count its use.

One tree by cgroup v2: `<own>/shiftboss-<instance>/<project>/<slot>.<run>`; a run lives in its leaf, the project's
directory holds the budget. Where v2 lacks controllers the same names exist below each v1 controller as well. Names
with @ are those of keeper and engine: no project can be called so.
"""

import os
from contextlib import suppress
from typing import NamedTuple

from shiftboss.confine import cgroup, kernel, limits

KEEPER, ENGINE = "@keeper", "@engine"
# what takes a limit away again, by the file that set it; v1 in this order (memory with swap goes first)
_UNLIMITED = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "cpu.max": "max 100000",
    "pids.max": "max",
    "io.weight": "100",
    "memory.memsw.limit_in_bytes": "-1",
    "memory.limit_in_bytes": "-1",
    "cpu.cfs_quota_us": "-1",
    "blkio.bfq.weight": "100",
}


class Bounds(NamedTuple):
    """The values of a slot and of its project's budget, (v2, v1) each: see core/limits.py."""

    own: tuple[limits.Values, limits.Values]
    budget: tuple[limits.Values, limits.Values]

    @property
    def is_set(self) -> bool:
        """Whether anything is bounded."""
        return any((*self.own, *self.budget))


class Leaf(NamedTuple):
    """The cgroup of a run. `path` ends it ("" none), `counted` are the directories that bound and count it.

    `missing`: controllers that cannot hold their limit here; `notes`: why, as far as that is not clear.
    """

    path: str = ""
    counted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def others(self) -> tuple[str, ...]:
        """The directories to be joined beside `path`."""
        return tuple(directory for directory in self.counted if directory != self.path)


class Groups:
    """Makes and removes the cgroups.

    A slot without limits keeps its cgroup from run to run, unless it was killed (see kernel.fork); one with limits
    gets a new one each time, whose counters begin at nothing.
    """

    def __init__(self, tree: cgroup.Tree | None, limit_tree: limits.LimitTree | None) -> None:
        self.tree, self._limits = tree, limit_tree
        self._leaves: dict[tuple[str, str], Leaf] = {}
        self._budgets: dict[str, set[str]] = {}

    def path_of(self, name: str) -> str:
        """Return the directory of one of our own processes (KEEPER, ENGINE), "" without cgroups."""
        return f"{self.tree.top}/{name}" if self.tree else ""

    def holders(self) -> dict[str, str]:
        """Return who holds the limits of each controller of cgroup v2 that there is: `v2` or `v1`."""
        found = {c: self._limits.holder(c) for c in limits.V2_CONTROLLERS} if self._limits else {}
        return {controller: holder for controller, holder in found.items() if holder}

    def take(self, project: str, slot: str, run_number: int, bounds: Bounds) -> Leaf:
        """Return the cgroup for the next run of a slot, with its limits. Never raises: what is missing is told."""
        key = (project, slot)
        if bounds.is_set or key not in self._leaves:
            self._leaves[key] = self._make(project, f"{slot}.{run_number}", bounds)
        return self._leaves[key]

    def _make(self, project: str, name: str, bounds: Bounds) -> Leaf:
        path = ""
        if self.tree:
            with suppress(OSError):
                cgroup.make(self.tree, project)
                path = cgroup.make(self.tree, f"{project}/{name}")
        if not bounds.is_set and not (self._limits and self._limits.v2):
            return Leaf(path)  # v1 would count it as well, for eight system calls a start
        self._lift_budget(project, bounds)
        made = limits.prepare(self._limits, project, name, bounds.own, bounds.budget)
        return Leaf(path, tuple(made.directories), tuple(made.missing), tuple(made.notes))

    def _lift_budget(self, project: str, bounds: Bounds) -> None:
        """Take values of a project's cgroup away that its budget has no more."""
        wanted = {file for values in bounds.budget for file in values}
        lifted = self._budgets.get(project, set()) - wanted
        self._budgets[project] = wanted
        if lifted and self._limits:
            limits.set_values(self._limits, project, {f: v for f, v in _UNLIMITED.items() if f in lifted})

    def retire(self, project: str, slot: str, path: str) -> None:
        """Say that a cgroup was killed: it is not used again."""
        if path and self._leaves.get((project, slot), Leaf()).path == path:
            del self._leaves[project, slot]

    def clear(self, project: str, slot: str, leaf: Leaf) -> None:
        """Remove the empty cgroup of a run; one that is in use stays."""
        gone = cgroup.remove(leaf.path) if leaf.path else True
        gone = limits.remove(list(leaf.others)) and gone
        if gone and self._leaves.get((project, slot)) == leaf:
            del self._leaves[project, slot]
        if gone:
            self._clear_project(project)

    def _clear_project(self, project: str) -> None:
        """Remove a project's directories with its last slot: its next start makes them anew."""
        if not any(key[0] == project for key in self._leaves):
            if self._limits:
                limits.remove(self._limits.directories(project))
            if self.tree:
                limits.remove([f"{self.tree.top}/{project}"])

    def remove(self) -> bool:
        """Remove everything at the end; False if something is left in it."""
        if self.tree and os.path.isdir(self.path_of(KEEPER)):
            cgroup.clear(self.tree.top)
            limits.withdraw(self.tree.top)
            with suppress(OSError):
                cgroup.join(os.path.dirname(self.tree.top))  # back to where `settle` found us
        left = [top for top in _tops(self.tree, self._limits) if not cgroup.remove(top)]
        return not left


def _tops(tree: cgroup.Tree | None, limit_tree: limits.LimitTree | None) -> list[str]:
    v1 = list(limit_tree.v1.values()) if limit_tree else []
    return list(dict.fromkeys([*v1, *([tree.top] if tree else [])]))


def settle(name: str, kinds: tuple[cgroup.Kind, ...], tree: cgroup.Tree | None) -> Groups:
    """Make the tree ready, when nothing of an earlier keeper lives in it.

    As a service, and as the first process of a container, this process moves into a leaf of its own: only then may
    cgroups below have controllers (cgroup-v2.rst, no internal processes). Then finds out whether children can be born
    in cgroups.
    """
    if tree and tree.kind == "v2":
        with suppress(OSError):
            if ("INVOCATION_ID" in os.environ or os.getpid() == 1) and cgroup.is_alone(tree):
                cgroup.join(cgroup.make(tree, KEEPER))
            tree = tree._replace(birth=kernel.birth_works(cgroup.make(tree, ENGINE)))
    if not kinds:
        return Groups(tree, None)
    v2_top = tree.top if tree and tree.kind == "v2" else None
    found = limits.open_tree(name, v2_top, limits.V1_BOUNDING if "v1" in kinds else ())
    for top in found.v1.values() if found else ():
        cgroup.clear(top)
    return Groups(tree, found)
