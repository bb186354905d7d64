"""The life of a worker that every preset has to master: a job, a kill, a stop in the middle of a job."""

import json
import os
import pwd
import re
import signal
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.e2e.laravel import status
from tests.e2e.server import TestProject
from tests.waiting import wait_until

_JOB_SECONDS = 2.0
_ASKED = ["uids", "cwd", "status", "cmdline"]


@dataclass
class Queue:
    """A project whose application takes jobs: `enqueue NAME SECONDS` is its own program that puts one there.

    A job leaves the files NAME.started and NAME.done in the directory that MARKS names.
    """

    project: TestProject
    enqueue: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def make(cls, project: TestProject, enqueue: tuple[str, ...], **environment: str) -> "Queue":
        """Make the directory for the marks, and declare the environment in the project file."""
        marks = project.root / "marks"
        marks.mkdir()
        project.own(marks)
        queue = cls(project, enqueue, {**environment, "MARKS": str(marks)})
        project.declare(environment_table(queue.environment))
        return queue

    def put(self, name: str, seconds: float = 0) -> None:
        """Put a job on the queue, as the web part of the application would."""
        variables = (f"{key}={value}" for key, value in self.environment.items())
        self.project.as_user("env", *variables, *self.enqueue, name, str(seconds))

    def mark(self, name: str) -> Path:
        return Path(self.environment["MARKS"]) / name

    def wait(self, name: str) -> None:
        """Wait for a mark such as `mail.done`."""
        wait_until(self.mark(name).exists, 40, what=f"{name}; the log: {self.project.log('queue')[-2000:]}")


@dataclass
class Answer:
    """What an application answered to a request that was made in the background; `said` stays empty if it did not."""

    port: int
    seconds: float
    said: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self.said = ask(self.port, self.seconds)
        except OSError as error:
            self.said = {"error": str(error)}

    def wait(self) -> dict[str, object]:
        """Return it when it is there."""
        self._thread.join(30)
        return self.said


def environment_table(variables: dict[str, str]) -> str:
    """Return variables as a part of a project file."""
    return "[project.environment]\n" + "".join(f'{key} = "{value}"\n' for key, value in variables.items())


def ask(port: int, seconds: float = 0) -> dict[str, object]:
    """Ask an application for its answer, which it gives after so many seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?seconds={seconds}", timeout=30) as answer:
        said: dict[str, object] = json.loads(answer.read())
    return said


def check_queue_life(queue: Queue, worker: str, *, orphans: bool = False) -> None:
    """Check that a running worker works as the project's user, comes back, and finishes its job before it stops.

    `orphans`: as `check_return`.
    """
    queue.put("first")
    queue.wait("first.done")
    assert queue.mark("first.done").owner() == queue.project.user

    check_return(queue.project, worker, orphans=orphans)
    queue.put("second")
    queue.wait("second.done")

    queue.put("long", _JOB_SECONDS)
    queue.wait("long.started")
    check_stop(queue.project, worker)
    assert queue.mark("long.done").exists(), "it stopped in the middle of the job"


def check_web_life(project: TestProject, worker: str, port: int) -> dict[str, object]:
    """Check the same for a web server on a port that logs `working N s`; return its first answer."""
    first = wait_until(lambda: answers(port), 20, what="the first answer")
    assert first["uid"] == uid_of(project)

    check_return(project, worker)
    wait_until(lambda: answers(port), 20, what=f"an answer after the kill; the log: {project.log(worker)}")

    asked = Answer(port, _JOB_SECONDS)
    wait_until(lambda: f"working {_JOB_SECONDS} s" in project.log(worker), 20, what="the request to arrive")
    check_stop(project, worker)
    assert asked.wait().get("uid") == uid_of(project), f"the request in flight got {asked.said}"
    assert not answers(port), "something still listens"
    return first


def answers(port: int) -> dict[str, object]:
    """Return what an application says, nothing if it does not answer."""
    try:
        return ask(port)
    except OSError:
        return {}


def check_return(project: TestProject, worker: str, *, orphans: bool = False) -> None:
    """Kill the main process of a worker; check that another one runs, and that nothing is left of the first.

    `orphans`: its children are known to live on at Supervisor, and are ended here as an administrator would.
    On our own engine nothing of a process outlives it.
    """
    old = main_pid(project)
    family = processes_of(project)
    assert old in family, "it runs as the project's user"
    try:
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: main_pid(project) not in {0, old}, 30, what="another process")
        wait_until(lambda: is_running(project), 30, what=f"RUNNING; the log: {project.log(worker)}")
        if orphans and not project.server.is_native:
            send(signal.SIGTERM, left_of(family, project))
        wait_until(lambda: not left_of(family, project), 30, what=f"the end of the first: {family}")
    finally:
        send(signal.SIGKILL, left_of(family, project))


def send(number: signal.Signals, pids: list[int]) -> None:
    """Send a signal to processes of a test."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def left_of(family: dict[int, str], project: TestProject) -> list[int]:
    """Return which of some processes still live."""
    return [pid for pid in processes_of(project) if pid in family]


def check_stop(project: TestProject, worker: str) -> None:
    """Stop a worker; check that it ended in time and by itself, with everything that it started."""
    began = time.monotonic()
    project.server.ok("stop", f"{project.name}/{worker}")
    took = time.monotonic() - began

    assert set(project.states().values()) == {"STOPPED"}
    assert processes_of(project) == {}
    assert took < stop_wait(project, worker)
    assert not killed(project, worker), "it had to be killed"


def killed(project: TestProject, worker: str) -> str:
    """Return what the backend says about a worker that it killed because it did not end in time."""
    if project.server.is_native:
        rows = json.loads(project.server.ok("history", f"{project.name}/{worker}", "--json").stdout)
        return "\n".join(
            row["reason"] for row in rows if row["kind"] == "exit" and "in time" in row["reason"]
        )
    lines = (
        project.server.supervisord.output().splitlines()
    )  # a kill of the test says SIGKILL too, but not "killing"
    return "\n".join(
        line
        for line in lines
        if "killing" in line and "SIGKILL" in line and f"{project.name}_{worker}" in line
    )


def stop_wait(project: TestProject, worker: str) -> int:
    """Return the seconds after which the backend would kill a worker."""
    if project.server.is_native:
        return int(project.server.keeper.entry(f"{project.name}/{worker}")["stop"]["wait_seconds"])
    written = (project.server.supervisord.conf_dir / f"{project.name}_{worker}.conf").read_text()
    found = re.search(r"(?m)^stopwaitsecs *= *(\d+)$", written)
    assert found, written
    return int(found[1])


def main_pid(project: TestProject) -> int:
    """Return the process that the backend started, 0 while there is none."""
    return int(str(status(project.server, project)[0]["pid"] or 0))


def is_running(project: TestProject) -> bool:
    return status(project.server, project)[0]["state"] == "RUNNING"


def uid_of(project: TestProject) -> int:
    return pwd.getpwnam(project.user).pw_uid


def processes_of(project: TestProject) -> dict[int, str]:
    """Return every living process of a project, and its command: it runs as its user, and in its directory.

    A user alone does not tell it: the number of a removed user is given to the next one.
    """
    uid, root = uid_of(project), str(project.root)
    living = (process.info | {"pid": process.pid} for process in psutil.process_iter(_ASKED))
    return {
        one["pid"]: " ".join(one["cmdline"] or ())
        for one in living
        if one["uids"].real == uid
        and str(one["cwd"]).startswith(root)
        and one["status"] != psutil.STATUS_ZOMBIE
    }
