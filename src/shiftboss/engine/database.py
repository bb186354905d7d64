"""What the engine must not forget, in one SQLite file: wishes, run numbers, and the history of events. Blocking."""

import contextlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shiftboss.api.calls import Event, History
from shiftboss.core.agenda_values import Save
from shiftboss.core.errors import HostError
from shiftboss.core.occurrence import Row
from shiftboss.engine import occurrences
from shiftboss.engine.occurrences import Detail, ScheduleMemory, Wanted

SCHEMA = 2
KEPT_EVENTS = 100_000
KEPT_SECONDS = 90 * 86_400.0
PRUNE_EVERY = 1000  # events between two looks at what is too old or too much
LONGEST_TEXT = 500
VANISHED = "it ran when the keeper ended; how it ended is not known"
_BUSY_SECONDS = 2.0
_LEAST_BYTES = 512  # the smallest page that SQLite has
_COLUMNS = "at, kind, target, process, run, pid, state, started, code, outcome, reason, who, uid"
_TABLES = """
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, process INTEGER NOT NULL,
    run INTEGER NOT NULL, pid INTEGER, state TEXT, started REAL, code INTEGER, outcome TEXT, reason TEXT, who TEXT,
    uid INTEGER
);
CREATE INDEX IF NOT EXISTS event_of_target ON event (target, id);
CREATE TABLE IF NOT EXISTS process (
    entry TEXT NOT NULL, process INTEGER NOT NULL, down TEXT NOT NULL,
    ended_run INTEGER NOT NULL, restarts INTEGER NOT NULL, failures INTEGER NOT NULL, brief INTEGER NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (entry, process)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scale (entry TEXT PRIMARY KEY, processes INTEGER NOT NULL, instead_of INTEGER NOT NULL)
    WITHOUT ROWID;
"""
_VANISHED = """
INSERT INTO event (at, kind, target, process, run, pid, started, outcome, reason)
SELECT ?, 'exit', target, process, run, pid, at, 'unknown', ? FROM event WHERE kind = 'start' AND id = (
    SELECT max(id) FROM event WHERE target = ? AND process = ? AND kind IN ('start', 'exit', 'failure')
)
"""

Key = tuple[str, int]


class ProcessMemory(NamedTuple):
    """What is remembered of a process. `down`: "" wanted up, a boot id: down until the next boot, "keep": for good.

    `ended_run` is the last run whose end (exit or failed start) is in the history: it is counted once. The next run
    has the next number: asking the keeper twice for the same run, as two engines may, starts it once.
    """

    down: str = ""
    ended_run: int = 0
    restarts: int = 0
    failures: int = 0
    brief: int = 0
    reason: str = ""


class ScaleMemory(NamedTuple):
    """A live scale: so many processes instead of what the file said at that time."""

    processes: int
    instead_of: int


@dataclass
class Memory:
    """Everything that is remembered, as a new engine finds it."""

    processes: dict[Key, ProcessMemory] = field(default_factory=dict)
    scales: dict[str, ScaleMemory] = field(default_factory=dict)
    schedules: ScheduleMemory = field(default_factory=ScheduleMemory)


@dataclass
class Batch:
    """Changes that are written together or not at all. None as a value: forget it.

    `vanished`: processes of which nothing lives at this time (seconds since the epoch), before the events.
    """

    events: list[Event] = field(default_factory=list)
    processes: dict[Key, ProcessMemory | None] = field(default_factory=dict)
    scales: dict[str, ScaleMemory | None] = field(default_factory=dict)
    vanished: dict[Key, float] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not (self.events or self.processes or self.scales or self.vanished)


