"""`shiftboss service` on real systemds: cgroup version 1 beside 2 ("hybrid", namespaces) and version 2 alone (a VM).

About 40 s in namespaces and some minutes in the VM, after a minute for building what both boot from. A directory named in
SHIFTBOSS_TEST_BED is built once and kept.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from compileall import compile_dir
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.public_copy import make_public_copy
from tests.e2e.systemd import clock_scenes
from tests.e2e.systemd.bed import NativeBed, VmBed, build
from tests.e2e.systemd.confined import bring_tests, run_tests
from tests.e2e.systemd.world import PACKAGES, PROGRAMS, UNIT, World
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(900)]
in_namespaces = pytest.mark.parametrize("bed_world", ["namespaces"], indirect=True)
in_the_vm = pytest.mark.parametrize("bed_world", ["vm"], indirect=True)

LIMITED = f"""[project]
user = "carol_user"

[project.budget]
memory = "300M"

[workers.eat]
command = ["/usr/bin/python3", "-c", "held = b'x' * 160 * 1024 ** 2"]
memory = "48M"

[workers.greedy]
command = ["/usr/bin/python3", "-c", "held = b'x' * 400 * 1024 ** 2"]

[workers.busy]
command = ["/usr/bin/python3", "-c", "while True: pass"]
cpu = "20%"

[workers.forks]
command = ["/usr/bin/python3", "-I", "{PROGRAMS}/forks.py"]
tasks_max = 20

[workers.leaves]
command = ["/usr/bin/python3", "-I", "{PROGRAMS}/leaves.py"]
memory = "48M"

[workers.weighs]
command = ["/bin/sleep", "86399"]
io_weight = 50
"""

COUNTING = f"""[project]
user = "carol_user"

[workers.counts]
command = ["/bin/sh", "{PROGRAMS}/counts.sh"]

