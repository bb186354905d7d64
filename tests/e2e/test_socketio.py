"""A real Socket.IO server and client: stays up, comes back after a kill, leaves its port free."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.laravel import status
from tests.e2e.server import APPS, Server, TestProject, on_both, on_native
from tests.supervisord import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the packages of the application once."""
    directory = tmp_path_factory.mktemp("socketio")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(APPS / "socketio" / name, directory)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=directory, check=True, capture_output=True)
    return directory / "node_modules"


@pytest.fixture
def project(server: Server, node_modules: Path) -> TestProject:
    """Give a project with the Socket.IO application on a free port."""
    made = server.add_project()
    release = made.release(app="socketio")
    shutil.copytree(node_modules, release / "node_modules", symlinks=True)
    made.own(release)
    return made


@on_both
def test_server_js_serves_survives_a_kill_and_frees_its_port(server: Server, project: TestProject) -> None:
    port = free_port()
    made = server.ok("project", "add", project.name)
    assert "registered" in made.stdout
    path = project.project_file()
    path.write_text(path.read_text() + f'\n[project.environment]\nPORT = "{port}"\n')
    server.ok("setup", project.name, "node")
    process = status(server, project)[0]
    assert b"server.js" in Path(f"/proc/{process['pid']}/cmdline").read_bytes()

    assert client(project, port)["chat"] is True
    with staying_client(project, port) as reconnected:
        os.kill(int(str(process["pid"])), signal.SIGKILL)
        wait_until(lambda: reconnected.exists(), 40, what="the client to reconnect by itself")
    wait_until(lambda: status(server, project)[0]["state"] == "RUNNING", 20, what="RUNNING again")

    server.ok("stop", project.name)
    assert is_free(port)


@on_both
def test_npm_start_leaves_nothing_behind_when_it_is_stopped(server: Server, project: TestProject) -> None:
    port = free_port()
    package = json.loads((project.current / "package.json").read_text())
    package["scripts"] = {"prestart": "node --version", "start": "NODE_ENV=production node server.js"}
    project.write(project.current.resolve(), "package.json", json.dumps(package))
    server.ok("project", "add", project.name)
    path = project.project_file()
    path.write_text(path.read_text() + f'\n[project.environment]\nPORT = "{port}"\n')

    server.ok("setup", project.name, "npm-start")
    assert client(project, port)["chat"] is True
    top = int(str(status(server, project)[0]["pid"]))
    family = [top, *children(top)]
    assert len(family) > 1, "npm and the node that it started"

    server.ok("stop", project.name)
    wait_until(lambda: is_free(port), 20, what="the port to be free")
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family), 20, what="their end")


@on_native
def test_npm_that_is_killed_leaves_nothing_behind_and_comes_back(
    server: Server, project: TestProject
) -> None:
    """Supervisor knows nothing of the node that npm started: it would live on, and hold the port."""
    port = free_port()
    package = json.loads((project.current / "package.json").read_text())
    package["scripts"] = {"prestart": "node --version", "start": "NODE_ENV=production node server.js"}
    project.write(project.current.resolve(), "package.json", json.dumps(package))
    project.declare(f'[project.environment]\nPORT = "{port}"\n')
    server.ok("setup", project.name, "npm-start")
    assert client(project, port)["chat"] is True
    top = int(str(status(server, project)[0]["pid"]))
    family = [top, *children(top)]
    assert len(family) > 1, "npm and the node that it started"

    os.kill(top, signal.SIGKILL)

    wait_until(lambda: status(server, project)[0]["pid"] not in {None, top}, 20, what="another npm")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in family), "the new one started beside the old one"
    wait_until(lambda: status(server, project)[0]["state"] == "RUNNING", 40, what="RUNNING again")
    wait_until(lambda: not is_free(port), 20, what="the port to be taken again")
    assert client(project, port)["chat"] is True


@on_both
def test_a_plain_npm_start_becomes_node(server: Server, project: TestProject) -> None:
    """`npm start` that is simply `node server.js` runs node itself."""
    plan = server.ok("setup", project.name, "npm-start", "--dry-run")

    words = re.sub(r'",\n\+ *"', " ", plan.stdout)  # the manifest has a line for each
    assert "node server.js" in words
    assert "npm run" not in plan.stdout


@on_both
def test_a_taken_port_is_reported_with_its_owner(server: Server, project: TestProject) -> None:
    server.ok("project", "add", project.name)
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = project.project_file()
        path.write_text(path.read_text() + f'\n[project.environment]\nPORT = "{port}"\n')

        answer = server.run("setup", project.name, "node")

    assert answer.status == 1, answer
    assert f"port {port} is taken by pid {os.getpid()} of root" in answer.stderr


def client(project: TestProject, port: int) -> dict[str, object]:
    """Run the application's own client once; return what it saw."""
    ended = project.as_user("node", "client.js", f"http://127.0.0.1:{port}")
    seen: dict[str, object] = json.loads(ended.stdout)
    return seen


_STAYING = """
const { io } = require('socket.io-client');
const fs = require('fs');
const socket = io(process.argv[2], { reconnectionDelay: 100, reconnectionDelayMax: 300 });
let times = 0;
socket.on('connect', () => fs.writeFileSync(process.argv[3] + '/connected' + (++times), ''));
"""


@contextmanager
def staying_client(project: TestProject, port: int) -> Iterator[Path]:
    """Run a client that stays and reconnects; give the file that appears when it has done so."""
    script = project.write(project.current.resolve(), "staying.js", _STAYING)
    marks = project.root / "marks"
    marks.mkdir()
    project.own(marks)
    argv = ["setpriv", f"--reuid={project.user}", f"--regid={project.user}", "--init-groups", "--"]
    argv += ["node", str(script), f"http://127.0.0.1:{port}", str(marks)]
    process = subprocess.Popen(argv, cwd=project.current)
    try:
        wait_until(lambda: (marks / "connected1").exists(), 20, what="the client")
        yield marks / "connected2"
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """Return everything below a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, listed) for found in (child, *children(child))]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
