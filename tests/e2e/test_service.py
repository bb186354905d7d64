"""`shiftboss service` on real systemds: cgroup version 1 beside 2 ("hybrid", namespaces) and version 2 alone (a VM).

About 20 s in namespaces and 80 s in the VM, after a minute for building what both boot from. A directory named in
SHIFTBOSS_TEST_BED is built once and kept.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.public_copy import make_public_copy
from tests.e2e.systemd.bed import Answer, Bed, NativeBed, VmBed, build
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(400)]

PACKAGES = "/usr/local/lib/python3.11/dist-packages"
PROGRAM = "#!/usr/bin/python3 -I\nfrom shiftboss.cli.main import main\n\nmain()\n"
UNIT = "/etc/systemd/system/shiftboss.service"
WORKER = "test-worker-"  # and its project: the name of each main process
USERS = ("alice_user", "bob_user")
# finishes what it has in hand, and has a child that outlives a signal to the parent alone
SCRIPT = 'trap "exit 0" TERM; sleep 86399 & while :; do echo tick; sleep 0.5; done'

EATER = """[workers.eat]
command = ["/usr/bin/python3", "-c", "held = b'x' * 160 * 1024 ** 2"]
memory = "48M"
"""
BUSY = """[workers.busy]
command = ["/usr/bin/python3", "-c", "while True: pass"]
cpu = "20%"
"""

BEAT_SECONDS = 2
BEAT = f"""[schedules.beat]
every = "{BEAT_SECONDS}s"
backend = "native"
command = ["/bin/true"]
"""
STEPS = (1, -1, 3600, -3600, 86_400, -86_400)


class World:
    """A machine with two projects on the native backend."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed

    def furnish(self, packages: Path) -> None:
        """Bring shiftboss, two users and their projects."""
        self.bed.push(packages, PACKAGES)
        self.bed.write("/usr/local/bin/shiftboss", PROGRAM, "0755")
        self.bed.write("/etc/shiftboss/config.toml", '[backend]\nworkers = "native"\n')
        for user in USERS:
            name = user.removesuffix("_user")
            self.bed.ok("useradd", "--no-create-home", "--home-dir", f"/infra/projects/{name}", user)
            self.bed.ok("mkdir", "-p", f"/infra/projects/{name}/releases/1")
            self.bed.ok("ln", "-s", "releases/1", f"/infra/projects/{name}/current")
            command = json.dumps(["/bin/sh", "-c", SCRIPT, f"{WORKER}{name}"])
            self.bed.write(
                f"/etc/shiftboss/projects/{name}.toml",
                f'[project]\nuser = "{user}"\n\n[workers.tick]\ncommand = {command}\nprocesses = 2\nstart_seconds = 1\n',
            )

    def run(self, *arguments: str, timeout: float = 100) -> Answer:
        return self.bed.run("shiftboss", *arguments, timeout=timeout)

    def ok(self, *arguments: str) -> str:
        answer = self.run(*arguments)
        assert answer.status == 0, answer
        return answer.output

    def installed(self) -> dict[str, Any]:
        """Have the service installed and every worker running; return what the service says of itself."""
        self.ok("service", "install", "--json")
        self.run("apply")
        self.until_all_run()
        return self.service()

    def service(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("service", "status", "--json").output)["service"]
        return found

    def workers(self) -> dict[int, str]:
        """Return pid and user of every main process of a worker."""
        # the sleeping child has the same command line for a moment after fork: its parent is a worker
        rows = self.bed.run("ps", "-eo", "pid=,ppid=,user:32=,args=").output.splitlines()
        found = {int(r.split()[0]): r.split() for r in rows if WORKER in r and "ps -eo" not in r}
        return {pid: row[2] for pid, row in found.items() if int(row[1]) not in found}

    def leftovers(self) -> list[str]:
        """Return every process that a worker, an engine or a keeper is, or that one of them started."""
        rows = self.bed.ok("ps", "-eo", "pid=,args=").splitlines()
        return [row for row in rows if WORKER in row or "sleep 86399" in row or "-m shiftboss." in row]

    def until_all_run(self) -> dict[int, str]:
        """Wait until each worker has exactly its processes, and nothing changes any more."""

        def all_run() -> dict[int, str] | None:
            status = json.loads(self.run("status", "--json").output or "{}")
            processes = [p for q in status.get("projects", []) for w in q["workers"] for p in w["processes"]]
            states = [process["state"] for process in processes]
            workers = self.workers()
            pids = {process["pid"] for process in processes}
            return workers if states == ["RUNNING"] * 4 and pids == workers.keys() else None

        found = wait_until(all_run, 60, what="four workers that run", interval=0.3)
        assert sorted(found.values()) == ["alice_user"] * 2 + ["bob_user"] * 2
        return found

    def keeper(self) -> int:
        return int(self.bed.ok("systemctl", "show", "shiftboss", "--property=MainPID", "--value"))

    def engine(self) -> int:
        return int(self.bed.ok("cat", "/run/shiftboss/engine.pid"))

    def cgroup(self, pid: int) -> str:
        """Return the cgroup of a process in the hierarchy of version 2."""
        lines = self.bed.ok("cat", f"/proc/{pid}/cgroup").splitlines()
        return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


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


