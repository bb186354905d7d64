"""What a release contains, as far as it tells what the project needs: values and the small parsers.

Everything here was written by the project: any text gives a value, none an exception. What cannot be
understood gives nothing known and a note for the user.
"""

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from shiftboss.core.errors import UserError
from shiftboss.core.words import command_words

# Files whose mere existence tells something; paths are relative to the release.
MARKER_FILES = (
    "artisan",
    "bin/console",
    "bin/jobs",
    "bootstrap/ssr/ssr.js",
    "bootstrap/ssr/ssr.mjs",
    "config.ru",
    "config/puma.rb",
    "manage.py",
    "package.json",
    "server.js",
    "app.js",
    "index.js",
    "main.js",
    "src/server.js",
    "src/index.js",
    "dist/server.js",
    "dist/main.js",
    "dist/index.js",
    "build/server.js",
    "build/index.js",
    ".next/standalone/server.js",
    ".next/BUILD_ID",
    ".output/server/index.mjs",
    "Procfile",
)

# Of `.env` only these are ever kept: none of them is a secret.
ENV_KEYS = frozenset(
    {
        "APP_ENV",
        "BEANSTALKD_QUEUE",
        "DB_QUEUE",
        "NODE_ENV",
        "OCTANE_SERVER",
        "PORT",
        "PULSE_INGEST_DRIVER",
        "QUEUE_CONNECTION",
        "RABBITMQ_QUEUE",
        "RAILS_ENV",
        "REDIS_QUEUE",
        "REVERB_SERVER_PORT",
        "SQS_QUEUE",
    }
)

_SHOWN = 64
_MAX_LINE = 4096
_MAX_PROCFILE_LINES = 50
_PROCFILE_LINE = r"([A-Za-z0-9_-]{1,64}):[ \t]*(\S.*)"
_ENV_LINE = r"[ \t]*(?:export[ \t]+)?([A-Z][A-Z0-9_]{0,63})[ \t]*=[ \t]*(.*)"
_ENV_VALUE = r"[A-Za-z0-9_][A-Za-z0-9_./:@,+-]{0,127}"


class Package(Struct, frozen=True):
    """A package the project depends on: its version (or range, or empty) and the file that says so."""

    version: str
    source: str


class Guess(Struct, frozen=True):
    """Something that was worked out, such as the file to start, and where it was found."""

    value: str
    source: str


Packages = Mapping[str, Package]


class ReleaseFacts(Struct, frozen=True):
    """What is known about a release. An empty value stands for a release of which nothing is known.

    `files` are the ones that exist out of those that matter; packages are grouped by language, their names
    in the spelling of the registry (Python: PEP 503). `venv` and `shared` are absolute directories or
    empty. `env` holds only keys of `ENV_KEYS`. `notes` say what could not be understood.
    """

    files: frozenset[str] = frozenset()
    php: Packages = field(default_factory=dict)
    npm: Packages = field(default_factory=dict)
    python: Packages = field(default_factory=dict)
    ruby: Packages = field(default_factory=dict)
    guesses: Mapping[str, Guess] = field(default_factory=dict)
    procfile: tuple[tuple[str, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    venv: str = ""
    shared: str = ""
    notes: tuple[str, ...] = ()


def printable(text: str) -> str:
    """Return a short text of the project as it may be shown on a terminal: no control characters, cut."""
    shown = "".join(mark if mark.isprintable() else "?" for mark in text[: _SHOWN + 1])
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def read_env(text: str) -> dict[str, str]:
    """Return the whitelisted keys of a `.env` file; a value with spaces, `$` or odd characters is left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(_ENV_LINE, line[:_MAX_LINE])
        if match and match[1] in ENV_KEYS:
            value = _unquoted(match[2])
            found.pop(match[1], None)  # the last one counts, also if it is one that we cannot use
            if re.fullmatch(_ENV_VALUE, value):
                found[match[1]] = value
    return found


def _unquoted(value: str) -> str:
    value = value.strip()
    if value[:1] in {'"', "'"}:
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()


def read_procfile(text: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Return the lines `name: command` of a Procfile in their order, and a note if some were left out."""
    found: dict[str, str] = {}
    odd = 0
    for line in text.splitlines():
        match = re.fullmatch(_PROCFILE_LINE, line.rstrip()) if len(line) <= _MAX_LINE else None
        if match and match[1] not in found and len(found) < _MAX_PROCFILE_LINES:
            found[match[1]] = match[2]
        elif line.strip() and not line.lstrip().startswith("#"):
            odd += 1
    note = f"Procfile: lines that are not 'name: command': {odd}" if odd else ""
    return tuple(found.items()), note


def needs_shell(command: str) -> bool:
    """Tell whether only a shell would understand a line (`$PORT`, `A=1 program`, `a && b`)."""
    try:
        words = command_words(command)
    except UserError:
        return True
    return "=" in words[0].partition("/")[0]


def first(*groups: Mapping[str, Package]) -> dict[str, Package]:
    """Merge packages; where several files name one, the first of them counts."""
    merged: dict[str, Package] = {}
    for group in groups:
        merged |= {name: package for name, package in group.items() if name not in merged}
    return merged


def existing(candidates: Iterable[str], files: frozenset[str]) -> str:
    """Return the first of the candidates that exists, or an empty string."""
    return next((path for path in candidates if path in files), "")
