"""What plan and status say of a machine's limits is what the launcher meets there."""

import os
from pathlib import Path

import pytest

from shiftboss.confine import limits
from shiftboss.core.limits import launcher_ground
from shiftboss.host.ground import find_ground, given_below, weighing


@pytest.mark.needs_root
def test_the_launcher_gets_what_was_told_of_this_machine() -> None:
    name = f"shiftboss-test-{os.getpid()}"
    tree = limits.open_tree(name)
    ground = launcher_ground(find_ground())
    told = {
        controller: "v2" if controller in ground.v2 else "v1" if v1 in ground.v1 else ""
        for controller, v1 in (("memory", "memory"), ("cpu", "cpu"), ("pids", "pids"), ("io", "blkio"))
    }
    held = {controller: tree.holder(controller) if tree else "" for controller in told}
    if tree:
        limits.remove([top for top in (tree.v2, *tree.v1.values()) if top])
    assert told == held


def cgroup(place: Path, *, processes: str = "", **files: str) -> str:
    """Lay out a v2 mount as the kernel shows it."""
    place.mkdir()
    texts = {"controllers": "cpuset cpu io memory pids", "procs": processes, "subtree_control": "", **files}
    for name, text in texts.items():
        (place / f"cgroup.{name}").write_text(f"{text}\n")
    return str(place)


def test_a_container_whose_processes_live_at_its_top_gives_only_what_is_enabled(tmp_path: Path) -> None:
    everything = "cpuset cpu io memory pids"
    assert given_below(cgroup(tmp_path / "root", processes="1\n2")).split() == everything.split()
    closed = cgroup(tmp_path / "container", processes="1", type="domain")
    assert given_below(closed).split() == []
    partly = cgroup(tmp_path / "partly", processes="1", type="domain", subtree_control="pids")
    assert given_below(partly).split() == ["pids"]
    assert given_below(cgroup(tmp_path / "empty", type="domain")).split() == everything.split()


def test_disks_that_go_by_weight(tmp_path: Path) -> None:
    for disk, scheduler in (("sda", "none [mq-deadline]"), ("sdb", "[none]")):
        (tmp_path / "block" / disk / "queue").mkdir(parents=True)
        (tmp_path / "block" / disk / "queue/scheduler").write_text(f"{scheduler}\n")
    sys, top = str(tmp_path), tmp_path / "top"
    top.mkdir()
    assert weighing([str(top)], sys) is None, "the root cgroup cannot be seen"
    (top / "io.cost.qos").write_text("8:16 enable=0 ctrl=auto\n")
    assert weighing([str(top)], sys) == frozenset()
    (tmp_path / "dev/block").mkdir(parents=True)
    (tmp_path / "dev/block/8:16").symlink_to("../../block/sdb")
    (top / "io.cost.qos").write_text("8:16 enable=1 ctrl=auto\n")
    (tmp_path / "block/sda/queue/scheduler").write_text("none mq-deadline [bfq]\n")
    assert weighing([str(top)], sys) == {"sda", "sdb"}
