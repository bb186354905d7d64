"""Who listens on a port, as the kernel tells it: the sockets are our own."""

import os
import pwd
import socket

import pytest

from shiftboss.engine.listeners import listener_of

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_our_own_socket_is_found_with_process_user_and_command(family: int, host: str) -> None:
    with socket.create_server((host, 0), family=family) as server:
        found = listener_of(server.getsockname()[1], {})
    assert found.startswith(f"pid {os.getpid()} of {ME} (")
    assert "python" in found


def test_a_user_that_is_known_is_called_by_the_name_we_know() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert f" of our-name for {ME} (" in listener_of(
            server.getsockname()[1], {os.geteuid(): f"our-name for {ME}"}
        )


def test_nobody_is_named_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but it does not listen
        assert listener_of(bound.getsockname()[1], {}) == ""
