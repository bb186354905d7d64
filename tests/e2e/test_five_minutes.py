"""Five minutes of real time, spent once: a real Laravel on our engine and on cron, and an engine that stands still.

The three go on beside each other and do not know of each other.
"""

import json
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from shiftboss.api.calls import Occurrence, Occurrences
from shiftboss.api.client import Client
from tests.crond import TemporaryCron
from tests.e2e.laravel import laravel_project
from tests.e2e.server import Server, TestProject, made_server, on_native
from tests.e2e.test_laravel_scheduler import running, with_tasks, with_the_lines_of_the_guide
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(600), on_native]

MINUTES = 5
STANDSTILL_SECONDS = 300
FAILING = ("app:heartbeat broken", "exit 7", "closure-boom")
PACES = {"second": 1, "fifth": 5, "minute": 60}  # schedule: how many seconds apart its times are


def test_each_minute_has_its_heartbeat_and_a_standstill_is_accounted_for(
    server: Server, still: "Standstill"
) -> None:
    with TemporaryCron(server.directory):
        projects = {backend: _scheduled(server, backend) for backend in ("native", "cron")}
        with still.stopped():
            for backend, project in projects.items():
                wait_until(
                    lambda p=project: len(_told(p)) >= MINUTES,
                    MINUTES * 60 + 60,
                    what=f"{MINUTES} runs on {backend}",
                    interval=1,
                )
        for project in projects.values():
            server.ok("remove", project.name, "--yes")
            _assert_each_minute_is_there(project)
            wait_until(lambda p=project: not running(p), 30, what="the end of all tasks")
    still.assert_all_is_accounted_for()


# ---- Laravel


def _scheduled(server: Server, backend: str) -> TestProject:
    """Return a Laravel project whose scheduler runs on this backend; three of its tasks fail, one goes on alone."""
    project = laravel_project(server)
    with_tasks(project)
    with_the_lines_of_the_guide(project)
    server.ok("cron", project.name, "--backend", backend)
    return project


def _told(project: TestProject) -> list[dict[str, Any]]:
    """Return what is told of the runs that have ended, oldest first."""
    rows = json.loads(project.server.ok("history", project.name, "--json").stdout)
    return [row for row in rows if row["kind"] == "occurrence" and row["outcome"]]


def _minutes(project: TestProject, note: str) -> list[int]:
    """Return the minutes (since the epoch) in which a task wrote a line."""
    heartbeat = project.root / "shared" / "storage" / "app" / "heartbeat.log"
    rows = [line.split() for line in heartbeat.read_text().splitlines()]
    return [int(datetime.fromisoformat(row[0]).timestamp()) // 60 for row in rows if row[-1] == note]


def _assert_each_minute_is_there(project: TestProject) -> None:
    """One heartbeat in each minute, the failing tasks named each time, and the task in the background let go each time.

    A task `withoutOverlapping` that is not let finish keeps its lock, and does not run in the next minute.
    """
    for note in ("fine", "later"):
        wait_until(lambda note=note: len(_minutes(project, note)) >= MINUTES, 30, what=f"{MINUTES} x {note}")
        minutes = _minutes(project, note)
        assert minutes == list(range(minutes[0], minutes[0] + len(minutes))), (note, minutes)
    for row in _told(project)[:MINUTES]:
        assert row["outcome"] == "failed", "Laravel itself exits with 0"
        assert all(task in row["reason"] for task in FAILING), row


# ---- an engine that stands still


class Standstill:
    """A server of its own with schedules of several paces, whose engine is stopped by SIGSTOP for some minutes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._project = server.add_project()
        self._project.release()
        server.ok("project", "add", self._project.name, "--user", self._project.user)
        for name, pace in PACES.items():
            server.ok("cron", self._project.name, name, "--every", f"{pace}s", "--", "true")
        wait_until(lambda: self._ran("fifth"), 30, what="a run")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have the engine stand still while the block runs, and at least for STANDSTILL_SECONDS."""
        engine = self._server.keeper.engine_pid
        self._stopped_at, end = time.time(), time.monotonic() + STANDSTILL_SECONDS
        os.kill(engine, signal.SIGSTOP)
        try:
            yield
            time.sleep(max(0.0, end - time.monotonic()))  # that is the case
        finally:
            os.kill(engine, signal.SIGCONT)
            self._resumed_at = time.time()
        assert self._server.keeper.engine_pid == engine, "it was never replaced"

    def assert_all_is_accounted_for(self) -> None:
        """Each time of each schedule has one outcome, those of the standstill were missed, and none made up for."""
        for name, pace in PACES.items():
            wait_until(lambda name=name: self._ran(name, self._resumed_at), pace + 30, what=f"{name} again")
            rows = self._rows(name)
            times = [due for row in rows for due in range(row.due, row.last + 1, pace)]
            assert times == list(range(times[0], times[-1] + 1, pace)), f"{name}: each once"
            within = [row for row in rows if self._stopped_at < row.due < self._resumed_at - 1]
            started = [row for row in within if row.run]
            assert len(started) <= 1, f"{name}: no storm; the last one may be started late"
            missed = [row for row in within if row.outcome == "missed"]
            assert sum(row.last - row.due + pace for row in missed) >= STANDSTILL_SECONDS - 3 * pace
            reasons = [re.fullmatch(r"the engine stood still for (\d+) s", row.reason) for row in missed]
            assert all(said and int(said[1]) >= STANDSTILL_SECONDS - pace - 1 for said in reasons), missed
        assert self._starts_at_once() <= len(PACES) + 1

    def _starts_at_once(self) -> int:
        """Return how many runs began in the first second after the standstill."""
        rows = [row for name in PACES for row in self._rows(name)]
        return sum(0 <= (row.began or 0) - self._resumed_at < 1 for row in rows)

    def _ran(self, name: str, since: float = 0) -> bool:
        return any(row.outcome == "ran" and row.due > since for row in self._rows(name))

    def _rows(self, name: str) -> Sequence[Occurrence]:
        """Return the occurrences of a schedule that have an outcome, oldest first."""
        asked = Occurrences(targets=(f"{self._project.name}/{name}",), limit=10_000)
        client = Client(str(self._server.keeper.socket))
        try:
            found = client.occurrences(asked).occurrences
        finally:
            client.close()
        return [row for row in reversed(found) if row.outcome]


@pytest.fixture
def still() -> Iterator[Standstill]:
    """Give a second server with schedules on our engine."""
    with made_server("native") as server:
        server.schedules = "native"
        server.write_config()
        with server.daemon:
            yield Standstill(server)
