"""Limits hold for real, whoever holds them on this machine (cgroup v2, v1): memory, CPU, tasks, files. About 15 s."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from confine_rig import DEADLINE, PYTHON, World, world
from hungry import EAT, FORK, MIB, SPIN
from tests.waiting import wait_until

from shiftboss.confine import limits
from shiftboss.confine.usage import read_killed, read_usage
from shiftboss.core.spec import Limits

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(3 * DEADLINE)]
BOMB = """
import os
while True:
    try:
        os.fork()
    except BlockingIOError:
        pass
"""


@pytest.fixture(name="made")
def fixture_made() -> Iterator[World]:
    with world() as made:
        yield made


def end(process: "subprocess.Popen[bytes]") -> None:
    """KILL a launched process; what it started may live on and hold the pipes."""
    with process:
        process.kill()


def first_line(process: "subprocess.Popen[bytes]") -> str:
    """Wait for a line of output (the test's own deadline bounds it)."""
    assert process.stdout
    return process.stdout.readline().decode().strip()


def test_what_allocates_beyond_its_memory_is_killed_and_named(made: World) -> None:
    finished = made.python(EAT, bounds=Limits(memory_bytes=64 * MIB))
    assert finished.returncode == -signal.SIGKILL
    killed = read_killed(made.group())
    assert killed.times == 1
    assert killed.own_limit
    assert killed.limit_bytes == 64 * MIB
    assert killed.peak_bytes is None or 60 * MIB <= killed.peak_bytes <= 64 * MIB


def test_memory_that_is_within_the_limit_kills_nobody(made: World) -> None:
    finished = made.python("bytearray(20 << 20)", bounds=Limits(memory_bytes=64 * MIB))
    assert finished.returncode == 0, finished.stderr
    assert read_killed(made.group()).times == 0


def test_a_busy_loop_stays_within_its_share_of_the_cpu(made: World) -> None:
    """Never more than a tenth above it; a tenth below it at most, as soon as the machine has that much to give."""
    process = made.start(made.confined(PYTHON, "-I", "-c", SPIN, bounds=Limits(cpu_percent=20)))
    wait_until(lambda: used(made) > 0.1, DEADLINE, what="some work")
    shares: list[float] = []

    def gets_its_share() -> bool:
        began, before = time.monotonic(), used(made)
        time.sleep(3)  # what is measured is time
        shares.append((used(made) - before) / (time.monotonic() - began))
        return shares[-1] >= 0.18

    wait_until(gets_its_share, DEADLINE, what=f"18 to 22 percent, after {shares}")
    assert max(shares) <= 0.22
    throttled = read_usage(made.group()).throttled_seconds
    assert throttled is None or throttled > 0
    end(process)


def used(made: World) -> float:
    """Return the CPU seconds of the worker."""
    return read_usage(made.group()).cpu_seconds or 0.0


def test_forking_stops_at_the_limit(made: World) -> None:
    process = made.start(made.confined(PYTHON, "-I", "-c", FORK, bounds=Limits(tasks_max=20)))
    assert first_line(process) == "19"
    assert read_usage(made.group()).tasks == 20
    end(process)


def test_a_fork_bomb_stays_in_its_bounds_and_is_ended_by_the_next_start(made: World) -> None:
    bomb = made.confined(PYTHON, "-I", "-c", BOMB, bounds=Limits(tasks_max=30))
    process = made.start(bomb)
    wait_until(lambda: read_usage(made.group()).tasks == 30, DEADLINE, what="30 tasks")
    seen = {read_usage(made.group()).tasks for _ in range(200)}
    assert max(number or 0 for number in seen) == 30
    end(process)
    assert limits.members(made.group()), "the bomb outlives its first process"
    finished = made.run(made.confined("/bin/echo", "clean", bounds=Limits(tasks_max=30)))
    assert (finished.returncode, finished.stdout) == (0, b"clean\n")
    assert limits.members(made.group()) == []


def test_the_budget_of_a_project_bounds_its_units_together() -> None:
    with world(tasks_max=30) as made:
        entries = [made.confined(PYTHON, "-I", "-c", FORK, unit=unit) for unit in ("one", "two")]
        first = made.start(*entries, unit="one")
        assert first_line(first) == "29"
        second = made.start(*entries, unit="two")
        assert first_line(second) == "0"
        for process in (first, second):
            end(process)


def test_a_process_cannot_leave_its_cgroup(made: World) -> None:
    attempt = """
import glob, json, os
done = []
for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True) + glob.glob("/sys/fs/cgroup/**/tasks", recursive=True):
    for words in ("0", str(os.getpid())):
        try:
            with open(path, "w") as file:
                file.write(words)
            done.append(path)
        except OSError:
            pass
for path in glob.glob("/sys/fs/cgroup/**/*max*", recursive=True) + glob.glob("/sys/fs/cgroup/**/*limit*", recursive=True):
    try:
        open(path, "w").close()
        done.append(path)
    except OSError:
        pass
print(json.dumps([done, open("/proc/self/cgroup").read()]))
"""
    done, where = made.answer(attempt, bounds=Limits(memory_bytes=64 * MIB))
    assert done == []
    assert f"/{made.mine.name}/queue.1" in where


@pytest.mark.parametrize("ignores", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_nothing_of_the_last_run_lives_beside_the_next(made: World, ignores: str) -> None:
    orphan = f"""
import os, time
{ignores}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.closerange(0, 3)
        time.sleep(60)
    os._exit(0)
os.wait()
"""
    finished = made.python(orphan)
    left = int(finished.stdout)
    os.kill(left, 0)
    began = time.monotonic()
    assert made.run(made.confined("/bin/true")).returncode == 0
    assert (time.monotonic() - began > 4) is bool(ignores), "its own signal first, KILL after five seconds"
    wait_until(lambda: not os.path.exists(f"/proc/{left}"), DEADLINE, what="the end of the orphan")


def test_runs_without_a_number_leave_each_other_alone_and_clear_up(made: World) -> None:
    entry = made.confined("/bin/sleep", "60")
    first = made.start(entry, process=0)
    running = wait_until(
        lambda: limits.members(made.group(f"queue.run{first.pid}")), DEADLINE, what="the run"
    )
    assert running == [first.pid]
    for _ in range(2):
        with made.start(made.confined("/bin/true"), process=0) as quick:
            assert quick.wait(DEADLINE) == 0
    assert first.poll() is None
    kept = [name for name in os.listdir(os.path.dirname(made.group()[0])) if name.startswith("queue.run")]
    assert sorted(kept) == sorted([f"queue.run{first.pid}", f"queue.run{quick.pid}"]), (
        "only the last that ended"
    )
    end(first)


def test_limits_that_are_taken_away_hold_no_more(made: World) -> None:
    grow = "x = bytearray(100 << 20); print('grown')"
    assert made.python(grow, bounds=Limits(memory_bytes=64 * MIB)).returncode == -signal.SIGKILL
    assert made.python(grow, bounds=Limits(memory_bytes=300 * MIB)).stdout == b"grown\n"
    assert made.python(grow).stdout == b"grown\n"


def test_files_and_priority(made: World) -> None:
    look = "import json, os, resource; print(json.dumps([resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0)]))"
    assert made.answer(look, bounds=Limits(nofile=99, nice=7)) == [[99, 99], 7]


def test_usage_is_read_from_the_cgroup(made: World) -> None:
    work = "x = bytearray(30 << 20)\nfor i in range(10 ** 6): pass\nprint('ready', flush=True)\nimport time; time.sleep(60)"
    process = made.start(made.confined(PYTHON, "-I", "-c", work, bounds=Limits(memory_bytes=128 * MIB)))
    assert first_line(process) == "ready"
    usage = read_usage(made.group())
    end(process)
    assert usage.memory_bytes is not None
    assert usage.working_bytes is not None
    assert 30 * MIB <= usage.memory_bytes <= 128 * MIB
    assert 30 * MIB <= usage.working_bytes <= usage.memory_bytes
    assert usage.cpu_seconds is not None
    assert 0.005 < usage.cpu_seconds < 5
    assert usage.tasks == 1


def test_without_root_rlimits_hold_what_they_can_and_the_rest_is_said(made: World) -> None:
    uid = made.mine.account.uid
    bounds = Limits(memory_bytes=64 * MIB, cpu_percent=50, tasks_max=500)
    entry = made.confined(PYTHON, "-I", "-c", "bytearray(100 << 20)", bounds=bounds)
    user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    # as that user: our own files must be in reach, and what may be launched is then that user's
    orders = made.order(entry)
    for path in (orders, *orders.iterdir()):
        os.chown(path, uid, uid)
    if subprocess.run([*user, "test", "-r", made.command()[3]], check=False).returncode:
        pytest.skip("the checkout is closed to other users")
    finished = subprocess.run(made.command(before=user), capture_output=True, timeout=DEADLINE, check=False)
    assert b"MemoryError" in finished.stderr
    notes = [line for line in finished.stderr.decode().splitlines() if ": note: " in line]
    assert [line.partition(": note: ")[2] for line in notes] == [
        "each process may have 64M for itself: there is no memory cgroup",
        "50% of the CPU is not held: there is no cpu cgroup",
        "500 tasks are counted for the whole user: there is no pids cgroup",
    ]