[schedules.long]
every = "1d"
backend = "native"
command = ["/bin/sleep", "86399"]
"""


@pytest.fixture(scope="session")
def built_bed() -> Iterator[Path]:
    """Give what both kinds of machine boot from."""
    kept = os.environ.get("SHIFTBOSS_TEST_BED")
    directory = Path(kept or tempfile.mkdtemp(prefix="shiftboss-bed-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield build(directory)
    if not kept:
        shutil.rmtree(directory)


@pytest.fixture(scope="session", params=["namespaces", "vm"])
def bed_world(request: pytest.FixtureRequest, built_bed: Path) -> Iterator[World]:
    """Give a booted machine with two projects; switch it off afterwards."""
    work = Path(tempfile.mkdtemp(prefix="shiftboss-bed-", dir="/var/tmp"))
    packages = work / "packages"
    packages.mkdir()
    make_public_copy(packages)
    # the engine may not keep what it has compiled: in the VM each start of it would take 40 s of CPU time
    compile_dir(packages, quiet=1, stripdir=str(packages), prependdir=PACKAGES)
    bed = (NativeBed if request.param == "namespaces" else VmBed)(built_bed, work)
    try:
        world = World(bed)
        world.furnish(packages)
        yield world
    finally:
        bed.close()
        shutil.rmtree(work)


@pytest.fixture
def world(bed_world: World) -> World:
    """Give the machine; what a test before changed is made good by `installed`."""
    return bed_world


def test_workers_of_two_users_run_as_them_each_in_a_cgroup_of_its_own(world: World) -> None:
    service = world.installed()

    assert {key: service[key] for key in ("installed", "enabled", "active")} == {
        "installed": True, "enabled": True, "active": "active",
    }  # fmt: skip
    assert service["keeper_pid"] == world.keeper()
    workers = world.until_all_run()
    groups = [world.cgroup(pid) for pid in (*workers, world.keeper(), world.engine())]
    assert len(set(groups)) == 6
    assert all(group.startswith("/system.slice/shiftboss.service/") for group in groups), groups
    assert world.bed.ok("stat", "-c", "%U", f"/proc/{world.engine()}") == "shiftboss"


@in_namespaces
def test_the_life_of_a_worker_from_the_command_line(world: World) -> None:
    world.installed()
    others = world.until_all_run()
    world.add_project("dave")
    world.ok("setup", "dave", "custom", "--name", "thumbs", "--workers", "2", "--", "/bin/sleep", "86399")
    first, second = world.pids("dave/thumbs")
    assert world.bed.ok("ps", "-o", "user:32=", "-p", f"{first},{second}").split() == ["dave_user"] * 2
    assert len({world.cgroup(pid) for pid in (first, second)}) == 2

    world.bed.ok("kill", "-9", str(first))
    third = wait_until(lambda: _in_place_of(world, first, second), 20, what="the next run", interval=0.2)
    (end,) = [
        row for row in json.loads(world.ok("history", "dave/thumbs", "--json")) if row["kind"] == "exit"
    ]
    assert end["reason"].startswith("killed by SIGKILL, which shiftboss did not send")

    world.ok("restart", "dave/thumbs")
    fresh = world.pids("dave/thumbs")
    assert not {third, second} & set(fresh)
    world.ok("scale", "dave/thumbs", "3")
    assert world.pids("dave/thumbs")[:2] == fresh
    world.ok("stop", "dave/thumbs")
    assert world.pids("dave/thumbs") == [None] * 3
    assert world.bed.run("pgrep", "-u", "dave_user").output == ""
    world.ok("start", "dave/thumbs")
    assert None not in world.pids("dave/thumbs")

    world.ok("remove", "dave", "--yes")
    assert world.bed.run("pgrep", "-u", "dave_user").output == ""
    assert world.bed.run("test", "-e", "/etc/shiftboss/projects/dave.toml").status == 1
    assert world.until_all_run() == others


def _in_place_of(world: World, dead: int, other: int) -> int | None:
    """Return the pid of a run that has taken the place of a dead one; the other is as it was."""
    new, same = world.pids("dave/thumbs")
    assert same == other
    return new if new != dead else None


def test_a_second_install_changes_nothing(world: World) -> None:
    before = world.installed()
    assert json.loads(world.ok("service", "install", "--json"))["actions"] == []
    assert world.service() == before


def test_a_killed_engine_costs_no_worker(world: World) -> None:
    world.installed()
    workers, engine = world.until_all_run(), world.engine()

    world.bed.ok("kill", "-9", str(engine))

    wait_until(
        lambda: world.service()["engine_pid"] not in (None, engine), 30, what="the next engine", interval=0.2
    )
    assert world.until_all_run() == workers


def test_after_a_killed_keeper_the_unit_is_active_and_there_is_one_copy_of_everything(world: World) -> None:
    world.installed()
    before, keeper = world.until_all_run(), world.keeper()

    world.bed.ok("kill", "-9", str(keeper))

    wait_until(
        lambda: world.service()["keeper_pid"] not in (None, keeper), 60, what="the next keeper", interval=0.2
    )
    after = world.until_all_run()
    assert not after.keys() & before.keys()
    assert world.bed.ok("systemctl", "is-active", "shiftboss") == "active"
    assert sum("-m shiftboss.keeper" in row for row in world.leftovers()) == 1


@pytest.fixture
def counting(world: World) -> Iterator[None]:
    """Run a worker that counts, and a schedule's run that does not end; remove both afterwards."""
    world.installed()
    world.bed.ok("rm", "-f", "/tmp/counts", "/tmp/counts.asked")
    world.add_project("carol", COUNTING)
    world.ok("apply")
    world.ok("run", "carol/long", "--detach")
    yield
    world.bed.ok("rm", "-f", "/etc/shiftboss/projects/carol.toml", "/infra/logs/projects/carol/counts.log")
    world.ok("apply")


def test_a_killed_keeper_takes_everything_with_it_and_the_history_says_so(
    world: World, counting: None
) -> None:
    """KillMode=mixed: systemd kills what an ended keeper leaves, at once. Nothing is asked to end, nothing is read."""
    world.log_has("carol", "counts", "line 5")
    keeper = world.keeper()
    world.bed.ok("kill", "-STOP", str(world.engine()))  # nobody reads what is printed from now on
    read = wait_until(lambda: _counted(world), what="a number")
    wait_until(lambda: _counted(world) > read + 9, 30, what="lines that nobody reads", interval=0.2)

    world.bed.ok("kill", "-9", str(keeper))

    wait_until(
        lambda: world.service()["keeper_pid"] not in (None, keeper), 60, what="the next keeper", interval=0.2
    )
    numbers = wait_until(lambda: _second_run(world), 60, what="the second run", interval=0.5)
    assert world.bed.run("test", "-e", "/tmp/counts.asked").status == 1, "it was killed, not asked"
    again = numbers.index(1, 1)
    assert numbers == [*range(1, again + 1), *range(1, len(numbers) - again + 1)]
    assert again <= read + 5, "what lay in its pipe went with the engine"
    rows = json.loads(world.ok("history", "carol", "--json"))
    assert [row["outcome"] for row in rows if row["kind"] == "occurrence"] == ["unknown"]
    ends = [row for row in rows if row["kind"] == "exit" and row["target"] == "carol/counts:1"]
    assert [(row["outcome"], row["reason"]) for row in ends] == [
        ("unknown", "it ran when the keeper ended; how it ended is not known")
    ]


