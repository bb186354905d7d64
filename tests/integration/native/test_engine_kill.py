"""kill -9 of engine and keeper, SIGSTOP of the engine, under load: nothing runs twice, nothing is lost or doubled."""

import contextlib
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_rig import PYTHON, WORKER, EngineRig, engine_rig, public_directory
from keeper_rig import lives, marked, until

from shiftboss.core.errors import HostError
from shiftboss.core.wire.entry import Entry

KILLS = 200
KEEPER_KILLS = 50
WORKERS = 20
HANGS_SECONDS = 30


@pytest.fixture
def ledger() -> Iterator[Path]:
    with public_directory() as directory:
        yield directory


def workers(rig: EngineRig, ledger: Path, processes: int = WORKERS, **life: float) -> Entry:
    least, most, rate = life.get("least", 1.0), life.get("most", 15.0), life.get("rate", 100.0)
    argv = (PYTHON, str(WORKER), str(ledger), str(least), str(most), str(rate))
    return rig.worker(
        "queue", *argv, processes=processes, policy_log_max_bytes=200_000, policy_log_backups=1000
    )


def ledger_rows(ledger: Path) -> list[list[str]]:
    path = ledger / "ledger"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def check_ledger(rig: EngineRig, ledger: Path) -> None:
    """Every worker ended because it wanted to or was asked to; its lines are all in the log, once, in order."""
    rows = ledger_rows(ledger)
    assert not [row for row in rows if row[0] == "double"]
    started = {row[4] for row in rows if row[0] == "start"}
    ended = {row[4]: int(row[5]) for row in rows if row[0] in ("own", "asked")}
    assert started == ended.keys(), "some died otherwise"
    with contextlib.suppress(AssertionError):  # the last lines may still be on their way
        until(lambda: not wrong_lines(rig, ended), "the last lines", 5)
    wrong = wrong_lines(rig, ended)
    assert not wrong, [(row, wrong[row[4]]) for row in rows if row[4] in wrong]


def wrong_lines(rig: EngineRig, ended: dict[str, int]) -> dict[str, int]:
    """Return how many lines of which run are too many or missing (0: they are in another order)."""
    numbers = defaultdict[str, list[int]](list)
    for line in rig.read_log().splitlines():
        run, number, filler = line.split(" ")
        assert filler == "x" * 50, line
        numbers[run].append(int(number))
    return {run: len(numbers[run]) - count for run, count in ended.items() if numbers[run] != [*range(count)]}


def check_history(rig: EngineRig, ledger: Path) -> None:
    """Each end is counted exactly once; who was stopped before it could write its first line is there too."""
    rows = [(row[0], (int(row[2]), int(row[3]))) for row in ledger_rows(ledger)]
    ends = Counter(run for what, run in rows if what in ("own", "asked"))
    exits = rig.history("exit")
    told = Counter((event.process, event.run) for event in exits)
    twice = [(e.at, e.process, e.run, e.code, e.reason) for e in exits if told[e.process, e.run] > 1]
    assert not twice
    assert ends.keys() <= told.keys(), ends.keys() - told.keys()
    begun = {run for what, run in rows if what == "start"}
    for event in exits:
        if (event.process, event.run) not in ends:
            assert (event.process, event.run) not in begun, event
            assert event.outcome == "stopped", event


@pytest.mark.timeout(300)
@pytest.mark.needs_root
def test_the_engine_is_killed_at_200_random_moments_under_load(ledger: Path) -> None:
    """Two keepers, with and without cgroups, take turns: each engine lives for 0 to 0.8 s. About 60 s."""
    chance = random.Random(1)
    with engine_rig() as first, engine_rig("none") as second:
        rigs = {first: ledger / "first", second: ledger / "second"}
        scaled = 0
        for rig, its_ledger in rigs.items():
            its_ledger.mkdir()
            its_ledger.chmod(0o777)
            rig.launch(workers(rig, its_ledger, least=0.5, most=10.0))
            until(lambda rig=rig: rig.states("app").count("RUNNING") > WORKERS / 2, "most of the workers")  # type: ignore[misc]
        for number in range(KILLS):
            rig = first if number % 2 else second
            rig.kill_engine()
            time.sleep(chance.uniform(0, 0.4))  # the random moment
            if number % 5 in (3, 4):
                scaled += scales_that_took_effect(rig, chance)
        assert scaled > KILLS / 10, "too few scales came through for this to be a test of scaling"
        for rig, its_ledger in rigs.items():
            with rig.client() as client:
                client.scale("app/queue", WORKERS)
                assert client.stop("app", wait_seconds=30).complete
            assert rig.log.count("the engine ended (-9) and is started again") == KILLS / len(rigs)
            assert not marked(rig.instance, "/app/queue/")
            check_ledger(rig, its_ledger)
            check_history(rig, its_ledger)


