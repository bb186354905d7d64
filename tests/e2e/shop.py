"""A server in use, for all tests that must not change it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.server import Server, TestProject, made_server

# for tests of the fixture `shop`; without it, the shop is on Supervisor
shop_on_both = pytest.mark.parametrize("shop", ["supervisor", "native"], indirect=True)


@dataclass
class Shop:
    """`good` has a running worker `steady`, `bare` no release, `lost` no user, `filed` no project file.

    `laravel` and `node` have such an application and no project file.
    """

    server: Server
    good: TestProject
    bare: TestProject
    lost: TestProject
    filed: TestProject
    laravel: TestProject
    node: TestProject

    def named(self, words: tuple[str, ...]) -> list[str]:
        """Return words with the names of the projects filled in: `{good}`."""
        names = {name: value.name for name, value in vars(self).items() if isinstance(value, TestProject)}
        return [word.format_map(names) for word in words]


@contextmanager
def opened_shop(backend: str) -> Iterator[Shop]:
    """Make such a server with this backend; stop and remove it afterwards."""
    with made_server(backend) as server, server.daemon:
        yield _furnished(server)


def _furnished(server: Server) -> Shop:
    shop = Shop(server, *(server.add_project(user=number != 2) for number in range(6)))
    shop.good.release()
    shop.filed.release()
    (shop.lost.root / "releases" / "1").mkdir(parents=True)
    shop.lost.switch(1)
    shop.laravel.release(app="laravel")
    shop.node.release(app="socketio")
    server.ok("setup", shop.good.name, "custom", "--name", "steady", "--", "sleep", "1000")
    return shop