def _counted(world: World) -> int:
    """Return the number of the last line that the worker has printed; it is written just behind that."""
    return int(world.bed.ok("cat", "/tmp/counts") or 0)


def _second_run(world: World) -> list[int]:
    """Return all numbers in the log, as soon as they begin anew."""
    lines = world.bed.ok("cat", "/infra/logs/projects/carol/counts.log").splitlines()
    numbers = [int(line.removeprefix("line ")) for line in lines if line.startswith("line ")]
    return numbers if numbers.count(1) > 1 else []


def test_stop_leaves_nothing_and_restart_brings_everything_back(world: World) -> None:
    world.installed()
    before = world.until_all_run()

    started = time.monotonic()
    world.bed.ok("systemctl", "stop", "shiftboss", timeout=60)
    assert time.monotonic() - started < 4.5, "it waits for what is gone"
    assert world.leftovers() == []
    # that of the launcher, which Supervisor and cron start, is not the service's
    find = "find /sys/fs/cgroup -type d -name 'shiftboss*' -not -name shiftboss-launch"
    assert world.bed.run("sh", "-c", find).output == ""

    world.bed.ok("systemctl", "start", "shiftboss", timeout=60)
    between = world.until_all_run()
    world.bed.ok("systemctl", "restart", "shiftboss", timeout=60)
    after = world.until_all_run()
    assert not before.keys() & between.keys()
    assert not between.keys() & after.keys()


def test_an_upgrade_of_the_engine_alone_restarts_no_worker(world: World) -> None:
    before = world.installed()
    workers = world.until_all_run()

    told = json.loads(world.ok("service", "upgrade", "--json"))

    assert [action["action"] for action in told["actions"]] == ["restart the engine (no worker restarts)"]
    assert told["service"]["keeper_pid"] == before["keeper_pid"]
    assert told["service"]["engine_pid"] != before["engine_pid"]
    assert world.until_all_run() == workers


def test_an_upgrade_of_the_keeper_restarts_the_service(world: World) -> None:
    before = world.installed()
    code = f"{PACKAGES}/shiftboss/keeper/main.py"
    world.bed.ok("sh", "-c", f"echo '# another version' >> {code}")

    told = json.loads(world.ok("service", "upgrade", "--json"))

    words = [action["action"] for action in told["actions"]]
    assert words[0] == f"change {UNIT}"
    assert "every worker stops" in words[1]
    assert told["service"]["keeper_pid"] not in (None, before["keeper_pid"])
    world.until_all_run()


def test_after_a_reboot_everything_runs(world: World) -> None:
    world.installed()
    world.bed.reboot()
    world.until_all_run()
    assert world.service()["active"] == "active"


@pytest.fixture
def limited(world: World) -> Iterator[dict[str, Any]]:
    """Give the workers of a project with limits, by name, as `status` shows them; remove it afterwards."""
    world.installed()
    workers = world.until_all_run()
    world.add_project("carol", LIMITED)
    world.run("apply", timeout=200)
    status = json.loads(world.run("status", "carol", "--json").output)
    try:
        yield {worker["name"]: worker for worker in status["projects"][0]["workers"]}
    finally:
        world.bed.ok("rm", "/etc/shiftboss/projects/carol.toml")
        world.ok("apply")
    assert world.until_all_run() == workers


def test_limits_hold_in_the_cgroups_that_systemd_has_given_us(world: World, limited: dict[str, Any]) -> None:
    """Version 2 alone in the VM; in namespaces this kernel's version 1, below the unit as well."""
    version = world.bed.ok("stat", "-fc", "%T", "/sys/fs/cgroup")
    is_v2 = version == "cgroup2fs"
    for name in ("eat", "busy", "forks", "leaves"):
        holders = {limit["held_by"] for limit in limited[name]["limits"]}
        assert holders == {"cgroup v2" if is_v2 else "cgroup v1"}, name
    held = {limit["limit"]: limit["held_by"] for limit in limited["weighs"]["limits"]}
    if is_v2:  # no disk of the VM goes by weights, and that is said, though the kernel takes it
        assert held["io_weight"] == "nobody"

    reason = _reason(world, "carol/eat")
    assert reason.startswith("out of memory: killed by the kernel (its limit is 48M, peak 4"), reason
    reason = _reason(world, "carol/greedy")
    assert reason.startswith(
        "out of memory: killed by the kernel (the budget of its project, or the machine, was used up, peak 2"
    ), reason

    assert world.log_has("carol", "forks", "children") == "19 children"
    tried, done = json.loads(world.log_has("carol", "leaves", "["))
    assert (tried > 20, done) == (True, [])
    busy = limited["busy"]["processes"][0]
    assert busy["notes"] == []
    assert world.cgroup(busy["pid"]).split("/")[4:5] == ["carol"]
    if is_v2:
        weighs = world.cgroup(limited["weighs"]["processes"][0]["pid"])
        assert world.bed.ok("cat", f"/sys/fs/cgroup{weighs}/io.weight") == "default 50"
        _stays_within_its_share(world, "carol/busy")


