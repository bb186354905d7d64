"""The manifest: a directory with one file for each project, `<project>.json`. Standard library only, no I/O."""

import json
import re

from shiftboss.core.wire.entry import (
    MAX_MESSAGE,
    MAX_PROCESSES,
    VERSION,
    Confinement,
    Entry,
    check_signal_name,
    is_address,
    without_secrets,
)
from shiftboss.core.wire.values import WireError, content_of, json_object, plain, read_table

MAX_MANIFEST = 4 * 1024 * 1024
_JSON_BYTES = 6  # at most, for a byte of marshal: "\u0000"
_DEFAULTS_BYTES = 4096  # what the fields that a row leaves out take at most
_CGROUP_FILE = re.compile(r"(memory|cpu|pids|io|blkio)(\.[a-z_]{1,30}){1,3}")
_CGROUP_VALUE = re.compile(r"[a-z0-9][a-z0-9 ]{0,40}")


def manifest_text(project: str, entries: tuple[Entry, ...]) -> str:
    """Return the text of `<project>.json`, entries sorted by address."""
    rows = [plain(entry) for entry in sorted(entries, key=lambda entry: entry.address)]
    return json.dumps({"version": VERSION, "project": project, "entries": rows}, indent=1) + "\n"


def read_manifest(raw: bytes, project: str, known: dict[int, Entry] | None = None) -> tuple[Entry, ...]:
    """Read `<project>.json`; raise WireError if any of it is not as it must be.

    An entry that `known` has, by the hash of its row, is returned as it is, without being looked at again; `known`
    gets those that it lacks. Reading a file of 500 entries of which one is new takes a tenth of the time then.
    """
    if len(raw) > MAX_MANIFEST:
        raise WireError(f"the file is longer than {MAX_MANIFEST} bytes")
    table = json_object(raw)
    if table.get("version") != VERSION:
        raise WireError(f"the version is not {VERSION}: written by another shiftboss")
    rows = table.get("entries")
    if table.get("project") != project or not isinstance(rows, list):
        raise WireError(f"this is not the manifest of {project}")
    entries = tuple(_known_entry(row, project, {} if known is None else known) for row in rows)
    if len({entry.address for entry in entries}) != len(entries):
        raise WireError("two entries have one address")
    return entries


def _known_entry(row: object, project: str, known: dict[int, Entry]) -> Entry:
    text = content_of(row)
    key = hash((project, text))  # siphash, 64 bits, keyed for each process
    if key not in known:
        known[key] = _entry(row, project, len(text))
    return known[key]


def _entry(row: object, project: str, size: int) -> Entry:
    if not isinstance(row, dict):
        raise WireError("an entry is not an object")
    entry = read_table(Entry, row, strict=False)
    shown = entry.address if is_address(entry.address) else "an entry"
    if shown == "an entry" or entry.project != project:
        raise WireError(f"{shown} does not belong to {project}")
    _check_entry(entry, shown)
    may_be_long = size * _JSON_BYTES + _DEFAULTS_BYTES > MAX_MESSAGE - 1024
    if may_be_long and len(json.dumps(plain(without_secrets(entry)))) > MAX_MESSAGE - 1024:
        raise WireError(f"{shown} is longer than {MAX_MESSAGE - 1024} bytes")
    return entry


def _check_entry(entry: Entry, shown: str) -> None:
    check_signal_name(entry.stop.signal)
    words = (*entry.argv, *entry.environment, *entry.environment.values(), *_texts(entry))
    checks = (
        (bool(entry.argv) and bool(entry.argv[0]), "has no command"),
        (all("\0" not in word for word in words), "contains a NUL"),
        (all(name and "=" not in name for name in entry.environment), "has a variable without a name"),
        (_absolute(entry.directory, entry.current, entry.home, entry.env_file or "/"), "has a relative path"),
        (0 <= entry.uid < 2**32 - 1 and 0 <= entry.gid < 2**32 - 1, "has an impossible uid or gid"),
        (all(0 <= gid < 2**32 - 1 for gid in entry.groups), "has an impossible group"),
        (
            all(0 <= number < 2**32 - 1 for numbers in entry.policy.grants for number in numbers),
            "has an impossible operator or viewer",
        ),
        (0 <= entry.umask <= 0o777, "has an impossible umask"),
        (1 <= entry.processes_max <= MAX_PROCESSES, f"has not 1 to {MAX_PROCESSES} processes"),
        (0 <= entry.stop.wait_seconds <= 86_400, "waits more than a day"),
        (all(map(_is_rlimit, entry.rlimits.values())), "has a wrong rlimit"),
        (_is_confinement(entry.confinement), "has a wrong limit or isolation"),
    )
    for right, wrong in checks:
        if not right:
            raise WireError(f"{shown} {wrong}")


def _is_rlimit(pair: tuple[int, int]) -> bool:
    return min(pair) >= -1 and max(pair) < 2**63


def _is_confinement(confinement: Confinement) -> bool:
    """Tell whether every name is that of a controller's file and no word can break out of its line."""
    tables = (confinement.v2, confinement.v1, confinement.budget_v2, confinement.budget_v1)
    rlimits = [pair for fallback in confinement.fallbacks for pair in fallback.rlimits.values()]
    return (
        all(_CGROUP_FILE.fullmatch(name) for table in tables for name in table)
        and all(_CGROUP_VALUE.fullmatch(value) for table in tables for value in table.values())
        and all(map(_is_rlimit, rlimits))
        and -20 <= confinement.nice <= 19
        and all(step and all("\0" not in word for word in step) for step in confinement.steps)
    )


def _texts(entry: Entry) -> tuple[str, ...]:
    return (
        entry.user,
        entry.home,
        entry.directory,
        entry.current,
        entry.shell,
        entry.path,
        entry.lang,
        entry.env_file,
    )


def _absolute(*paths: str) -> bool:
    return all(path.startswith("/") for path in paths)
