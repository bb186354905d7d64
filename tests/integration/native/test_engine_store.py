"""The store on a real disk: it keeps what it was given, and whatever is wrong with it stops nothing."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from shiftboss.api.calls import Event, History
from shiftboss.core.errors import HostError
from shiftboss.engine import database, store
from shiftboss.engine.database import Batch, Database, ProcessMemory, ScaleMemory
from shiftboss.engine.store import Store

KEY = ("shop/queue", 1)


def event(number: int, **changes: object) -> Event:
    fields: dict[str, object] = {
        "at": 3e9 + number,
        "kind": "exit",
        "target": "shop/queue",
        "process": 1,
        "run": number,
    }
    return Event(**{**fields, **changes})  # type: ignore[arg-type]  # the fields of an event


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "engine.db")


def test_what_was_written_is_there_for_the_next_engine(path: str) -> None:
    first = Database(path)
    assert first.load().processes == {}
    memory = ProcessMemory(down="keep", ended_run=4, restarts=2, failures=1, brief=3, reason="exit 3")
    first.write(Batch([event(1)], {KEY: memory}, {"shop/queue": ScaleMemory(3, 1)}))
    first.close()
    found = Database(path).load()
    assert found.processes == {KEY: memory}
    assert found.scales == {"shop/queue": ScaleMemory(3, 1)}


def test_what_is_forgotten_is_gone(path: str) -> None:
    base = Database(path)
    base.write(Batch([], {KEY: ProcessMemory()}, {"shop/queue": ScaleMemory(3, 1)}))
    base.write(Batch([], {KEY: None}, {"shop/queue": None}))
    assert base.load() == database.Memory()


def test_the_last_run_of_what_vanished_gets_an_end_once_if_it_has_none(path: str) -> None:
    base = Database(path)
    started = [
        event(run, kind="start", pid=40 + run, process=process) for run, process in ((3, 1), (5, 2), (7, 3))
    ]
    base.write(Batch([*started, event(5, process=2), event(7, kind="exit", target="shop/other", process=3)]))
    vanished = {("shop/queue", number): 3e9 + 99 for number in (1, 2, 3, 4)}
    for _ in range(2):
        base.write(Batch(vanished=vanished))
    found = base.history(History(limit=50), [("shop/queue", 0)])
    ends = [each for each in reversed(found) if each.outcome == "unknown"]
    assert [(each.process, each.run, each.pid, each.started, each.at) for each in ends] == [
        (1, 3, 43, 3e9 + 3, 3e9 + 99),
        (3, 7, 47, 3e9 + 7, 3e9 + 99),
    ]
    assert {(each.kind, each.code, each.reason) for each in ends} == {("exit", None, database.VANISHED)}


def test_a_file_of_the_version_before_keeps_all_that_it_has(path: str) -> None:
    """It had no column for the uid of who asked."""
    old = sqlite3.connect(path)
    columns = "id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL"
    more = (
        "process INTEGER NOT NULL, run INTEGER NOT NULL, pid INTEGER, state TEXT, started REAL, code INTEGER"
    )
    old.execute(f"CREATE TABLE event ({columns}, {more}, outcome TEXT, reason TEXT, who TEXT)")
    old.execute(
        "INSERT INTO event (at, kind, target, process, run, who) VALUES (3e9, 'asked', 'shop/q', 0, 0, 'ann')"
    )
    old.execute("PRAGMA user_version=1")
    old.commit()
    old.close()

    for _ in range(2):  # the second time there is nothing to add
        base = Database(path)
        base.load()
        base.write(Batch([event(1, kind="asked", who="bob", uid=1001)]))
        base.close()
    found = Database(path).history(History(kinds=("asked",)), [])
    assert [(one.who, one.uid) for one in found] == [("bob", 1001), ("bob", 1001), ("ann", None)]


def test_the_file_is_for_its_owner_only(path: str) -> None:
    Database(path).load()
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("query", "targets", "runs"),
    [
        (History(), [], [6, 5, 4, 3, 2, 1]),
        (History(limit=2), [], [6, 5]),
        (History(kinds=("start",)), [], [4]),
        (History(since=3e9 + 5), [], [6, 5]),
        (History(before=3), [], [2, 1]),
        (History(), [("shop", 0)], [6, 5, 4, 3, 1]),
        (History(), [("shop/mail", 0)], [3]),
        (History(), [("shop/queue", 2)], [5]),
        (History(), [("shop/mail", 0), ("shop2", 0)], [3, 2]),
        (History(), [("nosuch", 0)], []),
    ],
)
def test_history_is_selected(
    path: str, query: History, targets: list[tuple[str, int]], runs: list[int]
) -> None:
    base = Database(path)
    events = [
        event(1),
        event(2, target="shop2/queue"),
        event(3, target="shop/mail"),
        event(4, kind="start"),
        event(5, process=2),
        event(6, target="shop"),
    ]
    base.write(Batch(events))
    assert [found.run for found in base.history(query, targets)] == runs


def test_the_history_is_bounded_in_number_and_age(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "KEPT_EVENTS", 50)
    monkeypatch.setattr(database, "PRUNE_EVERY", 10)
    base = Database(path)
    for start in range(0, 200, 10):
        base.write(Batch([event(number, at=4e9) for number in range(start, start + 10)]))
    assert 50 <= len(base.history(History(limit=1000), [])) <= 60
    base.write(Batch([event(999, at=1.0) for _ in range(10)]))
    base.write(Batch([event(1000, at=4e9) for _ in range(10)]))
    assert not [found for found in base.history(History(limit=1000), []) if found.run == 999]


def test_a_long_reason_is_cut(path: str) -> None:
    base = Database(path)
    base.write(Batch([event(1, reason="x" * 10_000)]))
    [found] = base.history(History(), [])
    assert len(found.reason or "") == database.LONGEST_TEXT


@pytest.mark.parametrize(
    "damage", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_a_damaged_file_is_moved_aside(path: str, damage: bytes) -> None:
    Path(path).write_bytes(damage)
    base = Database(path)
    assert base.load().processes == {}
    base.write(Batch([event(1)]))
    assert Path(base.moved_aside).read_bytes() == damage


def test_damage_in_the_middle_is_an_error_once_and_then_a_new_file(path: str) -> None:
    base = Database(path)
    for number in range(0, 3000, 100):
        base.write(Batch([event(number + n, reason="r" * 400) for n in range(100)]))
    base.close()
    raw = bytearray(Path(path).read_bytes())
    raw[4096 : len(raw) - 4096] = os.urandom(len(raw) - 8192)
    Path(path).write_bytes(raw)
    again = Database(path)

    def use() -> None:
        again.load()
        again.history(History(limit=10_000), [])
        again.write(Batch([event(1)]))

    with pytest.raises(HostError):
        use()
    again.write(Batch([event(1)]))
    assert [found.run for found in again.history(History(), [])] == [1]


def test_a_transaction_is_written_whole_or_not_at_all(path: str) -> None:
    base = Database(path)
    base.load()
    with pytest.raises(HostError):
        base.write(Batch([event(1)], {("x", 1): ProcessMemory(reason=None)}))  # type: ignore[arg-type]  # breaks the table's rule
    assert base.history(History(), []) == []


# ---- the store in front of it


@contextlib.asynccontextmanager
async def opened(base: Database | str) -> AsyncIterator[Store]:
    made = Store(Database(base) if isinstance(base, str) else base, asyncio.get_running_loop())
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 -- the thread under test has no event to wait for
            await asyncio.sleep(0.005)
    assert condition(), what


def test_an_end_is_stored_before_the_keeper_may_forget_it(path: str) -> None:
    async def scene() -> None:
        async with opened(path) as made:
            assert await made.load()
            seen = list[int]()

            def stored() -> None:
                with sqlite3.connect(path) as other:
                    seen.append(other.execute("SELECT count(*) FROM event").fetchone()[0])
                other.close()

            made.record(event(1), stored)
            assert seen == []
            made.flush()
            await until(lambda: seen, "the store")
            assert seen == [1]

    asyncio.run(scene())


def test_many_events_are_few_transactions(path: str) -> None:
    class Counting(Database):
        writes = 0

        def write(self, batch: Batch) -> None:
            self.writes += 1
            super().write(batch)

    counting = Counting(path)

    async def scene() -> None:
        async with opened(counting) as made:
            await made.load()
            done = list[int]()
            for number in range(1000):
                made.record(event(number), lambda: done.append(1))
                made.flush()
            await until(lambda: len(done) == 1000, "all stored")
            assert len(await made.history(History(limit=2000), [])) == 1000

    asyncio.run(scene())
    assert 1 <= counting.writes <= 5


def test_the_history_holds_all_that_was_told_before_it_was_asked_for(path: str) -> None:
    """Also what was collected while a batch before it was being written."""
    gate = threading.Event()

    class Slow(Database):
        def write(self, batch: Batch) -> None:
            gate.wait(10)
            super().write(batch)

    async def scene() -> None:
        async with opened(Slow(path)) as made:
            made.record(event(1))
            made.flush()
            made.record(event(2))
            made.flush()
            asked = asyncio.ensure_future(made.history(History(), []))
            await asyncio.sleep(0)
            gate.set()
            assert [found.run for found in await asked] == [2, 1]

    asyncio.run(scene())


def test_a_directory_that_cannot_be_written_is_reported_and_nothing_waits(path: str) -> None:
    async def scene() -> None:
        async with opened("/proc/nosuch/engine.db") as made:
            assert await made.load() is None
            assert "cannot read" in made.trouble
            done = list[int]()
            made.record(event(1), lambda: done.append(1))
            made.flush()
            await until(lambda: done, "the keeper may forget")
            with pytest.raises(HostError):
                await made.history(History(), [])

    asyncio.run(scene())


def test_what_could_not_be_written_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.05)

    async def scene() -> None:
        place = tmp_path / "state"
        async with opened(str(place / "engine.db")) as made:
            made.record(event(1))
            made.remember(KEY, ProcessMemory(ended_run=1))
            made.flush()
            await until(lambda: made.trouble, "trouble")
            made.record(event(2))
            made.flush()
            place.mkdir()
            await until(lambda: not made.trouble, "no trouble")
            rows = await made.history(History(), [])
            assert [found.run for found in rows] == [2, 1]
            memory = await made.load()
            assert memory
            assert memory.processes == {KEY: ProcessMemory(ended_run=1)}

    asyncio.run(scene())


def test_a_disk_that_hangs_holds_nothing_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LATE_SECONDS", 0.1)
    hang = threading.Event()

    class Hanging(Database):
        def write(self, batch: Batch) -> None:
            hang.wait(20)
            super().write(batch)

    async def scene() -> None:
        made = Store(Hanging(path), asyncio.get_running_loop())
        done = list[int]()
        made.record(event(1), lambda: done.append(1))
        made.flush()
        await until(lambda: done == [1], "the first may be forgotten")
        assert "does not answer" in made.trouble
        made.record(event(2), lambda: done.append(2))
        made.flush()
        assert done == [1, 2]
        hang.set()
        await until(lambda: not made.trouble, "no trouble")
        assert len(await made.history(History(), [])) == 2
        await made.close()

    asyncio.run(scene())


def test_memory_for_what_cannot_be_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MOST_KEPT", 100)

    async def scene() -> None:
        async with opened("/proc/nosuch/engine.db") as made:
            for number in range(1000):
                made.record(event(number))
                made.flush()
                await asyncio.sleep(0)
            await until(lambda: made.trouble, "trouble")
            assert len(made._pending.events) <= 100

    asyncio.run(scene())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(descriptor, b"x" * 4096):
            pass
    os.close(descriptor)


@pytest.mark.needs_root
def test_a_full_disk_is_reported_and_recovered_from(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.05)

    async def scene() -> None:
        async with opened(str(small_disk / "engine.db")) as made:
            assert await made.load()
            filler = small_disk / "filler"
            fill(filler)
            done = list[int]()
            for number in range(400):
                made.record(event(number, reason="r" * 400), lambda: done.append(1))
            made.flush()
            await until(lambda: made.trouble, "trouble")
            assert len(done) == 400
            filler.unlink()
            for number in range(5):
                made.record(event(1000 + number))
            await until(lambda: not made.trouble, f"no trouble, but {made.trouble}")
            assert len(await made.history(History(limit=1000), [])) >= 400

    asyncio.run(scene())
