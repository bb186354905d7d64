"""Limits and isolation of runs that cron starts: that they hold, and that the history names what they ended. About 20 s."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confine_rig import DEADLINE, PYTHON
from hungry import EAT, FORK, MIB, SPIN
from runs_rig import UNIT, Cron, cron_runs
from tests.waiting import wait_until

from shiftboss.confine.usage import read_usage
from shiftboss.core.spec import Limits

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(60)]
LOOK = """
import json, os, sys
root, log, projects = sys.argv[1:]
def attempt(action):
    try:
        return action()
    except OSError as error:
        return type(error).__name__
print(json.dumps({
    "env": attempt(lambda: open(root + "/.env").read()),
    "log": attempt(lambda: open(log).read()),
    "neighbours": attempt(lambda: sorted(os.listdir(projects))),
    "privileges": [line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")],
}))
"""


@pytest.fixture(name="cron")
def fixture_cron(request: pytest.FixtureRequest) -> Iterator[Cron]:
    with cron_runs(request.param) as cron:
        yield cron


def confined(**confinement: Any) -> pytest.MarkDecorator:
    """Give the test a cron with limits, with and without isolation."""
    levels = [confinement | {"level": level} for level in ("none", "standard", "strict")]
    return pytest.mark.parametrize("cron", levels, ids=["none", "standard", "strict"], indirect=True)


def said(cron: Cron) -> list[str]:
    """Return what the runs have printed."""
    return [line for line in cron.log.read_text().splitlines() if not line.startswith("--- run ")]


def group(cron: Cron, launcher: int) -> list[str]:
    """Return the cgroup of a run by the pid of its launcher, [] while there is none."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = cron.made.group(f"{UNIT}.run{children[0]}") if children else []
    return found if found and os.path.isdir(found[0]) else []


@confined(bounds=Limits(memory_bytes=64 * MIB))
def test_a_run_that_wants_more_memory_than_it_may_have_is_named(cron: Cron) -> None:
    cron.order(PYTHON, "-I", "-c", EAT)
    row = cron.run()
    assert (row.outcome, row.exit_status) == ("failed", 137)
    assert row.reason.startswith("out of memory: killed by the kernel (its limit is 64M")
    cron.order("/bin/sh", "-c", "kill -KILL $$")
    row = cron.run()
    assert row.reason.startswith("killed by SIGKILL"), "of this run, not of the one before"


@confined(bounds=Limits(memory_bytes=64 * MIB))
def test_so_is_a_run_whose_child_it_was(cron: Cron) -> None:
    cron.order("/bin/sh", "-c", f"{PYTHON} -I -c '{EAT}' || exit 3")
    row = cron.run()
    assert (row.outcome, row.exit_status) == ("failed", 3)
    assert row.reason.startswith("out of memory: the kernel killed a process of it (its limit is 64M"), (
        row.reason
    )
    assert row.reason.endswith("; then: exit 3")


def test_a_budget_that_is_used_up_is_named_too() -> None:
    with cron_runs({"level": "standard"}, memory_bytes=64 * MIB) as cron:
        cron.order(PYTHON, "-I", "-c", EAT)
        row = cron.run()
        assert (row.outcome, row.exit_status) == ("failed", 137)
        assert row.reason.startswith(
            "out of memory: killed by the kernel (the budget of its project, or the machine, was used up"
        )


@confined(bounds=Limits(tasks_max=20))
def test_forking_stops_at_the_limit(cron: Cron) -> None:
    cron.order(PYTHON, "-I", "-c", FORK)
    launcher = cron.start()
    assert wait_until(lambda: said(cron), DEADLINE, what="the number of its children") == ["19"]
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(DEADLINE) == 0
    assert not cron.programs("time.sleep"), "a stop ends all of them"


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "cron", [{"bounds": Limits(cpu_percent=20), "level": "standard"}], ids=["standard"], indirect=True
)
def test_a_busy_loop_stays_within_its_share_of_the_cpu(cron: Cron) -> None:
    """Never more than a tenth above it; a tenth below it at most, as soon as the machine has that much to give."""
    cron.order(PYTHON, "-I", "-c", SPIN)
    launcher = cron.start()
    directories = wait_until(lambda: group(cron, launcher.pid), DEADLINE, what="its cgroup")
    assert directories

    def used() -> float:
        return read_usage(directories).cpu_seconds or 0.0

    wait_until(lambda: used() > 0.1, DEADLINE, what="some work")
    shares: list[float] = []

    def gets_its_share() -> bool:
        began, before = time.monotonic(), used()
        time.sleep(3)  # what is measured is time
        shares.append((used() - before) / (time.monotonic() - began))
        return shares[-1] >= 0.18

    wait_until(gets_its_share, 120, what="18 to 22 percent: the machine has to have that much to give")
    assert max(shares) <= 0.22


@confined(bounds=Limits(memory_bytes=256 * MIB))
def test_a_neighbour_is_hidden_from_all_but_those_who_are_not_isolated(
    cron: Cron, request: pytest.FixtureRequest
) -> None:
    is_open = "none" in request.node.name
    victim = cron.made.victim
    projects = os.path.dirname(victim.root)
    cron.order(PYTHON, "-I", "-c", LOOK, victim.root, f"{victim.logs}/queue.log", projects)
    assert cron.run().outcome == "ran"
    found = json.loads(said(cron)[0])
    assert found["neighbours"] == sorted([cron.made.mine.name, *([victim.name] if is_open else [])])
    secret, log = (
        (f"SECRET={victim.name}", f"log of {victim.name}") if is_open else ("FileNotFoundError",) * 2
    )
    assert (found["env"], found["log"]) == (secret, log)
    assert found["privileges"] == ["0" if is_open else "1"]
