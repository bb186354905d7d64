"""A thousand workers: start, status, one more, stop; and nothing wakes up while nothing happens."""

import os
import sys
import time
from pathlib import Path

import pytest
from engine_rig import EngineRig, engine_rig
from keeper_rig import until

from shiftboss.api import calls
from shiftboss.core.wire.entry import Entry

MANY = 1000


def units(rig: EngineRig, count: int) -> list[Entry]:
    return [rig.worker(f"w{number:04}") for number in range(count)]


def cpu_and_switches(pid: int) -> tuple[float, int]:
    cpu, switches = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu += int((task / "schedstat").read_text().split()[0]) / 1e9
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                switches += int(line.split()[1])
    return cpu, switches


def pss(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def say(words: str) -> None:
    """Shown with pytest -s."""
    sys.stdout.write(f"{words}\n")


def measured(what: str, seconds: float) -> None:
    say(f"{what}: {seconds * 1000:.1f} ms")


@pytest.mark.timeout(300)
def test_a_thousand_units_start_answer_grow_by_one_and_stop() -> None:
    with engine_rig() as rig:
        entries = units(rig, MANY)
        begun = time.monotonic()
        rig.launch(*entries)
        before = {p.pid for p in rig.until_running(MANY, deadline=60)}
        measured("start", time.monotonic() - begun)
        assert len(before) == MANY
        with rig.client() as client:
            client.status()
            took = []
            for _ in range(20):
                begun = time.monotonic()
                client._send("status", calls.Select(), 10)
                client._line()
                took.append(time.monotonic() - begun)
            measured("status p50", sorted(took)[10])
            rig.write_all(*entries, rig.worker("one-more"))
            begun = time.monotonic()
            reloaded = client.reload()
            measured("reload", time.monotonic() - begun)
            assert reloaded.added == ("app/one-more",)
            assert (reloaded.restarted, reloaded.removed, reloaded.untouched) == ((), (), MANY)
        after = {p.pid for p in rig.until_running(MANY + 1)}
        assert before < after
        say(f"PSS keeper {pss(rig.pid)} engine {pss(rig.engine_pid)} kB")
        with rig.client() as client:
            begun = time.monotonic()
            changed = client.stop(wait_seconds=60)
            measured("stop", time.monotonic() - begun)
        assert changed.complete
        assert {p.state for p in changed.processes} == {"STOPPED"}


@pytest.mark.timeout(300)
def test_two_hundred_processes_of_one_unit_crash_at_once_and_come_back() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker(processes=200, processes_max=200, policy_start_seconds=0.1))
        pids = [p.pid or 0 for p in rig.until_running(200, deadline=60)]
        for pid in pids:
            os.kill(pid, 9)
        until(lambda: {p.run for p in rig.processes()} == {2}, "the second run of all", 30)
        after = rig.until_running(200, deadline=30)
        assert not {p.pid for p in after} & set(pids)


@pytest.mark.timeout(300)
def test_nothing_wakes_up_while_nothing_happens() -> None:
    with engine_rig() as rig:
        rig.launch(*units(rig, 100))
        rig.until_running(100, deadline=60)
        time.sleep(8)  # every timer of the start, and of the client that asked last, is over
        before = [cpu_and_switches(pid) for pid in (rig.pid, rig.engine_pid)]
        time.sleep(10)  # what is measured is a stretch of time
        after = [cpu_and_switches(pid) for pid in (rig.pid, rig.engine_pid)]
        assert [b[1] - a[1] for a, b in zip(before, after, strict=True)] == [0, 0]
