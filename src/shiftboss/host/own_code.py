"""The code that we run: who else could change it, and whether it is still the same."""

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator

from shiftboss.core.errors import HostError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OF_PACKAGES = frozenset({"site-packages", "dist-packages"})
_RELEASE = re.compile(r"(?P<home>.+)/releases/(?P<release>[^/]+)/(?P<rest>.+)")


def own_python(*, as_root: bool) -> str:
    """Return the interpreter that this program runs on, as a path that outlives an upgrade.

    A copy made by `make install` is named through `current`. Raises HostError if it is for root and somebody
    else can write that interpreter or what it would import: whoever can is root from the next start on.
    """
    if as_root:
        _refuse_open(first_open(_code()))
    return through_current(sys.executable)


def launcher_command(*, as_root: bool) -> tuple[str, ...]:
    """Return the command that starts a unit confined: the launcher by its path, which needs no packages (`-S`).

    `-I`: neither the directory it is started in nor PYTHON* variables say what is imported. Raises as `own_python`.
    """
    if as_root:
        own = [path for path in _code() if os.path.basename(path) not in _OF_PACKAGES]
        _refuse_open(first_open(own, without=_OF_PACKAGES))  # ten times as quick as with all packages
    return (through_current(sys.executable), "-I", "-S", through_current(f"{_PACKAGE}/launcher/main.py"))


def _refuse_open(path: str | None) -> None:
    if path:
        raise HostError(
            f"cannot run our own code as root from here: others can write {path}",
            hint="Install a copy that only root can change, with make install in the checkout, and run that one.",
        )


def through_current(path: str) -> str:
    """Return `HOME/current/…` for `HOME/releases/X/…` where `current` leads to that release."""
    found = _RELEASE.fullmatch(path)
    if not found:
        return path
    live = f"{found['home']}/current"
    if os.path.realpath(live) != os.path.realpath(f"{found['home']}/releases/{found['release']}"):
        return path
    return f"{live}/{found['rest']}"


def _code() -> list[str]:
    """Return what `python -I` would execute: the interpreter and every place it imports from."""
    # the first place is the directory of the script or (with -m) of the caller, which `-I` leaves out
    places = sys.path if sys.flags.safe_path else sys.path[1:]
    return [sys.executable, _PACKAGE, *(path for path in places if path and os.path.exists(path))]


def first_open(paths: Iterable[str], *, without: frozenset[str] = frozenset()) -> str | None:
    """Return the first path that somebody but root can write, of the given ones, what lies in them, and above them.

    Directories called as in `without` are looked at, but not into.

    Links are resolved, and the directories that they stand in count too: whoever can change a link says where it
    leads. A sticky directory (/tmp) is safe for what is root's in it. None if there is none; what cannot be
    read is passed over.
    """
    seen: set[str] = set()
    for path in paths:
        for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            for found in (*_above(place), *_tree(place, without)):
                if found not in seen and _is_open(found):
                    return found
                seen.add(found)
    return None


def _above(path: str) -> list[str]:
    parent = os.path.dirname(path)
    return [*_above(parent), parent] if parent != path else []


def _tree(path: str, without: frozenset[str] = frozenset()) -> Iterator[str]:
    yield path
    if os.path.isdir(path):
        for directory, directories, files in os.walk(path):
            yield from (f"{directory}/{name}" for name in (*directories, *files))
            directories[:] = [name for name in directories if name not in without]


def _is_open(path: str) -> bool:
    """Tell whether others can write it; see `first_open`."""
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    if facts.st_uid != 0:
        return True
    if stat.S_ISLNK(facts.st_mode) or (stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX):
        return False
    by_group = facts.st_mode & stat.S_IWGRP and facts.st_gid != 0
    return bool(by_group or facts.st_mode & stat.S_IWOTH)


def digest(paths: Iterable[str]) -> str:
    """Return a short hash over the Python files at and below these paths: equal code has an equal one."""
    found = hashlib.sha256()
    for path in paths:
        for place in sorted(place for place in _tree(path) if place.endswith(".py")):
            with open(place, "rb") as file:
                found.update(place.removeprefix(path).encode() + b"\0" + file.read() + b"\0")
    return found.hexdigest()[:16]
