"""Limits of a unit and what they become: values of cgroup v2 and v1, rlimits, and words about who holds them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.limits import (
    Ground,
    fallbacks,
    ground_of,
    holdings,
    launcher_ground,
    rlimits,
    size_text,
    v1_values,
    v2_values,
    within,
)
from shiftboss.core.spec import Limits

ALL = Limits(
    memory_bytes=256 << 20,
    memory_soft_bytes=200 << 20,
    cpu_percent=50,
    tasks_max=64,
    nofile=4096,
    nice=5,
    io_weight=50,
)
EVERYTHING = frozenset({"memory", "cpu", "pids", "io"})
V1 = frozenset({"memory", "cpu", "pids", "blkio"})
some_limits = st.builds(
    Limits,
    memory_bytes=st.integers(0, 1 << 40),
    memory_soft_bytes=st.integers(0, 1 << 40),
    cpu_percent=st.integers(0, 6400),
    tasks_max=st.integers(0, 10000),
    nofile=st.integers(0, 10000),
    nice=st.integers(-20, 19),
    io_weight=st.integers(0, 10000),
)


def test_values_of_cgroup_v2() -> None:
    assert v2_values(ALL, watched=True) == {
        "memory.max": "268435456",
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "pids.max": "64",
        "io.weight": "50",
    }


def test_values_of_cgroup_v1_in_the_order_that_the_kernel_takes() -> None:
    assert list(v1_values(ALL, watched=True).items()) == [
        ("memory.limit_in_bytes", "268435456"),
        ("memory.memsw.limit_in_bytes", "268435456"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"),
        ("pids.max", "64"),
        ("blkio.bfq.weight", "50"),
    ]


def test_the_weight_of_v1_ends_at_1000() -> None:
    assert v1_values(Limits(io_weight=10_000), watched=True)["blkio.bfq.weight"] == "1000"


def test_where_nobody_watches_the_kernel_is_told_the_soft_limit() -> None:
    assert v2_values(ALL, watched=False)["memory.high"] == str(200 << 20)
    assert v1_values(ALL, watched=False)["memory.soft_limit_in_bytes"] == str(200 << 20)


def test_without_limits_nothing_is_written() -> None:
    nothing = Limits()
    assert v2_values(nothing, watched=False) == v1_values(nothing, watched=False) == rlimits(nothing) == {}
    assert fallbacks(nothing) == holdings(nothing, Ground()) == ()


@given(some_limits, some_limits)
def test_no_limit_of_a_unit_is_above_its_projects_and_none_comes_from_nowhere(
    own: Limits, budget: Limits
) -> None:
    found = within(own, budget)
    for name in ("memory_bytes", "cpu_percent", "tasks_max"):
        asked, most, given_ = (getattr(limits, name) for limits in (own, budget, found))
        assert given_ == (min(asked, most) if asked and most else asked)


def test_without_cgroups_memory_and_tasks_fall_back_to_rlimits() -> None:
    found = {fallback.controller: fallback.rlimits for fallback in fallbacks(ALL)}
    size = 256 << 20
    assert found == {"memory": {"DATA": (size, size)}, "cpu": {}, "pids": {"NPROC": (64, 64)}, "io": {}}


def test_who_holds_what_on_a_machine_with_cgroup_v2() -> None:
    found = {row.limit: row.by for row in holdings(ALL, Ground(v2=EVERYTHING))}
    assert found == {
        "memory": "cgroup v2",
        "memory_soft": "engine",
        "cpu": "cgroup v2",
        "tasks_max": "cgroup v2",
        "io_weight": "cgroup v2",
        "nofile": "rlimit",
        "nice": "kernel",
    }


def test_a_controller_that_only_v1_has_is_taken_from_there() -> None:
    found = {row.limit: row.by for row in holdings(ALL, Ground(v2=frozenset({"pids"}), v1=V1))}
    assert (found["memory"], found["tasks_max"], found["io_weight"]) == (
        "cgroup v1",
        "cgroup v2",
        "cgroup v1",
    )


def test_what_does_not_hold_as_wished_is_said() -> None:
    found = {row.limit: row for row in holdings(ALL, Ground(root=False, watched=False))}
    assert found["cpu"].by == "nobody"
    assert found["cpu"].words == "50% of the CPU is not held: there is no cpu cgroup"
    assert found["memory"].words == "each process may have 256M for itself: there is no memory cgroup"
    assert found["memory_soft"].words == "nobody watches its memory on this backend"
    assert holdings(Limits(nice=-5), Ground(root=False))[0].words == "only root can raise a priority"


@pytest.mark.parametrize(
    ("disks", "by", "words"),
    [
        (None, "cgroup v2", "only on disks with the scheduler bfq, or with iocost"),
        (frozenset({"sdb", "sda"}), "cgroup v2", "only on sda, sdb"),
        (
            frozenset(),
            "nobody",
            "the share 50 of the disk is not held: no disk has the scheduler bfq, or iocost",
        ),
    ],
)
def test_a_share_of_the_disk_holds_only_where_a_disk_goes_by_weights(
    disks: frozenset[str] | None, by: str, words: str
) -> None:
    """The kernel takes the number anywhere."""
    [row] = holdings(Limits(io_weight=50), Ground(v2=EVERYTHING, weighing=disks))
    assert (row.by, row.words) == (by, words)


def test_for_the_launcher_nobody_watches_and_the_top_of_the_hierarchy_counts() -> None:
    soft = Limits(memory_bytes=1 << 28, memory_soft_bytes=1 << 27)
    rows = holdings(soft, launcher_ground(Ground(v2=EVERYTHING)))
    assert [(row.limit, row.by, row.words) for row in rows] == [
        ("memory", "cgroup v2", ""),
        ("memory_soft", "cgroup v2", "nobody starts it afresh there: the kernel slows it down from here on"),
    ]
    [memory, _] = holdings(soft, launcher_ground(Ground(v2=EVERYTHING, top=frozenset({"pids"}))))
    assert memory.by == "rlimit"


@given(some_limits, st.sets(st.sampled_from(sorted(EVERYTHING))), st.sets(st.sampled_from(sorted(V1))))
def test_every_limit_that_is_set_is_accounted_for(limits: Limits, v2: set[str], v1: set[str]) -> None:
    rows = holdings(limits, Ground(v2=frozenset(v2), v1=frozenset(v1)))
    count = sum(bool(getattr(limits, name)) for name in Limits.__struct_fields__)
    assert len(rows) == count
    assert all(row.words for row in rows if row.by == "nobody")


def test_sizes_as_people_write_them() -> None:
    assert [size_text(size) for size in (1 << 30, 256 << 20, 1536 << 10, 1000)] == [
        "1G",
        "256M",
        "1536K",
        "1000",
    ]


def test_a_running_keeper_knows_better_than_what_the_machine_seems_to_have() -> None:
    seems = Ground(v2=frozenset({"memory", "cpu", "pids", "io"}))
    assert ground_of(seems, None) == seems
    assert ground_of(seems, {}) == Ground()
    mixed = ground_of(seems, {"memory": "v2", "io": "v1"})
    assert (mixed.v2, mixed.v1) == (frozenset({"memory"}), frozenset({"blkio"}))