class Database:
    """The file. Every method raises HostError where it or the disk fails; a broken file is moved aside."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.moved_aside = ""
        self._connection: sqlite3.Connection | None = None
        self._until_prune = self._until_rows_pruned = 0
        self._unpruned: Counter[str] = Counter()

    def load(self) -> Memory:
        """Return what is remembered."""
        with self._errors("read"):
            rows = self._open().execute(
                "SELECT entry, process, down, ended_run, restarts, failures, brief, reason FROM process"
            )
            processes = {(row[0], row[1]): ProcessMemory(*row[2:]) for row in rows}
            scales = {
                row[0]: ScaleMemory(row[1], row[2])
                for row in self._open().execute("SELECT entry, processes, instead_of FROM scale")
            }
            return Memory(processes, scales, occurrences.read_memory(self._open()))

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction."""
        with self._errors("write"):
            connection = self._open()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                _write_vanished(connection, batch.vanished)
                self._write_events(connection, batch.events)
                _write_processes(connection, batch.processes)
                _write_scales(connection, batch.scales)

    def save(self, save: Save, details: Sequence[Detail]) -> None:
        """Write what happened to schedules in one transaction, on disk for certain before it returns if `urgent`.

        What is on disk may be started: a power cut must not forget it.
        """
        with self._errors("write"):
            connection = self._open()
            connection.execute(f"PRAGMA synchronous={'FULL' if save.urgent else 'NORMAL'}")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                occurrences.write_rows(connection, save.rows, save.marks)
                occurrences.write_details(connection, details)
                self._prune_rows(connection, save.rows)

    def _prune_rows(self, connection: sqlite3.Connection, written: Sequence[Row]) -> None:
        self._until_rows_pruned -= len(written)
        if self._until_rows_pruned <= 0:
            self._until_rows_pruned = occurrences.PRUNE_EVERY
            occurrences.prune_old(connection, time.time())  # noqa: TID251 -- ages in a history are wall time
        self._unpruned.update(row.address for row in written)
        many = [
            a for a in {row.address for row in written} if self._unpruned[a] >= occurrences.PRUNE_EACH_EVERY
        ]
        occurrences.prune_most(connection, many)
        for address in many:
            del self._unpruned[address]

    def occurrences(self, wanted: Wanted) -> list[tuple[Row, Detail | None]]:
        """Return occurrences, newest first."""
        with self._errors("read"):
            return occurrences.read_rows(self._open(), wanted)

    def history(self, query: History, targets: Sequence[tuple[str, int]]) -> list[Event]:
        """Return events, newest first. `targets`: (address or project, process or 0), none: all."""
        where, values = _conditions(query, targets)
        sql = f"SELECT id, {_COLUMNS} FROM event {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 -- built of constants
        with self._errors("read"):
            return [_event(row) for row in self._open().execute(sql, (*values, query.limit))]

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if _is_torn(self.path):
                self._move_aside()
            try:
                self._connection = _connect(self.path)
            except sqlite3.OperationalError:
                raise
            except (
                sqlite3.DatabaseError
            ):  # not a database, or a damaged one: history is not worth a dead engine
                self._move_aside()
                self._connection = _connect(self.path)
        return self._connection

    def _move_aside(self) -> None:
        self.moved_aside = f"{self.path}.broken-{time.strftime('%Y%m%d-%H%M%S')}"
        os.replace(self.path, self.moved_aside)
        for extra in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path + extra)

    @contextlib.contextmanager
    def _errors(self, verb: str) -> Any:  # an iterator that contextmanager wraps
        try:
            yield
        except sqlite3.OperationalError as error:
            self.close()  # what was wrong with the open file may be right with the next
            raise HostError(f"cannot {verb} {self.path}: {error}", hint=_HINT) from error
        except (sqlite3.DatabaseError, sqlite3.Warning) as error:
            self.close()
            with contextlib.suppress(OSError):
                self._move_aside()
            raise HostError(f"cannot {verb} {self.path}: {error}", hint=_HINT) from error
        except OSError as error:
            raise HostError(f"cannot {verb} {self.path}: {error.strerror}", hint=_HINT) from error

    def _write_events(self, connection: sqlite3.Connection, events: list[Event]) -> None:
        connection.executemany(
            f"INSERT INTO event ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 -- built of constants
            map(_row, events),
        )
        self._until_prune -= len(events)
        if self._until_prune <= 0:
            self._until_prune = PRUNE_EVERY
            _prune(connection, time.time())  # noqa: TID251 -- ages in a history are wall time


