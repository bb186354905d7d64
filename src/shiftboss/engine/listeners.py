"""Who listens on a TCP port, as far as our user may see it (proc_net_tcp(5), proc(5)).

Everybody may see which user it is; which process it is only that user and root. (host/processes.py asks as root,
through a library; the engine is neither root nor wants 4 MB for that.)
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

_LISTEN = "0A"
_UID, _INODE = 7, 9
_LONGEST = 4 * 1024 * 1024
_COMMAND_WORDS = 3
_COMMAND_CHARACTERS = 60


def listener_of(port: int, names: Mapping[int, str]) -> str:
    """Return "pid 7 of games (node server.js)", "user games" where the process is hidden, "" if nobody listens.

    `names` are the users we know. It reads /proc, which may take some milliseconds; raises OSError where there is
    no descriptor for that.
    """
    for uid, inode in _listening(port):
        user = names.get(uid) or local_user(uid)
        for pid in _processes_of(uid):
            if _has_socket(pid, inode):
                return f"pid {pid} of {user} ({_command(pid)})"
        return f"user {user}"
    return ""


def _listening(port: int) -> Iterator[tuple[int, str]]:
    """Yield uid and inode of each socket that listens on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            words = line.split()
            if len(words) > _INODE and words[3] == _LISTEN and words[1].endswith(f":{port:04X}"):
                yield int(words[_UID]), words[_INODE]


def local_user(uid: int) -> str:
    """Return the name of a user by /etc/passwd, else its number: asking the system for others may hang (LDAP)."""
    for line in _read("/etc/passwd").splitlines():
        name, _, rest = line.partition(":")
        if rest.split(":")[1:2] == [str(uid)]:
            return name
    return str(uid)


def _processes_of(uid: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                yield int(name)


def _has_socket(pid: int, inode: str) -> bool:
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                if os.readlink(descriptor.path) == f"socket:[{inode}]":
                    return True
    return False


def _command(pid: int) -> str:
    words = _read(f"/proc/{pid}/cmdline").split("\0")[:_COMMAND_WORDS]
    shown = " ".join(words).strip()
    return "".join(char if char.isprintable() else "?" for char in shown)[:_COMMAND_CHARACTERS] or "?"


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST)
    return ""
