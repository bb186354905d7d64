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
def server(request: pytest.FixtureRequest, public_tmp: Path) -> Iterator[Server]:
    """Give a server without a project, whose backend runs; stop and remove everything afterwards.

    The backend is Supervisor, if a test does not ask otherwise (`on_both`, `on_native`).
    """
    made = Server.make(public_tmp, getattr(request, "param", "supervisor"))
    try:
        with made.daemon:
            yield made
    finally:
        made.close()


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    """Give one server in use to all tests that must not change it; the backend as in `server` (`shop_on_both`)."""
    found = request.getfixturevalue(f"{getattr(request, 'param', 'supervisor')}_shop")
    assert isinstance(found, Shop)
    return found


@pytest.fixture(scope="session")
def supervisor_shop() -> Iterator[Shop]:
    """Give the shop on Supervisor."""
    with opened_shop("supervisor") as made:
        yield made


@pytest.fixture(scope="session")
def native_shop() -> Iterator[Shop]:
    """Give the shop on our own engine."""
    with opened_shop("native") as made:
        yield made


@pytest.fixture(scope="session")
def public_copy() -> Iterator[Path]:
    """Give a directory with a copy of shiftboss that every user may run."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp"))
    directory.chmod(0o755)
    make_public_copy(directory)
    yield directory
    shutil.rmtree(directory)
