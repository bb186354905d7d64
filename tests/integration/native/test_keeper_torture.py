"""kill -9 of the engine at random moments under load, and of the keeper: nobody dies, nothing is lost, nothing runs twice."""

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import HERE, PYTHON, Rig, lives, marked, until

pytestmark = pytest.mark.needs_root
KILLS, KEEPER_KILLS = 60, 13  # on each kind of keeper
PROCESSES, STEADY = 20, 15
LINE = re.compile(rb"(\d+) (\d+) (\d{9}) (x*)")


def start(made: Rig) -> Path:
    """Start a keeper with the small engine: 15 steady writers and 5 that crash now and then."""
    directory = made.root / "torture"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o777)
    writer = directory / "writer.py"
    writer.write_bytes((HERE / "keeper_writer.py").read_bytes())
    engine = directory / "engine.py"
    engine.write_bytes((HERE / "keeper_engine.py").read_bytes())
    argv = (PYTHON, "-I", "-S", str(writer), str(directory), str(STEADY), "150")
    made.write(made.entry(*argv, processes_max=PROCESSES, wait=2.0))
    made.start(PYTHON, "-I", str(engine), str(made.source), str(directory))
    return directory


def starts(directory: Path) -> list[tuple[int, int, int]]:
    """Return (process, run, pid) of every start."""
    with contextlib.suppress(FileNotFoundError):
        return [tuple(map(int, row.split())) for row in (directory / "starts").read_text().splitlines()]
    return []


def engine_pid(made: Rig) -> int:
    """Return the pid of the engine that runs now, 0 for none."""
    with contextlib.suppress(OSError, ValueError):
        return int((made.run / "engine.pid").read_text())
    return 0


def engine_killed(made: Rig, chance: random.Random) -> bool:
    """kill -9 of the engine after a moment; False if there was none just then."""
    time.sleep(chance.choice((0.0, 0.005, 0.02, 0.05, 0.1, 0.2)))
    pid = engine_pid(made)
    with contextlib.suppress(ProcessLookupError):
        if pid and f"{made.run}".encode() in Path(f"/proc/{made.pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def check_lines(directory: Path) -> int:
    """Assert that every line that was written is in the logs, once and in order; return how many there were."""
    total = 0
    for process, run, _ in starts(directory):
        rows = (directory / f"log-{process}-{run}").read_bytes().split(b"\n")
        assert rows.pop() == b"", "the last line is whole"
        for number, row in enumerate(rows):
            found = LINE.fullmatch(row)
            assert found, row[:200]
            assert (int(found[1]), int(found[2]), int(found[3])) == (process, run, number)
            assert len(found[4]) == number % 100
        count = directory / f"count-{process}-{run}"
        assert len(rows) >= int(count.read_text() or 0 if count.exists() else 0)
        total += len(rows)
    return total


@every_kind
@pytest.mark.timeout(300)
def test_engine_killed_at_random_moments_under_load(kind: Kind) -> None:
    with keeper_of(kind) as made:
        directory = start(made)
        chance = random.Random(KILLS)
        until(lambda: len(starts(directory)) >= PROCESSES, "all writers", 90)
        kills = 0
        while kills < KILLS:
            kills += engine_killed(made, chance)
            if kills % 10 == 9:
                before = len(starts(directory))
                until(lambda before=before: len(starts(directory)) > before, "a restart of what crashed")
        first = {process: pid for process, run, pid in starts(directory) if run == 1}
        assert all(lives(first[process]) for process in range(1, STEADY + 1)), "no child dies of it"
        assert {run for process, run, _ in starts(directory) if process <= STEADY} == {1}
        assert made.stop(30) == 0
        rows = starts(directory)
        assert not [pid for _, _, pid in rows if lives(pid)]
        assert max(Counter((process, run) for process, run, _ in rows).values()) == 1, (
            "nothing was started twice"
        )
        exits = [row.split(" ", 2) for row in (directory / "exits").read_text().splitlines()]
        told = Counter((int(process), int(run)) for process, run, _ in exits)
        assert set(told.values()) == {1}
        for process in range(STEADY + 1, PROCESSES + 1):
            runs = sorted(run for each, run, _ in rows if each == process)
            assert runs == list(range(1, len(runs) + 1)), "run numbers go on"
            assert len(runs) > 3, "it was restarted all the while"
            ended = {int(run): words for each, run, words in exits if int(each) == process}
            assert all(ended.get(run) == "3" for run in runs[:-1]), "each exit was told, with its status"
        assert check_lines(directory) > 10_000


@every_kind
@pytest.mark.timeout(300)
def test_keeper_killed_at_random_moments_leaves_one_copy_of_everything(kind: Kind) -> None:
    with keeper_of(kind) as made:
        chance = random.Random(KEEPER_KILLS)
        directory = start(made)
        instance = until(lambda: (made.state / "instance").exists() and made.instance, "an instance")
        until(lambda: len(starts(directory)) >= PROCESSES, "all writers", 90)
        for _ in range(KEEPER_KILLS):
            time.sleep(chance.choice((0.0, 0.01, 0.05, 0.1, 0.3, 0.6)))
            if chance.random() < 0.3:
                engine_killed(made, chance)
            made.kill_keeper()
            before = len(starts(directory))
            made.start(*made.process.args[made.process.args.index("--") + 1 :])
            if chance.random() < 0.6:  # else: the new keeper dies while it clears up
                until(lambda before=before: len(starts(directory)) >= before + PROCESSES, "all again", 90)
            check_copies(instance)
        until(lambda: len(check_copies(instance)) == PROCESSES, "all again", 90)
        assert made.stop(30) == 0


def check_copies(instance: str) -> dict[int, str]:
    """Assert that no process of the entry lives twice; return pid and process number of those that live."""
    found = {pid: mark.split("/")[3] for pid, mark in marked(instance).items() if "/app/worker/" in mark}
    twice = [process for process, count in Counter(found.values()).items() if count > 1]
    assert not [
        process for process in twice if len([p for p, n in found.items() if n == process and lives(p)]) > 1
    ]
    return found