def scales_that_took_effect(rig: EngineRig, chance: random.Random) -> int:
    """Scale up to three times; return how often the engine said that it did, and then said so in its status."""
    done = 0
    with rig.client() as client, contextlib.suppress(HostError):  # an engine that is gone, or goes just now
        for _ in range(chance.choice([1, 2, 3])):
            count = chance.choice([15, 18, WORKERS])
            client.scale("app/queue", count)
            [project] = client.status().projects
            assert project.units[0].wanted == count
            done += 1
    return done


@pytest.mark.timeout(300)
def test_the_keeper_is_killed_at_50_random_moments_under_load(ledger: Path) -> None:
    """Also while it clears up after the one before it, and while it starts everything. About 60 s."""
    chance = random.Random(2)
    with engine_rig() as rig:
        rig.expects_errors = True  # each engine says that its keeper is gone
        rig.launch(workers(rig, ledger))
        rig.until_running(WORKERS)
        for _ in range(KEEPER_KILLS):
            rig.kill_keeper()
            rig.launch(workers(rig, ledger))
            time.sleep(chance.choice([0.0, 0.02, chance.uniform(0, 0.3), chance.uniform(0, 1.5)]))
        pids = {process.pid for process in rig.until_running(WORKERS, deadline=30)}
        until(lambda: set(marked(rig.instance, "/app/queue/")) == pids, "one copy of everything")
        assert rig.stop(30) == 0
        rows = ledger_rows(ledger)
        assert not [row for row in rows if row[0] == "double"]
        assert not marked(rig.instance)
        asked = {row[4]: int(row[5]) for row in rows if row[0] in ("own", "asked")}
        assert not wrong_lines(rig, asked), "the engine of a dead keeper drains the pipes"


@pytest.mark.timeout(180)
def test_an_engine_that_is_stopped_for_30_seconds_goes_on_where_it_was(ledger: Path) -> None:
    """Pipes fill and their writers wait meanwhile, others end; nobody dies of it. About 40 s."""
    with engine_rig() as rig:
        rig.launch(workers(rig, ledger, least=1.0, most=40.0, rate=60.0))
        rig.until_running(WORKERS)
        pid = rig.engine_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(HANGS_SECONDS)  # what is tested is a stretch of time
        finally:
            os.kill(pid, signal.SIGCONT)
        ended = {row[2] for row in ledger_rows(ledger) if row[0] == "own"}
        assert ended, "some ended while the engine hung"
        until(lambda: ended <= {r[2] for r in ledger_rows(ledger) if r[3] == "2"}, "second runs of those")
        assert (rig.engine_pid, lives(pid)) == (pid, True)
        with rig.client() as client:
            assert client.stop("app", wait_seconds=20).complete
        check_ledger(rig, ledger)
        check_history(rig, ledger)


def test_the_same_pids_run_under_the_next_engine() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker(processes=3))
        before = [p.pid for p in rig.until_running(3)]
        old = rig.kill_engine()
        rig.next_engine(old)
        assert [p.pid for p in rig.until_running(3)] == before
        assert len(rig.history("start")) == 3


def test_what_was_stopped_stays_stopped_and_a_live_scale_stays() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue"), rig.worker("mail", processes=1))
        rig.until_running(2)
        with rig.client() as client:
            client.stop("app/queue", wait_seconds=10)
            client.scale("app/mail", 2, wait_seconds=10)
        old = rig.kill_engine()
        rig.next_engine(old)
        assert [(p.process, p.state) for p in rig.processes()] == [
            (1, "RUNNING"),
            (2, "RUNNING"),
            (1, "STOPPED"),
        ]


def test_an_exit_while_there_is_no_engine_is_told_once_with_its_reason() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", "/bin/sh", "-c", "read x < FIFO; echo Error: no broker; exit 3"))
        fifo = rig.releases / "1" / "FIFO"
        os.mkfifo(fifo)
        rig.own(fifo)
        rig.until_running(1, deadline=20)
        pid = rig.engine_pid
        os.kill(pid, signal.SIGSTOP)
        fifo.write_text("go\n")
        os.kill(pid, signal.SIGKILL)
        rig.next_engine(pid)
        until(lambda: rig.history("exit"), "the exit")
        [event] = rig.history("exit")
        assert (event.run, event.code, event.reason) == (1, 3, "exit 3; log: Error: no broker")
