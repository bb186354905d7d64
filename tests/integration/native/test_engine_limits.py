"""What users are told of limits: out of memory is named, who grows too much starts afresh, use is in the status."""

from collections.abc import Iterator

import pytest
from engine_rig import PYTHON, EngineRig, engine_rig
from keeper_rig import until

from shiftboss.api import calls
from shiftboss.core.limits import fallbacks, v1_values, v2_values
from shiftboss.core.spec import Limits
from shiftboss.core.wire.entry import Confinement, Entry

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(90)]
MEGABYTE = 1024**2
GROWS = """
import sys, time
held = b"x" * (int(sys.argv[1]) * 1024**2)
print("full", flush=True)
time.sleep(600)
"""
CHILD_GROWS = """
import os, sys
if os.fork() == 0:
    held = []
    while True: held.append(b"x" * 4 * 1024**2)
os.wait()
print("my child died", flush=True)
sys.exit(3)
"""


@pytest.fixture
def rig() -> Iterator[EngineRig]:
    with engine_rig() as made:
        yield made


def worker(rig: EngineRig, code: str, limits: Limits, *argv: str, soft: int = 0) -> Entry:
    bounds = Confinement(
        v2=v2_values(limits, watched=True), v1=v1_values(limits, watched=True), fallbacks=fallbacks(limits)
    )
    words = (PYTHON, "-I", "-c", code, *argv)
    return rig.worker("queue", *words, user="games", confinement=bounds, policy_memory_soft_bytes=soft)


def use_of(rig: EngineRig) -> calls.ProcessStatus:
    with rig.client() as client:
        return client.status(usage=True).projects[0].units[0].processes[0]


def ended(rig: EngineRig) -> calls.ProcessStatus:
    """Return the process once it waits for its next start and the reason is found."""
    rig.until_states("BACKOFF")
    return until(lambda: next((each for each in rig.processes() if each.reason), None), "the reason")


def test_out_of_memory_is_named_with_limit_and_peak_and_the_next_start_waits(rig: EngineRig) -> None:
    rig.launch(worker(rig, GROWS, Limits(memory_bytes=32 * MEGABYTE), "200"))

    process = ended(rig)

    assert process.reason
    assert process.reason.startswith("out of memory: killed by the kernel (its limit is 32M, peak 3"), process
    [exit_event, *_] = rig.history("exit")
    assert (exit_event.target, exit_event.process, exit_event.reason) == ("app/queue", 1, process.reason)


def test_a_process_that_the_kernel_killed_below_the_main_one_is_named_too(rig: EngineRig) -> None:
    rig.launch(worker(rig, CHILD_GROWS, Limits(memory_bytes=48 * MEGABYTE)))

    process = ended(rig)

    assert process.reason == (
        "out of memory: the kernel killed a process of it (its limit is 48M, peak 48M); then: exit 3"
    )


def test_who_uses_more_than_memory_soft_is_asked_to_start_afresh(rig: EngineRig) -> None:
    """The kernel counts: about 60 MB of Python's are more than the 40 that are allowed."""
    rig.launch(worker(rig, GROWS, Limits(memory_bytes=200 * MEGABYTE), "60", soft=40 * MEGABYTE))
    [first] = rig.until_running(1)

    [told] = until(lambda: rig.history("recycle"), "the recycling", 25)

    assert "more than memory_soft 40M" in (told.reason or "")
    assert (told.target, told.process, told.pid) == ("app/queue", 1, first.pid)
    second = until(
        lambda: next((p for p in rig.processes() if p.pid not in (None, first.pid)), None), "a new one"
    )
    assert second.wish == "up"
    [ended] = rig.history("exit")
    assert ended.outcome == "stopped"


def test_status_tells_what_a_bounded_process_uses(rig: EngineRig) -> None:
    rig.launch(worker(rig, GROWS, Limits(memory_bytes=200 * MEGABYTE, tasks_max=20), "30"))
    rig.until_running(1)

    use = until(lambda: _filled(use_of(rig).use, 30 * MEGABYTE), "30 MB in use")

    assert use.memory_bytes is not None
    assert 30 * MEGABYTE < use.memory_bytes < 60 * MEGABYTE
    assert use.peak_bytes is not None
    assert use.peak_bytes >= use.memory_bytes
    assert use.tasks == 1
    assert use.cpu_seconds is not None
    assert 0 < use.cpu_seconds < 5
    assert use.throttled_seconds == 0


def test_without_a_cgroup_that_counts_use_comes_from_proc(rig: EngineRig) -> None:
    rig.cgroups = "none"
    rig.launch(worker(rig, GROWS, Limits(), "30"))
    rig.until_running(1)

    use = until(lambda: _filled(use_of(rig).use, 30 * MEGABYTE), "30 MB in use")

    assert use.tasks == 1
    assert use.peak_bytes is None
    assert rig.processes()[0].use is None  # nobody asked


def _filled(use: calls.ProcessUse | None, least: int) -> calls.ProcessUse | None:
    return use if use and use.memory_bytes and use.memory_bytes > least else None
