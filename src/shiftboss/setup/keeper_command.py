"""The command line that starts the native backend, the same at boot (`service`), in a terminal and in a container (`up`)."""

import os
import re
import sys

from shiftboss.backends.native_manifest import manifest_directory
from shiftboss.core.errors import HostError
from shiftboss.core.spec import Site
from shiftboss.host.own_code import digest, first_open

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_RELEASE = re.compile(r"(?P<home>.+)/releases/(?P<release>[^/]+)/bin/(?P<program>[^/]+)")


def keeper_command(site: Site, python: str) -> list[str]:
    """Return the argv of this server's keeper, run by the interpreter `python`.

    `-I`: neither the directory it is started in nor PYTHON* variables say what is imported.
    """
    engine = [python, "-I", "-m", "shiftboss.engine.main", "--state", f"{site.state}/engine"]
    places = ["--manifest", manifest_directory(site), "--state", site.state, "--run", site.run]
    return [python, "-I", "-m", "shiftboss.keeper.main", *places, "--", *engine]


def own_python(site: Site) -> str:
    """Return the interpreter that this program runs on, as a path that outlives an upgrade.

    A copy made by `make install` is named through `current`. Raises HostError if we are root and somebody
    else can write that interpreter or what it would import: whoever can is root from the next start on.
    """
    if site.system and (path := first_open(_code())):
        raise HostError(
            f"cannot run the native backend as root from here: others can write {path}",
            hint="Install a copy that only root can change, with make install in the checkout, and run that one.",
        )
    return through_current(sys.executable)


def through_current(executable: str) -> str:
    """Return `HOME/current/bin/python` for `HOME/releases/X/bin/python` where `current` leads to that release."""
    found = _RELEASE.fullmatch(executable)
    if not found:
        return executable
    live = f"{found['home']}/current"
    if os.path.realpath(live) != os.path.realpath(f"{found['home']}/releases/{found['release']}"):
        return executable
    return f"{live}/bin/{found['program']}"


def keeper_digest() -> str:
    """Return a hash of the code that the keeper consists of: while it stays, an upgrade need not end the keeper."""
    return digest(f"{_PACKAGE}/{part}" for part in ("keeper", "confine", "core/wire.py"))


def _code() -> list[str]:
    """Return what `python -I` would execute: the interpreter and every place it imports from."""
    # the first place is the directory of the script or (with -m) of the caller, which `-I` leaves out
    places = sys.path if sys.flags.safe_path else sys.path[1:]
    return [sys.executable, _PACKAGE, *(path for path in places if path and os.path.exists(path))]
