"""examples/: each runs on the native backend as its README says, through kills, deploys and restarts."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.laravel import outbox, queue_mail, status
from tests.e2e.native_server import NativeServer, give_project_file
from tests.e2e.server import TestProject
from tests.e2e.test_socketio import client, is_free, staying_client
from tests.supervisord import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def server(public_tmp: Path) -> Iterator[NativeServer]:
    """Give a server on the native backend, with no project."""
    made = NativeServer.prepared(public_tmp)
    try:
        with made.up():
            yield made
    finally:
        made.close()


def deploy(project: TestProject, example: str, release: int) -> None:
    """Deploy an example by its own script."""
    argv = ["sh", str(EXAMPLES / example / "deploy.sh"), str(project.root), project.user, str(release)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def pids(server: NativeServer, project: TestProject) -> dict[int, int]:
    """Return the pid of each process that is RUNNING."""
    running = [one for one in status(server, project) if one["state"] == "RUNNING"]
    return {int(str(one["process"])): int(str(one["pid"])) for one in running}


def test_a_laravel_queue(server: NativeServer) -> None:
    shop = server.add_project()
    deploy(shop, "laravel", 1)
    give_project_file(shop, EXAMPLES / "laravel/shop.toml")
    server.ok("apply", shop.name)

    queue_mail(shop, "job", seconds=0.3, count=20)
    wait_until(lambda: len(outbox(shop)) == 20, 60, what="20 jobs")
    before = pids(server, shop)
    workers = {line for mail in outbox(shop) for line in mail.read_text().splitlines() if "X-Pid" in line}
    assert workers == {f"X-Pid: {pid}" for pid in before.values()}, "both worked"
    assert {mail.owner() for mail in outbox(shop)} == {shop.user}

    os.kill(before[1], signal.SIGKILL)
    wait_until(lambda: pids(server, shop).get(1, before[1]) != before[1], 20, what="the replacement")
    assert pids(server, shop)[2] == before[2], "the other one was left alone"
    queue_mail(shop, "after")
    wait_until(lambda: outbox(shop, "after.eml"), 30, what="a job after the kill")

    deploy(shop, "laravel", 2)
    assert [one["stale"] for one in status(server, shop)] == [True, True]
    queue_mail(shop, "long", seconds=3)
    wait_until(lambda: outbox(shop, "long.started"), 30, what="the start of a long job")
    server.ok("restart", shop.name)
    assert outbox(shop, "long.eml"), "the restart did not wait for the job in hand"
    assert len(outbox(shop, "*.started")) == 22, "a job was done twice, or not at all"
    places = {os.readlink(f"/proc/{pid}/cwd") for pid in pids(server, shop).values()}
    assert places == {str(shop.root / "releases/2")}


def test_a_socket_io_chat(server: NativeServer) -> None:
    chat, port = server.add_project(), free_port()
    deploy(chat, "node-chat", 1)
    give_project_file(chat, EXAMPLES / "node-chat/chat.toml", **{"3000": str(port)})
    server.ok("apply", chat.name)

    assert client(chat, port)["chat"] is True
    before = pids(server, chat)[1]
    with staying_client(chat, port) as connected_again:
        os.kill(before, signal.SIGKILL)
        wait_until(connected_again.exists, 40, what="the client to connect again by itself")
    wait_until(lambda: pids(server, chat).get(1, before) != before, 20, what="RUNNING again")

    deploy(chat, "node-chat", 2)
    with working_client(chat, port, milliseconds=2500) as working:
        wait_until(lambda: in_hand(port) == 1, 20, what="work in hand")
        began = time.monotonic()
        server.ok("restart", chat.name)
        seen = json.loads(working.communicate(timeout=30)[0])
    assert time.monotonic() - began > 1
    assert (seen["work"], seen["shutdown"]) == (True, True), "the restart cut off what was in hand"
    (new,) = pids(server, chat).values()
    assert os.readlink(f"/proc/{new}/cwd") == str(chat.root / "releases/2")
    assert client(chat, port)["chat"] is True

    server.ok("stop", chat.name)
    assert is_free(port)


def working_client(
    chat: TestProject, port: int, *, milliseconds: int
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Start the application's own client, which waits for something slow."""
    argv = ["setpriv", f"--reuid={chat.user}", f"--regid={chat.user}", "--init-groups", "--"]
    argv += ["node", "client.js", f"http://127.0.0.1:{port}", str(milliseconds)]
    return subprocess.Popen(argv, cwd=chat.current, stdout=subprocess.PIPE, text=True)


def in_hand(port: int) -> int:
    """Return how much work the chat says that it has in hand."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return int(json.load(answer)["inHand"])
