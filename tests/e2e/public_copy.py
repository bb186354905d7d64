"""A copy of shiftboss that every user may run: the checkout and its Python may stand below a closed directory."""

import shutil
from importlib.util import find_spec
from pathlib import Path

PYTHON = "/usr/bin/python3"
_PACKAGES = ("shiftboss", "click", "msgspec", "psutil", "tomlkit")


def make_public_copy(directory: Path) -> None:
    """Copy shiftboss and the packages that it imports into a directory that every user may enter."""
    for name in _PACKAGES:
        spec = find_spec(name)
        assert spec is not None, f"{name} is not installed"
        assert spec.submodule_search_locations, f"{name} is no package"
        source = spec.submodule_search_locations[0]
        shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))


def program_as(user: str, copy: Path, *, home: str = "/nonexistent") -> tuple[str, ...]:
    """Return the words that run shiftboss from that copy as a user, with the groups of that user only."""
    become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--")
    environment = ("env", "-C", "/", f"PYTHONPATH={copy}", f"HOME={home}", "PYTHONDONTWRITEBYTECODE=1")
    return (*become, *environment, PYTHON, "-P", "-m", "shiftboss")
