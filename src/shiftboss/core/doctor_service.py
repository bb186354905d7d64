"""Findings about what runs the units: our engine, Supervisor, cron, and our own files."""

import shlex
from collections.abc import Mapping

from msgspec import Struct

from shiftboss.core.doctor import Finding
from shiftboss.core.facts import EngineFacts, PathFacts

_ITSELF = "shiftboss"
_START = {"supervisor": "systemctl enable --now supervisor", "cron": "systemctl enable --now cron"}


class Services(Struct, frozen=True):
    """What runs here. `used` are the backends that have units; `down`: backend to why it does not answer.

    `at_boot`: whether a backend starts at boot (None: cannot be told). `own`: our files and directories by path;
    `secrets`: which of them hold what, in words.
    """

    used: frozenset[str]
    socket: str
    version: str
    engine: EngineFacts | None = None
    socket_there: bool = False
    has_systemd: bool = False
    down: Mapping[str, str] = {}
    at_boot: Mapping[str, bool | None] = {}
    own: Mapping[str, PathFacts] = {}
    own_uid: int = 0
    secrets: Mapping[str, str] = {}


def service_findings(seen: Services) -> tuple[Finding, ...]:
    """Return what is wrong with the parts that run units, and with our own files."""
    return (*_engine(seen), *_others(seen), *_boot(seen), *_own_files(seen))


def _engine(seen: Services) -> list[Finding]:
    if "native" not in seen.used:
        return []
    if seen.engine is None:
        why = "nobody answers at" if seen.socket_there else "there is no socket"
        mend = "shiftboss service install" if seen.has_systemd else "shiftboss up"
        return [Finding("problem", "engine-down", _ITSELF, f"it does not run: {why} {seen.socket}", mend)]
    found = [Finding("problem", "engine-trouble", _ITSELF, words) for words in seen.engine.troubles]
    found += [
        Finding("problem", "log-trouble", unit.address, unit.trouble)
        for unit in seen.engine.units
        if unit.trouble
    ]
    if seen.engine.version != seen.version:
        words = f"version {seen.engine.version} runs, and {seen.version} is installed"
        found.append(Finding("problem", "version", _ITSELF, words, "shiftboss service upgrade"))
    return found


def _others(seen: Services) -> list[Finding]:
    return [
        Finding("problem", f"{backend}-down", backend, why, _START.get(backend, ""))
        for backend, why in sorted(seen.down.items())
    ]


def _boot(seen: Services) -> list[Finding]:
    mends = _START | {"native": "shiftboss service install"}
    return [
        Finding("caution", "not-at-boot", backend, f"{backend} does not start at boot", mends[backend])
        for backend in sorted(seen.used & mends.keys())
        if seen.at_boot.get(backend) is False
    ]


def _own_files(seen: Services) -> list[Finding]:
    found = []
    for path, facts in sorted(seen.own.items()):
        quoted = shlex.quote(path)
        if facts.uid not in (0, seen.own_uid):
            found.append(Finding("problem", "own-owner", _ITSELF, f"{path} belongs to uid {facts.uid}, who decides what runs by it",
                                 f"chown -h {seen.own_uid} {quoted}"))  # fmt: skip
        if (facts.type != "link" and facts.mode & 0o002) or (
            facts.mode & 0o020 and facts.gid and seen.own_uid == 0
        ):
            found.append(Finding("problem", "own-open", _ITSELF, f"others may write {path} (mode {facts.mode:04o}) and so decide what runs",
                                 f"chmod go-w {quoted}"))  # fmt: skip
        if path in seen.secrets and facts.mode & 0o004:
            found.append(Finding("problem", "own-secret", _ITSELF, f"everybody may read {path}, which holds {seen.secrets[path]}",
                                 f"chmod o-r {quoted}"))  # fmt: skip
    return found
