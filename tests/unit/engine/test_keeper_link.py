"""The engine's end of the socket to the keeper, with a test at the other end."""

import socket
from collections.abc import Callable, Iterator

import pytest

from shiftboss.core.wire import codec, messages
from shiftboss.engine.keeper_link import KeeperLink


class Watched:
    """An event loop that is turned by hand."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], object]] = {}

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int, /) -> None:
        self.readers.pop(fd, None)

    def add_writer(self, fd: int, callback: Callable[[], object], /) -> None:
        raise AssertionError("the test reads at once")

    def remove_writer(self, fd: int, /) -> None:
        pass

    def turn(self) -> None:
        for callback in list(self.readers.values()):
            callback()


class Ends:
    """Both ends, and what the engine heard."""

    def __init__(self) -> None:
        self.keeper, engine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.heard: list[object] = []
        self.loop = Watched()
        self.link = KeeperLink(
            engine,
            self.loop,
            lambda report, _: self.heard.append(report),
            lambda: self.heard.append("lost"),
            lambda: self.heard.append("missed"),
        )


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.link.close()
    made.keeper.close()


def test_what_the_keeper_said_last_is_heard_although_it_left_a_request_unread(ends: Ends) -> None:
    """The kernel answers a read with ECONNRESET then, before it hands over what waits (unix(7))."""
    ends.link.send(messages.Sync())
    ends.keeper.send(codec.encode(messages.Stopping()))
    ends.keeper.close()
    ends.loop.turn()
    assert ends.heard == [messages.Stopping(), "lost"]


def test_the_end_of_the_keeper_is_told_once_and_nothing_is_sent_after_it(ends: Ends) -> None:
    ends.keeper.close()
    ends.loop.turn()
    ends.loop.turn()
    ends.link.send(messages.Sync())
    assert ends.heard == ["lost"]


def test_what_is_not_understood_is_passed_over(ends: Ends) -> None:
    ends.keeper.send(b'{"type": "of a later version"}')
    ends.keeper.send(codec.encode(messages.Synced()))
    ends.loop.turn()
    assert ends.heard == [messages.Synced()]
