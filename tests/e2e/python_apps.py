"""What the Python applications run on: one virtualenv that every user may enter, and a Redis of their own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.public_copy import PYTHON
from tests.waiting import wait_until

_LOCK = Path(__file__).parents[2] / "requirements" / "e2e.lock"


@contextmanager
def python_environment() -> Iterator[Path]:
    """Make a virtualenv with exactly the packages of requirements/e2e.lock; give its directory."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp"))
    directory.chmod(0o755)
    venv = directory / "venv"
    try:
        # its Python must be one that every user may execute; pip is the one of these tests
        _run(PYTHON, "-m", "venv", "--without-pip", str(venv))
        pip = (sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python3"))
        _run(*pip, "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(_LOCK))
        yield venv
    finally:
        shutil.rmtree(directory)


def _run(*argv: str) -> None:
    old_umask = os.umask(0o022)
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    finally:
        os.umask(old_umask)
    assert ended.returncode == 0, f"{argv}: {ended.stdout}{ended.stderr}"


@contextmanager
def redis_server(directory: Path) -> Iterator[Path]:
    """Run a real Redis in a directory, on a unix socket that every user may use; give the socket."""
    socket = directory / "redis.sock"
    argv = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "777"]
    argv += ["--save", "", "--appendonly", "no", "--dir", str(directory)]
    with (directory / "redis.out").open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: ask_redis(socket, "PING") == "PONG", 20, what="Redis")
        yield socket
    finally:
        process.terminate()
        process.wait(20)


def ask_redis(socket: Path, *words: str) -> str:
    """Return what Redis says to a command; nothing if it does not answer."""
    argv = ["redis-cli", "-s", str(socket), *words]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else ""
