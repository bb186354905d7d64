"""Who is at the other end of the api socket, as the kernel tells it (unix(7)), and what each user has in use."""

import asyncio
import os
import pwd
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from shiftboss.core.access import Caller
from shiftboss.core.errors import UserError
from shiftboss.engine.listeners import local_user

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # Linux 4.13; the socket module has no name for it
_MOST_BYTES = 1024  # that getsockopt of Python takes: 256 groups

MOST_CONNECTIONS = 16  # of one user who is not an administrator
_MOST_CHANGES = 30  # that such a user may ask for at once, and then
_CHANGES_PER_SECOND = 1.0
_MOST_FOLLOWED = 100  # logs at once
_MOST_SEARCHES = 2  # of history and logs that run at once for such a user; more wait


class Callers:
    """Tells who a peer is. `admins`: uid and name of root and the owner; `admin_group`: whose members are as root.

    Names are known for them, for the users that `names` gives, and for those in /etc/passwd: asking the system for
    others may hang (LDAP), and the engine must not wait.
    """

    def __init__(
        self, admins: Mapping[int, str], admin_group: int | None, names: Callable[[], Mapping[int, str]]
    ) -> None:
        self._admins, self._admin_group, self._names = admins, admin_group, names

    def caller(self, peer: socket.socket) -> Caller:
        """Return who connected, with the groups that it had then; raise OSError if the kernel does not say."""
        _, uid, gid = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid in self._admins:
            return Caller(uid, is_admin=True)
        groups = frozenset((gid, *_groups(peer, uid, gid)))
        return Caller(uid, groups, is_admin=self._admin_group in groups)

    def name(self, uid: int) -> str:
        """Return the name of a user, its number where the name is not known here."""
        return self._admins.get(uid) or self._names().get(uid) or local_user(uid)


def _groups(peer: socket.socket, uid: int, gid: int) -> tuple[int, ...]:
    """Return the supplementary groups of a peer; those that the group database gives its user where that fails."""
    try:
        raw = peer.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:  # a kernel without it, or more groups than fit (ERANGE)
        return _groups_by_name(uid, gid)
    return tuple(array("I", raw))


def _groups_by_name(uid: int, gid: int) -> tuple[int, ...]:
    try:
        return tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return ()


class Usage:
    """What one user who is not an administrator has in use, over all connections."""

    def __init__(self, now: float) -> None:
        self.connections = 0
        self.searches = asyncio.Semaphore(_MOST_SEARCHES)
        self._followed = 0
        self._changes, self._at = float(_MOST_CHANGES), now
        self._turns: deque[Callable[[], None]] = deque()

    def line_up(self, take: Callable[[], None]) -> None:
        """Call `take` soon. Of all that its connections ask one request is taken before others have their turn."""
        self._turns.append(take)
        if len(self._turns) == 1:
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        try:
            self._turns[0]()
        finally:
            self._turns.popleft()
            if self._turns:
                asyncio.get_running_loop().call_soon(self._take_turn)

    def may_change(self, now: float) -> bool:
        """Count a request that changes something; False: too many of them came lately."""
        self._changes = min(float(_MOST_CHANGES), self._changes + (now - self._at) * _CHANGES_PER_SECOND)
        self._at = now
        if self._changes < 1:
            return False
        self._changes -= 1
        return True

    def follow(self, logs: int) -> Callable[[], None]:
        """Count logs that are followed from now on; return what ends that. Raises UserError if they are too many."""
        if self._followed + logs > _MOST_FOLLOWED:
            raise UserError("too many logs are followed at once", hint="Name fewer units.")
        self._followed += logs
        return partial(self._unfollow, logs)

    def _unfollow(self, logs: int) -> None:
        self._followed -= logs

    def is_fresh(self, now: float) -> bool:
        """Tell whether nothing of it need be remembered."""
        return not self.connections and now - self._at > _MOST_CHANGES / _CHANGES_PER_SECOND
