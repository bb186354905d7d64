"""The e-mails of the newsletter: which are wanted, which process has one in hand, which are sent.

One SQLite file; every function opens it afresh, so that all processes and threads may use them.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

RELEASE = Path(__file__).resolve().parent
# this file lies in PROJECT/releases/N: what outlives a release lies beside the releases
SHARED = Path(os.environ.get("NEWSLETTER_SHARED") or RELEASE.parents[1] / "shared")
DIRECTORY = SHARED / "outbox"

TABLE = """
CREATE TABLE IF NOT EXISTS email (
    number INTEGER PRIMARY KEY,
    process INTEGER,                  -- the pid that has it in hand, or had
    sent INTEGER NOT NULL DEFAULT 0
)"""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database for one transaction."""
    connection = sqlite3.connect(SHARED / "newsletter.db", timeout=30)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def prepare() -> None:
    """Make what is missing; call it once before anything else."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with database() as db:
        # readers and a writer do not wait for each other, and a crash of a process loses nothing
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(TABLE)


def add(count: int) -> range:
    """Want so many more e-mails; return their numbers."""
    with database() as db:
        db.execute("BEGIN IMMEDIATE")
        (last,) = db.execute("SELECT coalesce(max(number), 0) FROM email").fetchone()
        numbers = range(last + 1, last + 1 + count)
        db.executemany("INSERT INTO email (number) VALUES (?)", ((number,) for number in numbers))
    return numbers


def take(number: int) -> bool:
    """Take an e-mail in hand; False if it is sent, or another has it."""
    with database() as db:
        sql = "UPDATE email SET process = ? WHERE number = ? AND process IS NULL"
        return db.execute(sql, (os.getpid(), number)).rowcount == 1


def send(number: int) -> None:
    """Write an e-mail that was taken into the outbox, where it appears only when it is complete."""
    message = EmailMessage()
    message["To"] = f"reader-{number}@example.org"
    message["Subject"] = "News"
    message["X-Release"] = RELEASE.name
    message.set_content(f"This is e-mail {number}, sent by process {os.getpid()}.\n")
    unfinished = DIRECTORY / f".{number}.unfinished"
    unfinished.write_bytes(bytes(message))
    unfinished.rename(DIRECTORY / f"{number}.eml")
    with database() as db:
        db.execute("UPDATE email SET sent = 1 WHERE number = ?", (number,))


def abandoned() -> list[int]:
    """Take e-mails out of the hands of processes that are gone; return all that nobody has in hand."""
    with database() as db:
        db.execute("BEGIN IMMEDIATE")
        holders = db.execute("SELECT DISTINCT process FROM email WHERE NOT sent AND process IS NOT NULL")
        gone = [(pid,) for (pid,) in holders.fetchall() if not is_alive(pid)]
        db.executemany("UPDATE email SET process = NULL WHERE NOT sent AND process = ?", gone)
        return [number for (number,) in db.execute("SELECT number FROM email WHERE process IS NULL")]


def is_alive(pid: int) -> bool:
    """Say whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def progress() -> dict[str, object]:
    """Return how far the work is, and what each process did."""
    with database() as db:
        total, sent = db.execute("SELECT count(*), coalesce(sum(sent), 0) FROM email").fetchone()
        sql = "SELECT process, sum(sent) FROM email WHERE process IS NOT NULL GROUP BY process ORDER BY 1"
        workers = [
            {"pid": pid, "sent": done, "alive": is_alive(pid)} for pid, done in db.execute(sql).fetchall()
        ]
    return {"release": RELEASE.name, "total": total, "sent": sent, "workers": workers}
