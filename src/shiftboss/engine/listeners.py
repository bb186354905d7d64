"""Who listens on a TCP port, as far as any user may see it (proc_net_tcp(5))."""

import contextlib
from collections.abc import Iterator, Mapping

_LISTEN = "0A"
_LONGEST = 4 * 1024 * 1024


def listener_of(port: int, names: Mapping[int, str]) -> str:
    """Return "user NAME" of the one who listens on `port`, "" if nobody is seen.

    `names` are the users we know; asking the system for others may block for long (LDAP).
    """
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for local, state, uid in _sockets(table):
            if state == _LISTEN and local.endswith(f":{port:04X}"):
                return f"user {names.get(int(uid), uid)}"
    return ""


def _sockets(table: str) -> Iterator[tuple[str, str, str]]:
    with contextlib.suppress(OSError), open(table, encoding="ascii") as file:
        for line in file.read(_LONGEST).splitlines()[1:]:
            words = line.split()
            yield words[1], words[3], words[7]
