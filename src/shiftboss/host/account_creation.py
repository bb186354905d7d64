"""Creates system accounts with useradd(8) of the shadow suite, found at fixed places and never through PATH."""

import os
from collections.abc import Sequence

from shiftboss.core.errors import HostError
from shiftboss.core.facts import Finished
from shiftboss.host.commands import NOT_FOUND, TIMED_OUT, RealCommands

USERADD = ("/usr/sbin/useradd", "/sbin/useradd")
NOLOGIN = ("/usr/sbin/nologin", "/sbin/nologin")
_NO_SHELL = "/bin/false"
_SECONDS = 30.0  # it waits for the lock of the databases
# exit statuses of useradd(8)
_HINTS = {
    1: "Another program may hold the lock of /etc/passwd: run the command again in a moment.",
    3: "Choose a name that useradd(8) takes: a to z, digits, - and _, at most 32 characters.",
    4: "Its number is taken: look at SYS_UID_MIN and SYS_UID_MAX in /etc/login.defs.",
    9: "A user or group of that name exists already: name another one with --user, or remove what is left over "
    "(getent passwd, getent group; groupdel).",
    10: "Another program may hold the lock of /etc/group: run the command again in a moment.",
}


def create_account(name: str, home: str, *, useradd: Sequence[str] = USERADD) -> None:
    """Create a system account: a group of its own, no login, no password, `home` as its home, which is not made.

    Raises HostError where useradd is missing or refuses. `useradd` are the places where it is looked for.
    """
    program = _first(useradd)
    if program is None:
        raise HostError(
            f"cannot create user {name}: this server has no useradd ({useradd[0]})",
            hint="Install it (Debian: apt-get install passwd), or create the user in your own way and run the command "
            "without --create-user.",
        )
    options = ("--system", "--user-group", "--no-create-home", "--home-dir", home)
    login = ("--shell", _first(NOLOGIN) or _NO_SHELL)
    ended = RealCommands().run((program, *options, *login, "--", name), timeout=_SECONDS)
    if ended.status != 0:
        raise _refused(name, ended)


def _first(places: Sequence[str]) -> str | None:
    return next((place for place in places if os.access(place, os.X_OK)), None)


def _refused(name: str, ended: Finished) -> HostError:
    if ended.status == TIMED_OUT:
        return HostError(
            f"cannot create user {name}: useradd did not end in {_SECONDS:.0f} s",
            hint="Somebody may hold the lock of /etc/passwd (ls -l /etc/*.lock): look, then run the command again.",
        )
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    why = lines[-1].removeprefix("useradd: ") if lines else f"useradd ended with status {ended.status}"
    fallback = (
        "See useradd(8)." if ended.status != NOT_FOUND else "Look at that program: it could not be started."
    )
    return HostError(f"cannot create user {name}: {why}", hint=_HINTS.get(ended.status, fallback))
