"""An engine that does nothing itself: it hands its socket to the keeper to the test, and lives until told.

Usage: keeper_relay.py PATH --keeper-fd N. The test listens on PATH and gets the descriptor; the relay ends when the
keeper closes its end or the test closes the connection.
"""

import os
import select
import socket
import sys


def main() -> None:
    path, keeper = sys.argv[1], int(sys.argv[sys.argv.index("--keeper-fd") + 1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as test:
        test.connect(path)
        socket.send_fds(test, [str(os.getpid()).encode()], [keeper])
        poll = select.poll()
        poll.register(test, select.POLLIN)
        poll.register(keeper, select.POLLHUP | select.POLLRDHUP)
        while not any(fd == test.fileno() or events & ~select.POLLIN for fd, events in poll.poll()):
            pass


main()
