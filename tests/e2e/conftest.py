"""A whole server for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server


@pytest.fixture
def server(public_tmp: Path) -> Iterator[Server]:
    """Give a server with a running Supervisor and no project; stop and remove everything afterwards."""
    made = Server.make(public_tmp)
    try:
        with made.supervisord:
            yield made
    finally:
        made.close()
