"""What is kept of schedules in the engine's SQLite file: marks, occurrences, details of runs. Blocking."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shiftboss.core.agenda_values import Mark
from shiftboss.core.occurrence import Row

KEPT_OF_EACH = 5000
KEPT_SECONDS = 400 * 86_400.0
PRUNE_EVERY = 1000  # rows between two looks at what is too old
PRUNE_EACH_EVERY = 100  # rows of one schedule between two looks at how many it has
LONGEST_TEXT = 500

TABLES = """
CREATE TABLE IF NOT EXISTS occurrence (
    address TEXT NOT NULL, number INTEGER NOT NULL, due INTEGER NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL,
    stage TEXT NOT NULL, outcome TEXT, reason TEXT NOT NULL, exit_status INTEGER, run INTEGER NOT NULL,
    lane INTEGER NOT NULL, attempt INTEGER NOT NULL, start_at REAL NOT NULL, latest REAL NOT NULL, began REAL,
    ended REAL, lateness REAL, cause TEXT NOT NULL, keeper TEXT NOT NULL, PRIMARY KEY (address, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS occurrence_due ON occurrence (due);
CREATE INDEX IF NOT EXISTS occurrence_open ON occurrence (address) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS schedule (
    address TEXT PRIMARY KEY, mark INTEGER NOT NULL, counter INTEGER NOT NULL, paused TEXT NOT NULL,
    halted TEXT NOT NULL, boot TEXT NOT NULL, "when" TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run (
    address TEXT NOT NULL, run INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, excerpt TEXT NOT NULL,
    PRIMARY KEY (address, run)
) WITHOUT ROWID;
"""
_ROW = ", ".join(Row._fields)
_MARK = 'address, mark, counter, paused, halted, boot, "when"'

# a run has the next number after that of its occurrence, or a later one
_IS_OF_NONE = (
    "run < (SELECT coalesce(min(number), run.run + 1) FROM occurrence AS own WHERE own.address = run.address)"
)


class Detail(NamedTuple):
    """What is kept of one run besides its occurrence: the most memory its main program had, the end of its output."""

    address: str
    run: int
    memory_bytes: int
    excerpt: str


@dataclass
class ScheduleMemory:
    """What a new engine finds: the marks, the occurrences without an outcome, and of each schedule the last with one."""

    marks: list[Mark] = field(default_factory=list)
    opens: list[Row] = field(default_factory=list)
    last: list[Row] = field(default_factory=list)


class Wanted(NamedTuple):
    """Which occurrences are asked for, newest first. `targets`: addresses or projects, none: all.

    `since`, `until`: those due in that time, in seconds since the epoch; 0: without a bound. `since` alone: also those
    that have ended since.
    """

    targets: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    since: float = 0
    until: float = 0
    limit: int = 100


def read_memory(connection: sqlite3.Connection) -> ScheduleMemory:
    """Return what a new engine must know."""
    marks = [Mark(*row) for row in connection.execute(f"SELECT {_MARK} FROM schedule")]  # noqa: S608 -- constants
    opens = connection.execute(f"SELECT {_ROW} FROM occurrence WHERE outcome IS NULL")  # noqa: S608 -- constants
    last = connection.execute(
        f"SELECT {_ROW} FROM occurrence WHERE outcome IS NOT NULL AND number = (SELECT max(number) FROM occurrence "  # noqa: S608 -- constants
        "AS own WHERE own.address = occurrence.address AND own.outcome IS NOT NULL)"
    )
    return ScheduleMemory(marks, [Row(*row) for row in opens], [Row(*row) for row in last])


def write_rows(connection: sqlite3.Connection, rows: Iterable[Row], marks: Iterable[Mark]) -> None:
    """Write rows and marks; a later row of a key takes the place of the earlier one."""
    cut = [row._replace(reason=row.reason[:LONGEST_TEXT]) for row in rows]
    connection.executemany(f"INSERT OR REPLACE INTO occurrence VALUES ({_places(Row._fields)})", cut)  # noqa: S608 -- built of constants
    connection.executemany(f"INSERT OR REPLACE INTO schedule VALUES ({_places(Mark._fields)})", marks)  # noqa: S608 -- same


def write_details(connection: sqlite3.Connection, details: Iterable[Detail]) -> None:
    """Write what is kept of runs."""
    connection.executemany("INSERT OR REPLACE INTO run VALUES (?,?,?,?)", details)


def prune_old(connection: sqlite3.Connection, now: float) -> None:
    """Remove what is too old; `now` in seconds since the epoch. What has no outcome stays."""
    old = connection.execute(
        "DELETE FROM occurrence WHERE outcome IS NOT NULL AND due < ?", (now - KEPT_SECONDS,)
    )
    if old.rowcount:
        connection.execute(f"DELETE FROM run WHERE {_IS_OF_NONE}")  # noqa: S608 -- built of constants


def prune_most(connection: sqlite3.Connection, addresses: Iterable[str]) -> None:
    """Remove what is too much of these schedules. What has no outcome stays."""
    for address in addresses:
        connection.execute(
            "DELETE FROM occurrence WHERE address = ? AND outcome IS NOT NULL AND number <= (SELECT number FROM "
            "occurrence WHERE address = ? AND outcome IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (address, address, KEPT_OF_EACH),
        )
        connection.execute(f"DELETE FROM run WHERE address = ? AND {_IS_OF_NONE}", (address,))  # noqa: S608 -- built of constants


def read_rows(connection: sqlite3.Connection, wanted: Wanted) -> list[tuple[Row, Detail | None]]:
    """Return occurrences, newest first, with what is kept of their runs."""
    where, values = _conditions(wanted)
    columns = ", ".join(f"o.{name}" for name in Row._fields)
    found = connection.execute(
        f"SELECT {columns}, r.memory_bytes, r.excerpt FROM occurrence AS o LEFT JOIN run AS r "  # noqa: S608 -- built of constants
        f"ON r.address = o.address AND r.run = o.run AND o.run > 0 {where} ORDER BY o.due DESC, o.number DESC LIMIT ?",
        (*values, wanted.limit),
    )
    return [_with_detail(row) for row in found]


def _with_detail(values: Sequence[object]) -> tuple[Row, Detail | None]:
    *own, memory, excerpt = values
    row = Row(*own)  # type: ignore[arg-type]  # as the table has them
    detail = None if excerpt is None else Detail(row.address, row.run, int(str(memory)), str(excerpt))
    return row, detail


def _conditions(wanted: Wanted) -> tuple[str, tuple[object, ...]]:
    parts: list[str] = []
    values: list[object] = []
    if wanted.outcomes:
        parts.append(f"o.outcome IN ({_places(wanted.outcomes)})")
        values += wanted.outcomes
    if wanted.since and wanted.until:
        parts.append("o.last >= ?")
        values.append(wanted.since)
    elif wanted.since:
        parts.append("(o.last >= ? OR o.ended >= ?)")
        values += (wanted.since, wanted.since)
    if wanted.until:
        parts.append("o.due <= ?")
        values.append(wanted.until)
    if wanted.targets:
        one = "(o.address = ? OR (o.address >= ? AND o.address < ?))"  # '0' is the character after '/'
        parts.append(f"({' OR '.join([one] * len(wanted.targets))})")
        for target in wanted.targets:
            values += (target, f"{target}/", f"{target}0")
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), tuple(values)


def _places(columns: Sequence[str]) -> str:
    return ",".join("?" * len(columns))
