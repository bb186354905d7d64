"""Our own engine, asked while it is being exchanged."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from shiftboss.api import calls
from shiftboss.api.client import HungUpError
from shiftboss.host.native_engine import NativeEngine
from shiftboss.version import VERSION


def hang_up(peer: socket.socket) -> None:
    """End as an engine does that has read a request."""
    peer.recv(4096)
    peer.close()


def reset(peer: socket.socket) -> None:
    """End as an engine does that has not read what was asked."""
    peer.recv(1)
    peer.close()


def answer(peer: socket.socket) -> None:
    """Tell that nothing runs."""
    peer.recv(4096)
    status = calls.Status(version=VERSION, projects=(), troubles=("tired",))
    peer.sendall(b'{"id":1,"reply":' + msgspec.json.encode(status) + b"}\n")
    peer.close()


def engines(path: Path, *each: Callable[[socket.socket], None]) -> threading.Thread:
    """Answer one connection after the other, and then nobody."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        for deed in each:
            deed(listening.accept()[0])
        path.unlink()
        listening.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize("end", [hang_up, reset])
def test_a_look_while_another_engine_takes_over_is_answered_by_that(
    tmp_path: Path, end: Callable[[socket.socket], None]
) -> None:
    thread = engines(tmp_path / "s", end, answer)
    facts = NativeEngine(str(tmp_path / "s")).facts()
    thread.join(10)
    assert facts is not None
    assert facts.troubles == ("tired",)


@pytest.mark.parametrize("end", [hang_up, reset])
def test_what_hangs_up_each_time_is_told(tmp_path: Path, end: Callable[[socket.socket], None]) -> None:
    thread = engines(tmp_path / "s", end, end)
    with pytest.raises(HungUpError, match="hung up"):
        NativeEngine(str(tmp_path / "s")).schedules()
    thread.join(10)


def test_a_change_is_asked_for_once(tmp_path: Path) -> None:
    thread = engines(tmp_path / "s", hang_up)
    with pytest.raises(HungUpError):
        NativeEngine(str(tmp_path / "s")).restart("shop")
    thread.join(10)
    assert not thread.is_alive()