_HINT = "Workers run on, but what happens is not remembered; make room or mend the state directory."


def _is_torn(path: str) -> bool:
    """Tell whether of a file only the beginning of its first page is there, which SQLite would take for an empty one."""
    try:
        return 0 < os.stat(path).st_size < _LEAST_BYTES
    except FileNotFoundError:
        return False


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "PRAGMA synchronous=NORMAL"
        )  # a kill loses nothing; a power cut at most the last moments
        connection.execute("PRAGMA cache_size=-256")
        connection.executescript(_TABLES + occurrences.TABLES)
        _add_what_is_new(connection)
        connection.execute(f"PRAGMA user_version={SCHEMA}")
        os.chmod(path, 0o600)
    except BaseException:
        connection.close()
        raise
    return connection


def _add_what_is_new(connection: sqlite3.Connection) -> None:
    """Bring a file of an earlier version to this one; nothing in it is lost."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(event)")}
    if "uid" not in columns:
        connection.execute("ALTER TABLE event ADD COLUMN uid INTEGER")


def _row(event: Event) -> tuple[Any, ...]:
    reason = event.reason[:LONGEST_TEXT] if event.reason else event.reason
    return (
        event.at,
        event.kind,
        event.target,
        event.process,
        event.run,
        event.pid,
        event.state,
        event.started,
        event.code,
        event.outcome,
        reason,
        event.who,
        event.uid,
    )


def _event(row: Sequence[Any]) -> Event:
    names = ("id", *_COLUMNS.split(", "))
    return Event(**dict(zip(names, row, strict=True)))


def _write_vanished(connection: sqlite3.Connection, vanished: dict[Key, float]) -> None:
    """Give the last run of each process an end, if the history has only its start."""
    connection.executemany(_VANISHED, [(at, VANISHED, *key) for key, at in vanished.items()])


def _write_processes(connection: sqlite3.Connection, changes: dict[Key, ProcessMemory | None]) -> None:
    kept = [(*key, *memory) for key, memory in changes.items() if memory is not None]
    connection.executemany("INSERT OR REPLACE INTO process VALUES (?,?,?,?,?,?,?,?)", kept)
    dropped = [key for key, memory in changes.items() if memory is None]
    connection.executemany("DELETE FROM process WHERE entry = ? AND process = ?", dropped)


def _write_scales(connection: sqlite3.Connection, changes: dict[str, ScaleMemory | None]) -> None:
    kept = [(entry, *memory) for entry, memory in changes.items() if memory is not None]
    connection.executemany("INSERT OR REPLACE INTO scale VALUES (?,?,?)", kept)
    dropped = [(entry,) for entry, memory in changes.items() if memory is None]
    connection.executemany("DELETE FROM scale WHERE entry = ?", dropped)


def _prune(connection: sqlite3.Connection, now: float) -> None:
    connection.execute(
        "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ? OR at < ?",
        (KEPT_EVENTS, now - KEPT_SECONDS),
    )


def _conditions(query: History, targets: Iterable[tuple[str, int]]) -> tuple[str, tuple[Any, ...]]:
    parts: list[str] = []
    values: list[Any] = []
    if query.kinds:
        parts.append(f"kind IN ({','.join('?' * len(query.kinds))})")
        values.extend(query.kinds)
    if query.since:
        parts.append("at >= ?")
        values.append(query.since)
    if query.before:
        parts.append("id < ?")
        values.append(query.before)
    chosen = []
    for target, process in targets:
        condition, its_values = _target_condition(target, process)
        chosen.append(condition)
        values.extend(its_values)
    if chosen:
        parts.append(f"({' OR '.join(chosen)})")
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), tuple(values)


def _target_condition(target: str, process: int) -> tuple[str, tuple[Any, ...]]:
    if process:
        return "(target = ? AND process = ?)", (target, process)
    if "/" in target:
        return "target = ?", (target,)
    # every unit of a project: '0' is the character after '/'
    return "(target = ? OR (target >= ? AND target < ?))", (target, f"{target}/", f"{target}0")
