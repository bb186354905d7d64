"""The code that we run: who else could change it, and whether it is still the same."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator


def first_open(paths: Iterable[str]) -> str | None:
    """Return the first path that somebody but root can write, of the given ones, what lies in them, and above them.

    Links are resolved, and the directories that they stand in count too: whoever can change a link says where it
    leads. A sticky directory (/tmp) is safe for what is root's in it. None if there is none; what cannot be
    read is passed over.
    """
    seen: set[str] = set()
    for path in paths:
        for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            for found in (*_above(place), *_tree(place)):
                if found not in seen and _is_open(found):
                    return found
                seen.add(found)
    return None


def _above(path: str) -> list[str]:
    parent = os.path.dirname(path)
    return [*_above(parent), parent] if parent != path else []


def _tree(path: str) -> Iterator[str]:
    yield path
    if os.path.isdir(path):
        for directory, directories, files in os.walk(path):
            yield from (f"{directory}/{name}" for name in (*directories, *files))


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