def test_stop_leaves_nothing_and_restart_brings_everything_back(world: World) -> None:
    world.installed()
    before = world.until_all_run()

    started = time.monotonic()
    world.bed.ok("systemctl", "stop", "shiftboss", timeout=60)
    assert time.monotonic() - started < 4.5, "it waits for what is gone"
    assert world.leftovers() == []
    assert world.bed.run("sh", "-c", "find /sys/fs/cgroup -type d -name 'shiftboss*'").output == ""

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


def test_limits_hold_in_the_cgroups_that_systemd_has_given_us(world: World) -> None:
    """Version 2 alone in the VM; in namespaces this kernel's version 1, below the unit as well."""
    world.installed()
    workers = world.until_all_run()
    file = "/etc/shiftboss/projects/alice.toml"
    before = world.bed.ok("cat", file)
    try:
        world.bed.write(file, f"{before}\n{EATER}\n{BUSY}\n")
        world.run("apply", timeout=200)
        status = json.loads(world.run("status", "alice", "--json").output)
        found = {worker["name"]: worker for worker in status["projects"][0]["workers"]}
        version = world.bed.ok("stat", "-fc", "%T", "/sys/fs/cgroup")
        holder = "cgroup v2" if version == "cgroup2fs" else "cgroup v1"
        assert [limit["held_by"] for limit in found["eat"]["limits"]] == [holder]
        assert found["eat"]["processes"][0]["exit_reason"].startswith(
            "out of memory: killed by the kernel (its limit is 48M, peak 4"
        ), found["eat"]

        busy = wait_until(lambda: _older(world, "alice/busy", 2), 60, what="the busy one", interval=0.5)
        assert busy["notes"] == []
        assert world.cgroup(busy["pid"]).split("/")[4:5] == ["alice"]
        begin, used = busy["uptime_seconds"], busy["cpu_seconds"]
        end = wait_until(
            lambda: _older(world, "alice/busy", begin + 8), 60, what="eight seconds", interval=0.5
        )
        share = (end["cpu_seconds"] - used) / (end["uptime_seconds"] - begin)
        assert 0.15 < share < 0.25, share  # uptimes are whole seconds
        assert end["throttled_seconds"] > 0
    finally:
        world.bed.write(file, before + "\n")
        world.ok("apply")
    assert world.until_all_run() == workers


def _older(world: World, target: str, seconds: int) -> dict[str, Any] | None:
    status = json.loads(world.run("status", target, "--json").output)
    process: dict[str, Any] = status["projects"][0]["workers"][0]["processes"][0]
    return process if (process["uptime_seconds"] or 0) >= seconds else None


def test_a_clock_that_is_set_makes_no_storm_and_every_time_is_accounted_for(world: World) -> None:
    """Steps of a second, an hour and a day, both ways; only in the VM: in namespaces the clock is everybody's."""
    world.installed()
    file = "/etc/shiftboss/projects/alice.toml"
    before = world.bed.ok("cat", file)
    try:
        world.bed.write(file, f"{before}\n{BEAT}\n")
        world.ok("apply")
        begun = time.monotonic()
        _beats(world, 3)
        for step in STEPS if isinstance(world.bed, VmBed) else ():
            seen = len(_ran(world))
            world.bed.ok("sh", "-c", f"date -s @$(( $(date +%s) + {step} ))")
            _beats(world, seen + 3)
        rows, seconds = _ran(world), time.monotonic() - begun
        assert len(rows) <= seconds / BEAT_SECONDS + 2 * len(STEPS), (
            "one start for each interval, one after each step"
        )
        missed = [row["reason"] for row in _history(world) if row["outcome"] == "missed"]
        if isinstance(world.bed, VmBed):
            for length in ("an hour", "a day"):
                assert any("the clock was set forward by" in words for words in missed), (length, missed)
        assert not [row for row in _history(world) if row["outcome"] in ("unknown", "failed", "timed_out")]
    finally:
        world.bed.write(file, before + "\n")
        world.ok("apply")


def _history(world: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(world.ok("history", "alice/beat", "-n", "1000", "--json"))
    return [row for row in rows if row["kind"] == "occurrence"]


def _ran(world: World) -> list[dict[str, Any]]:
    return [row for row in _history(world) if row["outcome"] == "ran"]


def _beats(world: World, count: int) -> None:
    wait_until(lambda: len(_ran(world)) >= count, 90, what=f"{count} runs", interval=0.5)


def test_remove_leaves_projects_and_logs_and_nothing_else(world: World) -> None:
    world.installed()

    said = world.ok("service", "remove", "--purge", "--yes")

    assert world.leftovers() == []
    assert world.bed.run("test", "-e", UNIT).status == 1
    assert world.bed.run("systemctl", "is-enabled", "shiftboss").output.strip() != "enabled"
    assert world.bed.run("test", "-e", "/var/lib/shiftboss/engine").status == 1
    assert world.bed.run("sh", "-c", "find /sys/fs/cgroup -type d -name 'shiftboss*'").output == ""
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
