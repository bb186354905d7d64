"""The command line that starts the native backend, the same at boot (`service`), in a terminal and in a container (`up`)."""

import os

from shiftboss.backends.native_manifest import manifest_directory
from shiftboss.core.spec import Site
from shiftboss.host import own_code

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def keeper_command(site: Site, python: str) -> list[str]:
    """Return the argv of this server's keeper, run by the interpreter `python`.

    `-I`: neither the directory it is started in nor PYTHON* variables say what is imported.
    """
    engine = [python, "-I", "-m", "shiftboss.engine.main", "--state", f"{site.state}/engine"]
    places = ["--manifest", manifest_directory(site), "--state", site.state, "--run", site.run]
    return [python, "-I", "-m", "shiftboss.keeper.main", *places, "--", *engine]


def own_python(site: Site) -> str:
    """Return the interpreter that this program runs on; raises HostError as `own_code.own_python`."""
    return own_code.own_python(as_root=site.system)


def keeper_digest() -> str:
    """Return a hash of the code that the keeper consists of: while it stays, an upgrade need not end the keeper."""
    parts = ("keeper", "confine", "core/wire")
    return own_code.digest(f"{_PACKAGE}/{part}" for part in parts)
