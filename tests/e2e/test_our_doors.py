"""A worker of one project at the doors of shiftboss itself: sockets, keeper, orders, project files. About 20 s."""

import json
from pathlib import Path
from typing import Any

import pytest

from shiftboss.launcher.spool import Spool
from tests.e2e.server import Server, TestProject, on_both
from tests.e2e.test_limits import PYTHON, SLEEPER, pid_of, project_with
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(120)]
LEVELS = ("none", "standard")
# tries everything that stands in its own `doors`, and writes what became of it
PROBE = """
import json, os, socket, time

def attempt(action, *words):
    try:
        return action(*words)
    except Exception as error:
        return type(error).__name__

def connect(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)

def ask(path, call, **args):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(json.dumps({"id": 1, "call": call, "args": args}).encode() + b"\\n")
        return json.loads(connection.makefile().readline())

at = json.load(open("../../doors"))
unit = [at["unit"]]
found = {
    "files": {path: attempt(lambda path: open(path, "rb").read(1), path) for path in at["files"]},
    "directories": {path: attempt(os.listdir, path) for path in at["directories"]},
    "sockets": {path: attempt(connect, path) for path in at["sockets"]},
}
if at["api"]:
    found["api"] = {
        "status": attempt(ask, at["api"], "status"),
        "theirs": attempt(lambda: ask(at["api"], "status", targets=unit)),
        "logs": attempt(lambda: ask(at["api"], "logs", targets=unit)),
        "stop": attempt(lambda: ask(at["api"], "stop", targets=unit)),
        "reload": attempt(ask, at["api"], "reload"),
        "shutdown": attempt(ask, at["api"], "shutdown"),
    }
print("tried", flush=True)
with open("../../found~", "w") as file:
    json.dump(found, file)
os.rename("../../found~", "../../found")
while True: time.sleep(1)
"""


def doors_of(server: Server, victim: TestProject) -> dict[str, Any]:
    """Return what there is to try; the spool is one that a run of cron would leave."""
    state, run = server.directory / "etc/state", server.directory / "etc/run"
    Spool(f"{state}/spool", victim.name, "nightly").add({"at": 1.0})
    daemon = server.daemon.pid
    orders = state / ("manifest" if server.is_native else "launch/supervisor") / f"{victim.name}.json"
    files = [victim.project_file(), orders, state / "spool" / victim.name / "nightly"]
    return {
        "files": [*map(str, files), f"/proc/{daemon}/environ", f"/proc/{daemon}/mem"],
        "directories": [f"/proc/{daemon}/fd", f"/proc/{daemon}/root", str(state / "spool")],
        "sockets": [] if server.is_native else [str(server.supervisord.socket)],
        "api": str(run / "api.sock") if server.is_native else "",
        "unit": f"{victim.name}/held",
    }


def tried(server: Server, hostile: TestProject, level: str) -> dict[str, Any]:
    """Run the probe at a level of isolation, and return what it found."""
    path = hostile.root / "found"
    path.unlink(missing_ok=True)
    probe = ("--name", "probe", "--isolation", level, "--memory", "256M", "--", PYTHON, "probe.py")
    server.ok("setup", hostile.name, "custom", *probe)
    wait_until(path.exists, 30, what="what the probe found")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@on_both
@pytest.mark.parametrize("level", LEVELS)
def test_a_worker_gets_through_none_of_our_doors(server: Server, level: str) -> None:
    victim, hostile = project_with(server, "held.py", SLEEPER), project_with(server, "probe.py", PROBE)
    hostile.own(hostile.root)
    held = ("--name", "held", "--memory", "256M", "--", PYTHON, "held.py", "the-secret-argument")
    server.ok("setup", victim.name, "custom", *held)
    pid = pid_of(server, f"{victim.name}/held")
    doors = doors_of(server, victim)
    (hostile.root / "doors").write_text(json.dumps(doors))

    found = tried(server, hostile, level)

    assert all(Path(path).exists() for path in (*doors["files"], *doors["directories"], *doors["sockets"]))
    denied = "PermissionError"
    own = {path: denied for path in doors["files"] if not path.startswith("/proc")}
    assert found["files"].items() >= own.items()
    hidden = denied if level == "none" else "FileNotFoundError"
    assert {found["files"][path] for path in doors["files"] if path not in own} == {hidden}
    *processes, spool = (found["directories"][path] for path in doors["directories"])
    assert (set(processes), spool) == ({hidden}, denied)
    assert set(found["sockets"].values()) <= {denied}
    if server.is_native:
        assert_nothing_is_given_away(found["api"], hostile, victim)
    assert pid_of(server, f"{victim.name}/held") == pid


def assert_nothing_is_given_away(api: dict[str, Any], hostile: TestProject, victim: TestProject) -> None:
    assert [project["name"] for project in api["status"]["reply"]["projects"]] == [hostile.name]
    assert victim.name not in json.dumps(api["status"])
    stranger = {call: api[call]["error"] for call in ("theirs", "logs", "stop")}
    assert all(error["kind"] in ("user", "denied") for error in stranger.values()), stranger
    assert {api[call]["error"]["kind"] for call in ("reload", "shutdown")} == {"denied"}
