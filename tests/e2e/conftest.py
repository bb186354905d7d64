"""A whole server for each test that asks for one."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.public_copy import make_public_copy
from tests.e2e.server import Server
from tests.e2e.shop import Shop, opened_shop


@pytest.fixture
def server(public_tmp: Path) -> Iterator[Server]:
    """Give a server with a running Supervisor and no project; stop and remove everything afterwards."""
    made = Server.make(public_tmp)
    try:
        with made.supervisord:
            yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """Give one server in use to all tests that must not change it."""
    with opened_shop() as made:
        yield made


@pytest.fixture(scope="session")
def public_copy() -> Iterator[Path]:
    """Give a directory with a copy of shiftboss that every user may run."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp"))
    directory.chmod(0o755)
    make_public_copy(directory)
    yield directory
    shutil.rmtree(directory)
