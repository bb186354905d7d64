"""Reads the manifest, a directory that only root (in user mode: we) can write: what may run."""

import os
import signal
from typing import NamedTuple

from shiftboss.confine.ownership import NotOursError, check_owner, read_ours
from shiftboss.core.wire.entry import Entry, is_project
from shiftboss.core.wire.manifest import MAX_MANIFEST, read_manifest
from shiftboss.core.wire.values import WireError

_SUFFIX = ".json"


class Manifest(NamedTuple):
    """Entries by address, and what is wrong by file name; `serial` grows at each reading.

    An entry that says what it said before is the same object. `known`: see `read_manifest`.
    """

    serial: int
    entries: dict[str, Entry]
    errors: dict[str, str]
    known: dict[int, Entry]


EMPTY = Manifest(0, {}, {}, {})


def load(directory: str, before: Manifest) -> Manifest:
    """Read all files. A file that is wrong, or whose owner or mode is, keeps its project's earlier entries."""
    entries: dict[str, Entry] = {}
    errors: dict[str, str] = {}
    known = dict(before.known)
    try:
        names = _names(directory)
    except (OSError, NotOursError) as error:
        return before._replace(serial=before.serial + 1, errors={directory: _words(error)})
    for name in names:
        project = name.removesuffix(_SUFFIX)
        try:
            found = read_manifest(read_ours(f"{directory}/{name}", MAX_MANIFEST + 1), project, known)
            for entry in found:
                check_signal(entry.stop.signal)
            entries |= {entry.address: entry for entry in found}
        except (OSError, NotOursError, WireError) as error:
            errors[name] = _words(error)
            entries |= {key: entry for key, entry in before.entries.items() if entry.project == project}
    used = set(map(id, entries.values()))
    kept = {key: entry for key, entry in known.items() if id(entry) in used}
    return Manifest(before.serial + 1, entries, errors, kept)


def _words(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _names(directory: str) -> list[str]:
    check_owner(os.stat(directory, follow_symlinks=False))
    names = (name for name in os.listdir(directory) if name.endswith(_SUFFIX))
    return sorted(name for name in names if is_project(name.removesuffix(_SUFFIX)))


def check_signal(name: str) -> None:
    """Raise WireError unless this machine has a signal of that name (without SIG)."""
    if f"SIG{name}" not in signal.Signals.__members__:
        raise WireError("names a signal that this machine does not have")
