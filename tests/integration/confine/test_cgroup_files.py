"""What cgroup files say is read right, v2 and v1, and trees of cgroups are made with what a machine has.

The kernel's files are stood in for by plain ones here, so that both versions are tested on every machine; that the
kernel takes the values is in test_limits.py. About 1 s.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from shiftboss.confine import limits
from shiftboss.confine.limits import LimitTree
from shiftboss.confine.usage import Killed, Usage, read_killed, read_usage


def write(directory: Path, **files: str) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return str(directory)


def test_usage_by_cgroup_v2(tmp_path: Path) -> None:
    directory = write(
        tmp_path,
        memory__current="3000\n",
        memory__stat="anon 1000\ninactive_file 500\n",
        memory__peak="4000\n",
        cpu__stat="usage_usec 2500000\nthrottled_usec 1000000\n",
        io__stat="8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
        pids__current="7\n",
    )
    assert read_usage([directory]) == Usage(3000, 2500, 4000, 2.5, 1.0, 11, 22, 7)


def test_usage_by_cgroup_v1_comes_from_several_directories(tmp_path: Path) -> None:
    memory = write(
        tmp_path / "memory",
        memory__usage_in_bytes="3000\n",
        memory__stat="total_inactive_file 500\n",
        memory__max_usage_in_bytes="4000\n",
    )
    cpu = write(tmp_path / "cpu", cpu__stat="nr_throttled 4\nthrottled_time 1000000000\n")
    cpuacct = write(tmp_path / "cpuacct", cpuacct__usage="2500000000\n")
    pids = write(tmp_path / "pids", pids__current="7\n")
    blkio = write(
        tmp_path / "blkio",
        blkio__throttle__io_service_bytes="8:0 Read 10\n8:0 Write 20\n8:16 Read 1\n8:16 Write 2\nTotal 33\n",
    )
    assert read_usage([memory, cpu, cpuacct, pids, blkio]) == Usage(3000, 2500, 4000, 2.5, 1.0, 11, 22, 7)


def test_what_nobody_counts_is_unknown_and_not_zero(tmp_path: Path) -> None:
    assert read_usage([]) == read_usage([str(tmp_path), "/no/such"]) == Usage(*[None] * 8)
    assert read_killed([str(tmp_path)]) == Killed(0, False, None, None)


def test_killed_by_ones_own_limit_in_cgroup_v2(tmp_path: Path) -> None:
    directory = write(
        tmp_path,
        memory__events="low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n",
        memory__max="64\n",
        memory__peak="64\n",
    )
    assert read_killed([directory]) == Killed(1, True, 64, 64)


def test_killed_for_want_of_memory_elsewhere(tmp_path: Path) -> None:
    v2 = write(tmp_path / "v2", memory__events="oom 0\noom_kill 3\n", memory__max="max\n")
    v1 = write(
        tmp_path / "v1",
        memory__oom_control="under_oom 0\noom_kill 3\n",
        memory__limit_in_bytes=f"{1 << 40}\n",
        memory__max_usage_in_bytes="99\n",
    )
    assert read_killed([v2]) == Killed(3, False, None, None)
    assert read_killed([v1]) == Killed(3, False, 1 << 40, 99)


def tree(tmp_path: Path) -> LimitTree:
    """Return a tree that has memory by v2, and cpu and pids by v1."""
    write(tmp_path / "v2", cgroup__procs="")
    write(tmp_path / "v1")
    return LimitTree(
        str(tmp_path / "v2"), frozenset({"memory"}), {"cpu": f"{tmp_path}/v1", "pids": f"{tmp_path}/v1"}
    )


def test_each_limit_goes_to_whoever_holds_it(tmp_path: Path) -> None:
    made = tree(tmp_path)
    for name in ("shop", "shop/queue.1"):
        for version in ("v2", "v1"):
            write(
                tmp_path / version / name,
                cgroup__procs="",
                memory__max="",
                cpu__cfs_quota_us="",
                pids__max="",
                memory__limit_in_bytes="",
            )
    own = (
        {"memory.max": "64", "cpu.max": "5 10", "pids.max": "3", "io.weight": "9"},
        {"memory.limit_in_bytes": "64", "cpu.cfs_quota_us": "5", "pids.max": "3", "blkio.bfq.weight": "9"},
    )
    group = limits.prepare(made, "shop", "queue.1", own, ({"memory.max": "128"}, {}))
    assert group.directories == [f"{tmp_path}/v2/shop/queue.1", f"{tmp_path}/v1/shop/queue.1"]
    assert (tmp_path / "v2/shop/memory.max").read_text() == "128"
    assert (tmp_path / "v2/shop/queue.1/memory.max").read_text() == "64"
    assert (tmp_path / "v1/shop/queue.1/memory.limit_in_bytes").read_text() == ""
    assert (tmp_path / "v1/shop/queue.1/cpu.cfs_quota_us").read_text() == "5"
    assert (tmp_path / "v1/shop/queue.1/pids.max").read_text() == "3"
    assert (group.missing, group.notes) == (["io"], [])


def test_a_value_that_is_refused_is_told_and_its_limit_is_missing(tmp_path: Path) -> None:
    made = tree(tmp_path)
    write(tmp_path / "v2/shop/queue.1", cgroup__procs="")
    own = ({"memory.max": "64", "memory.swap.max": "0"}, {})
    group = limits.prepare(made, "shop", "queue.1", own, ({}, {}))
    assert group.missing == ["memory"]
    assert group.notes == ["memory.max cannot be set to 64: No such file or directory"]


def test_without_cgroups_every_limit_is_missing() -> None:
    own = ({"memory.max": "1", "memory.swap.max": "0", "cpu.max": "1 2"}, {})
    group = limits.prepare(None, "shop", "queue.1", own, ({"pids.max": "5"}, {}))
    assert (group.directories, group.missing) == ([], ["memory", "cpu", "pids"])


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("", ""),
        ("/", ""),
        ("/docker/4e3f", ""),
        ("/system.slice/supervisor.service", "/system.slice/supervisor.service"),
        ("/system.slice/shiftboss.service/shiftboss-x/keeper", "/system.slice/shiftboss.service"),
        ("/user.slice/user-0.slice/session-1.scope", "/user.slice/user-0.slice/session-1.scope"),
    ],
)
def test_only_a_unit_of_systemd_is_taken_for_our_own_place(path: str, unit: str) -> None:
    assert limits._unit_of_systemd(path) == unit


READ_ONLY = """
grep -E ' cgroup2? ' /proc/mounts | cut -d' ' -f2 | while read -r place; do mount -o remount,bind,ro "$place"; done
exec "$@"
"""
OPEN = """
from shiftboss.confine import limits
name = "shiftboss-read-only"
tree = limits.open_tree(name)
group = limits.prepare(tree, "app", "queue.1", ({"pids.max": "5"}, {"pids.max": "5"}), ({}, {}))
print(tree, group.directories, group.missing)
"""


@pytest.mark.needs_root
def test_cgroups_that_are_mounted_read_only_hold_nothing_and_stop_nobody() -> None:
    """That is how a container of Docker has them."""
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "--"]
    ended = subprocess.run(
        [*inside, sys.executable, "-c", OPEN], capture_output=True, text=True, timeout=30, check=False
    )

    assert (ended.stdout, ended.stderr) == ("None [] ['pids']\n", "")
