"""Node presets without Socket.IO on both backends: a BullMQ worker, and a web server without any package."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.python_apps import redis_server
from tests.e2e.server import APPS, Server, TestProject, on_both
from tests.e2e.worker_life import Queue, check_queue_life, check_web_life
from tests.supervisord import free_port

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(240)]


@pytest.fixture(scope="session")
def bullmq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install BullMQ once; its lock leaves out the native parts that msgpackr can do without."""
    directory = tmp_path_factory.mktemp("bullmq")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(APPS / "bullmq" / name, directory)
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(argv, cwd=directory, check=True, capture_output=True)
    return directory / "node_modules"


@pytest.fixture
def redis(public_tmp: Path) -> Iterator[Path]:
    """Give the socket of a Redis of this test alone; ask for it before the server, whose workers need it to stop."""
    with redis_server(public_tmp) as socket:
        yield socket


def bullmq_project(server: Server, node_modules: Path) -> TestProject:
    """Return a project with the BullMQ application and its packages."""
    project = server.add_project()
    release = project.release(app="bullmq")
    shutil.copytree(node_modules, release / "node_modules", symlinks=True)
    project.own(release)
    return project


@on_both
def test_a_bullmq_worker_works_comes_back_and_stops_after_its_job(
    redis: Path, server: Server, bullmq: Path
) -> None:
    """`queue` finds the file with the worker, and closes it in order."""
    project = bullmq_project(server, bullmq)
    queue = Queue.make(project, ("node", "enqueue.js"), REDIS_SOCKET=str(redis))

    server.ok("setup", project.name, "queue")

    assert 'preset = "bullmq"' in project.project_file().read_text()
    assert "node worker.js" in project.written()[0]
    check_queue_life(queue, "queue")


@on_both
def test_a_node_server_gets_the_flags_and_arguments_of_its_start_script(server: Server) -> None:
    """`node` takes scripts.start apart, so that no npm stands between the backend and the server."""
    project = server.add_project()
    project.release(app="node")
    port = free_port()
    project.declare(f'[workers.web]\npreset = "node"\noptions = {{ port = {port} }}\n')

    server.ok("apply", project.name)

    assert "node --enable-source-maps src/web.js --greeting=hello" in project.written()[0]
    said = check_web_life(project, "web", port)
    assert (said["argv"], said["node_env"]) == (["--greeting=hello"], "production")
