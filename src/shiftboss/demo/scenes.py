"""What the demo shows by itself: the button, a killed worker, a new release. Each is seen, or the demo fails."""

import json
import os
import shlex
import signal
import subprocess
import time
import urllib.request
from typing import Any

from shiftboss.demo.running import START_SECONDS, Server

EMAILS = 1000
WORK_SECONDS = 120
_COMMAND_SECONDS = 120


def wait_until_it_runs(server: Server) -> None:
    """Wait for the page and for every worker process."""
    server.wait_for(lambda: progress(server), START_SECONDS, "the page")
    server.wait_for(lambda: all_run(server), START_SECONDS, "all worker processes RUNNING")


def show(server: Server) -> None:
    """Go through all scenes; raise HostError where one does not end as it should."""
    say("what runs")
    shiftboss(server, "status")

    say("the button: 1000 e-mails, and the page answers at once")
    print(f"$ curl -X POST {server.stage.page}/send")
    began = time.monotonic()
    print(f"answered after {1000 * press(server):.0f} ms")
    server.wait_for(lambda: sent(server) >= EMAILS // 5, WORK_SECONDS, "the first 200 e-mails")

    say("a worker process dies while it works")
    kill_a_worker(server)
    server.wait_for(lambda: sent(server) == EMAILS, WORK_SECONDS, f"{EMAILS} e-mails in the outbox")
    print(
        f"all {EMAILS} e-mails are in the outbox, none lost, {time.monotonic() - began:.1f} s after the button was pressed"
    )
    shiftboss(server, "status")
    shiftboss(server, "history", "newsletter/queue")

    say("a schedule: each of its times is accounted for, and it can be run by hand")
    shiftboss(server, "run", "newsletter/report")
    shiftboss(server, "why", "newsletter/report")

    say("a new release")
    deploy(server, "2")
    shiftboss(server, "restart", "newsletter")
    server.wait_for(lambda: release(server) == "2", START_SECONDS, "the page of release 2")
    print("the page is that of release 2")


def press(server: Server) -> float:
    """Press the button of the page; return the seconds until its answer."""
    began = time.monotonic()
    request = urllib.request.Request(f"{server.stage.page}/send", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    return time.monotonic() - began


def kill_a_worker(server: Server) -> None:
    """Kill the first queue process the hard way, and wait for the one in its place."""
    old = pids(server)[0]
    print(f"$ kill -9 {old}")
    began = time.monotonic()
    os.kill(old, signal.SIGKILL)

    def replacement() -> int:
        first = pids(server)[0]
        return first if first not in (0, old) else 0

    new = server.wait_for(replacement, START_SECONDS, "a new process in the place of the killed one")
    print(f"it was started again: pid {old} -> {new}, seen after {time.monotonic() - began:.1f} s")


def deploy(server: Server, number: str) -> None:
    """Make another release the live one, as a deploy tool does it."""
    root = server.stage.root
    print(f"$ ln -s releases/{number} next && mv -T next current", flush=True)
    (root / "next").symlink_to(f"releases/{number}")
    (root / "next").rename(root / "current")


def sent(server: Server) -> int:
    """Return how many e-mails are in the outbox."""
    return sum(1 for _ in server.stage.outbox.glob("[0-9]*.eml"))


def progress(server: Server) -> dict[str, Any]:
    """Return what the page tells; nothing if it does not answer."""
    try:
        with urllib.request.urlopen(f"{server.stage.page}/progress", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def release(server: Server) -> str:
    """Return the release that the page belongs to."""
    return str(progress(server).get("release"))


def all_run(server: Server) -> bool:
    """Say whether every process of the project is RUNNING."""
    return all(process["state"] == "RUNNING" for worker in workers(server) for process in worker["processes"])


def pids(server: Server, name: str = "queue") -> list[int]:
    """Return the processes of a worker, 0 for one that does not run at the moment."""
    (worker,) = (worker for worker in workers(server) if worker["name"] == name)
    return [int(process["pid"] or 0) for process in worker["processes"]]


def workers(server: Server) -> list[dict[str, Any]]:
    """Return the workers of the project as `status --json` tells them."""
    argv = [str(server.stage.program), "status", "newsletter", "--json"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_COMMAND_SECONDS)
    try:
        found: list[dict[str, Any]] = json.loads(ended.stdout)["projects"][0]["workers"]
    except (ValueError, LookupError):
        raise server.failure(f"shiftboss status says: {ended.stdout}{ended.stderr}".strip()) from None
    return found


def shiftboss(server: Server, *arguments: str) -> None:
    """Run and show a command of shiftboss; raise HostError if it fails."""
    print(f"$ {shlex.join(['shiftboss', *arguments])}", flush=True)
    argv = [str(server.stage.program), *arguments]
    status = subprocess.run(argv, check=False, timeout=_COMMAND_SECONDS).returncode
    if status:
        raise server.failure(f"shiftboss {arguments[0]} ended with exit status {status}")


def say(text: str) -> None:
    """Print the heading of a scene."""
    import click

    click.secho(f"\n== {text}", bold=True, color=False if os.environ.get("NO_COLOR") else None)
