"""What is kept of schedules on a real disk: bounded in number and age, and a torn file costs no schedule."""

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from engine_rig import engine_rig
from keeper_rig import until

from shiftboss.core.agenda_values import Mark, Save
from shiftboss.core.errors import HostError
from shiftboss.core.occurrence import Row
from shiftboss.engine.database import Database
from shiftboss.engine.occurrences import KEPT_OF_EACH, KEPT_SECONDS, PRUNE_EVERY, Detail, Wanted

NOW = int(time.time())
ALL = Wanted(limit=100_000)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "engine.db")


def ended(number: int, due: int = NOW, address: str = "shop/tick") -> Row:
    """Return an occurrence that ran; its run has the next number of the same count."""
    return Row(address, number, due, due, outcome="ran", run=number + 1)


def waiting(number: int, due: int = NOW) -> Row:
    return Row("shop/tick", number, due, due, stage="waiting")


def save(base: Database, rows: list[Row], details: list[Detail] | None = None) -> None:
    marks = tuple(Mark(address, NOW, 0, when="every second") for address in {row.address for row in rows})
    base.save(Save(1, tuple(rows), marks, urgent=False), details or [])


def numbers(base: Database, address: str = "shop/tick") -> list[int]:
    return sorted(row.number for row, _ in base.occurrences(ALL._replace(targets=(address,))))


def runs(path: str) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [run for (run,) in connection.execute("SELECT run FROM run ORDER BY run")]


def test_of_each_schedule_the_latest_5000_are_kept(path: str) -> None:
    """They have every second number, since runs are counted with them."""
    base = Database(path)
    save(base, [waiting(1), ended(3, address="shop/rare")])
    wanted = range(11, 11 + 2 * (KEPT_OF_EACH + 700), 2)
    for start in range(0, len(wanted), 50):
        part = wanted[start : start + 50]
        save(base, [ended(n) for n in part], [Detail("shop/tick", n + 1, 4096, "") for n in part])
    base.load()
    assert numbers(base) == [1, *wanted[-KEPT_OF_EACH:]], "what has no outcome stays, however old it is"
    assert numbers(base, "shop/rare") == [3]


def test_the_details_of_runs_go_with_their_occurrences(path: str) -> None:
    base = Database(path)
    for start in range(1, 2 * (KEPT_OF_EACH + 500), 200):
        part = range(start, start + 200, 2)
        save(base, [ended(n) for n in part], [Detail("shop/tick", n + 1, 4096, "") for n in part])
    assert [n + 1 for n in numbers(base)] == runs(path)


def test_what_is_older_than_400_days_goes(path: str) -> None:
    base = Database(path)
    old, young = int(NOW - KEPT_SECONDS - 86_400), int(NOW - KEPT_SECONDS + 86_400)
    detail = [Detail("shop/yearly", n, 4096, "") for n in (2, 4)] + [Detail("shop/gone", 2, 4096, "")]
    save(base, [waiting(1, old), ended(1, old, "shop/yearly"), ended(3, young, "shop/yearly")], detail)
    save(base, [ended(1, old, "shop/gone")])
    save(base, [ended(n, address="shop/busy") for n in range(1, 2 * PRUNE_EVERY, 2)])
    save(base, [ended(2 * PRUNE_EVERY, address="shop/busy")])
    assert numbers(base, "shop/yearly") == [3]
    assert numbers(base, "shop/gone") == []
    assert numbers(base) == [1], "what has no outcome stays"
    assert runs(path) == [4]


# ---- a torn file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A history of some hundred kilobytes, closed in order."""
    path = str(tmp_path_factory.mktemp("whole") / "engine.db")
    base = Database(path)
    for start in range(1, 3000, 300):
        rows = [ended(n)._replace(reason="r" * 100) for n in range(start, start + 300)]
        save(base, [*rows, *(ended(n, address=f"shop/s{n}") for n in range(start, start + 30))])
    base.close()
    return Path(path).read_bytes()


@pytest.mark.parametrize("tenths", range(10))
@pytest.mark.parametrize("odd", [0, 1, 700])
def test_a_truncated_history_is_recovered_or_set_aside_and_can_be_written(
    path: str, whole: bytes, tenths: int, odd: int
) -> None:
    """Cut at the edge of a page and inside of one: after at most one error all is well, and nothing is overwritten."""
    size = len(whole) * tenths // 10 // 4096 * 4096 + odd
    Path(path).write_bytes(whole[:size])
    base = Database(path)
    errors = []
    for _ in range(3):
        try:
            base.load()
            base.occurrences(ALL)
            save(base, [ended(9001)])
        except HostError as error:
            errors.append(error.message)
    assert len(errors) <= 1, errors
    assert 9001 in numbers(base)
    assert base.moved_aside or size == 0 or numbers(base)[:2] == [1, 2]
    if base.moved_aside:
        assert Path(base.moved_aside).stat().st_size >= min(size, 1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.9])
def test_schedules_go_on_after_their_history_was_torn(share: float) -> None:
    with engine_rig() as rig:
        rig.expects_errors = True
        rig.launch(*rig.schedule("tick", "/bin/true"))
        until(lambda: len(rig.outcomes()) >= 3, "runs")
        assert rig.stop() == 0
        file = rig.engine_state / "engine.db"
        with closing(sqlite3.connect(file)) as connection:  # all of it is in the one file then
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(file, max(1, int(file.stat().st_size * share)))
        rig.launch_written()
        began = time.time()
        until(
            lambda: [r for r in rig.occurrences() if r.outcome == "ran" and r.due > began], "runs after that"
        )
        with rig.client() as client:
            told = "\n".join(client.status().troubles)
        aside = list(rig.engine_state.glob("engine.db.broken-*"))
        assert aside, "so short a file is always damaged"
        assert f"the history was damaged and begins anew; the old file is {aside[0]}" in told


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_schedules_go_on_after_the_latest_of_their_history_was_torn(share: float) -> None:
    """What was written last is in a file beside the history; of that, too, SQLite takes what is whole."""
    with engine_rig() as rig:
        rig.launch(*rig.schedule("tick", "/bin/true"))
        until(lambda: len(rig.outcomes()) >= 3, "runs")
        old = rig.kill_engine(signal.SIGSTOP)
        wal = rig.engine_state / "engine.db-wal"
        os.truncate(wal, int(wal.stat().st_size * share))
        os.kill(old, signal.SIGKILL)
        rig.next_engine(old)
        began = time.time()
        until(
            lambda: [r for r in rig.occurrences() if r.outcome == "ran" and r.due > began], "runs after that"
        )
        numbers = [row.number for row in rig.occurrences()]
        assert len(numbers) == len(set(numbers))


def test_what_has_ended_since_a_time_is_newer_though_it_was_due_before(path: str) -> None:
    """A backup of three hours that fails at their end is news of the last hour; it was not due in that hour."""
    base = Database(path)
    long, short = NOW - 10_800, NOW - 7_200
    save(base, [ended(1, long)._replace(ended=NOW - 60.0), ended(3, short)._replace(ended=short + 1.0)])
    since = ALL._replace(since=NOW - 3600)
    assert [row.number for row, _ in base.occurrences(since)] == [1]
    assert base.occurrences(since._replace(until=NOW)) == []
