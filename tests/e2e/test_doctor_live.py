"""`shiftboss doctor` on a live server of our own engine: nothing where nothing is wrong, and what is wrong by name."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.server import Server, TestProject, on_native
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, on_native]

WORKER = '[workers.queue]\ncommand = "sleep 1000"\nstart_seconds = 1\n'


@pytest.fixture
def shop(server: Server) -> TestProject:
    project = server.add_project()
    project.release()
    project.declare(WORKER)
    server.ok("apply")
    return project


def findings(server: Server) -> dict[str, dict[str, str]]:
    """Return what is wrong with shiftboss itself and its files, by code; the machine's cron is not ours here."""
    found = json.loads(server.run("doctor", "--json").stdout)["findings"]
    return {f["code"]: f for f in found if f["target"] == "shiftboss"}


def test_nothing_is_wrong_with_a_server_that_works(server: Server, shop: TestProject) -> None:
    assert findings(server) == {}


@pytest.mark.parametrize("what", ["manifest directory", "manifest", "project file"])
def test_what_others_may_write_and_so_decide_is_found_and_the_mend_mends_it(
    server: Server, shop: TestProject, what: str
) -> None:
    manifests = server.keeper.manifests
    path: Path = {
        "manifest directory": manifests,
        "manifest": manifests / f"{shop.name}.json",
        "project file": shop.project_file(),
    }[what]
    before = path.stat().st_mode
    path.chmod(before | 0o002)

    found = findings(server)["own-open"]

    assert str(path) in found["message"]
    assert found["level"] == "problem"
    assert server.run("doctor").status == 1
    subprocess.run(shlex.split(found["mend"]), check=True)
    assert findings(server) == {}


def test_a_project_file_with_variables_that_everybody_may_read_is_found(
    server: Server, shop: TestProject
) -> None:
    path = shop.project_file()
    path.chmod(0o644)
    assert findings(server) == {}, "nothing in it is a secret"
    path.write_text(path.read_text() + 'environment = { TOKEN = "x" }\n')
    server.ok("apply", shop.name)
    assert path.stat().st_mode & 0o777 == 0o644, "whoever chose that may have a reason"

    found = findings(server)["own-secret"]

    assert found["message"] == f"everybody may read {path}, which holds variables of programs"
    subprocess.run(shlex.split(found["mend"]), check=True)
    assert findings(server) == {}


def test_a_manifest_of_somebody_else_is_found(server: Server, shop: TestProject) -> None:
    manifest = server.keeper.manifests / f"{shop.name}.json"
    os.chown(manifest, 8, -1)
    found = findings(server)["own-owner"]
    assert f"{manifest} belongs to uid 8" in found["message"]
    subprocess.run(shlex.split(found["mend"]), check=True)
    assert findings(server) == {}


def test_what_the_engine_itself_complains_about_is_told(server: Server, shop: TestProject) -> None:
    """A manifest that cannot be read: the engine goes on with what it had, and says so."""
    broken = server.keeper.manifests / "broken.json"
    broken.write_text("{")
    broken.chmod(0o600)
    other = server.add_project()
    other.release()
    other.declare(WORKER)
    server.run("apply", other.name)  # the engine reads its manifest again

    wait_until(lambda: "engine-trouble" in findings(server), 20, what="the trouble", interval=0.2)

    assert "broken.json" in findings(server)["engine-trouble"]["message"]


def test_an_engine_that_does_not_answer_is_found(server: Server, shop: TestProject) -> None:
    config = server.config.read_text()
    server.config.write_text(f'{config}\n[paths]\nrun = "{server.directory}/elsewhere"\n')
    found = findings(server)["engine-down"]
    assert f"there is no socket {server.directory}/elsewhere/api.sock" in found["message"]
    assert found["mend"].startswith("shiftboss ")