def _stays_within_its_share(world: World, target: str) -> None:
    """Check that it has 18 to 22 percent: never more, and not less as soon as the machine has that much to give."""
    (pid,) = world.pids(target)
    shares: list[float] = []

    def gets_its_share() -> bool:
        shares.append(float(world.bed.ok("/usr/bin/python3", "-I", f"{PROGRAMS}/meter.py", str(pid))))
        return shares[-1] >= 0.18

    wait_until(gets_its_share, 60, what="a share of 18 to 22 percent")
    assert max(shares) <= 0.22, shares
    status = json.loads(world.run("status", target, "--json").output)
    assert status["projects"][0]["workers"][0]["processes"][0]["throttled_seconds"] > 0


def _reason(world: World, target: str) -> str:
    """Return the reason of the last end, which is there as soon as there was one."""

    def found() -> str:
        status = json.loads(world.run("status", target, "--json").output)
        return status["projects"][0]["workers"][0]["processes"][0]["exit_reason"] or ""

    return wait_until(found, 60, what=f"an end of {target}", interval=0.5)


@in_the_vm
def test_what_the_launcher_promises_holds_by_cgroup_v2_alone(world: World, tmp_path: Path) -> None:
    """The tests of limits and of hostile programs, in the machine: what Supervisor and cron start is bounded there too."""
    bring_tests(world.bed, tmp_path)
    run_tests(world.bed, "test_limits_held.py")


@in_the_vm
@pytest.mark.timeout(900)
def test_each_time_is_accounted_for_once_however_the_clock_is_set(world: World) -> None:
    """Steps of a second, an hour and a day, both ways, and both changes of summer time; workers do not care.

    Only in the VM: in namespaces the clock is everybody's.
    """
    world.installed()
    workers = world.until_all_run()
    file = "/etc/shiftboss/projects/alice.toml"
    before = world.bed.ok("cat", file)
    try:
        world.bed.write(file, f"{before}\n{clock_scenes.PROJECT}\n")
        world.ok("apply")
        walk = ("/usr/bin/python3", "-I", f"{PROGRAMS}/clock_walk.py", clock_scenes.orders("alice"))
        told = world.bed.ok(*walk, timeout=500).splitlines()
        clock_scenes.check("alice", list(map(json.loads, told)))
        assert world.until_all_run() == workers
    finally:
        world.bed.write(file, before + "\n")
        world.ok("apply")
    assert world.until_all_run() == workers


def test_remove_leaves_projects_and_logs_and_nothing_else(world: World) -> None:
    world.installed()

    said = world.ok("service", "remove", "--purge", "--yes")

    assert world.leftovers() == []
    assert world.bed.run("test", "-e", UNIT).status == 1
    assert world.bed.run("systemctl", "is-enabled", "shiftboss").output.strip() != "enabled"
    assert world.bed.run("test", "-e", "/var/lib/shiftboss/engine").status == 1
    # that of the launcher, which Supervisor and cron start, is not the service's
    find = "find /sys/fs/cgroup -type d -name 'shiftboss*' -not -name shiftboss-launch"
    assert world.bed.run("sh", "-c", find).output == ""
    # the logs of the projects are the account's
    assert "the account shiftboss stays: it owns /infra/logs/projects/" in said
    assert world.bed.ok("stat", "-c", "%U", "/infra/logs/projects/alice/tick.log") == "shiftboss"
    assert json.loads(world.ok("service", "remove", "--yes", "--json"))["service"]["installed"] is False


def test_a_file_changed_by_hand_is_not_overwritten(world: World) -> None:
    world.installed()
    world.bed.ok("sed", "-i", "s/RestartSec=500ms/RestartSec=9/", UNIT)
    try:
        answer = world.run("service", "upgrade", "--yes")
        assert answer.status == 1
        assert "was changed by hand" in answer.output
        assert "systemctl edit" in answer.output
    finally:
        world.bed.ok("sed", "-i", "s/RestartSec=9/RestartSec=500ms/", UNIT)
