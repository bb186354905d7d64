"""Lock files and manifests of four languages: text in, packages out.

Lock files may be large and are written by the project. JSON is decoded into the few fields that we know, so that
nothing else costs memory, and the generated TOML locks are scanned line by line (tomllib would take
minutes for what may come).
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from shiftboss.core.release import Package

T = TypeVar("T")
Reading = tuple[dict[str, Package], str]  # what is known, and a note if the file could not be understood

# text until they are needed, as in entrypoints.py
_NAME = r"@?[A-Za-z0-9_][A-Za-z0-9@/._-]{0,127}"
_VERSION = r"[A-Za-z0-9^~<>=!*][A-Za-z0-9 ^~<>=!*|,.+_-]{0,39}"
_LOCKED = r'(?m)^\[\[package\]\][ \t]*\r?\nname = "([^"\n]{1,128})"\r?\nversion = "([^"\n]{1,64})"'
_REQUIREMENT = r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})[ \t]*(?:\[[^\]\n]{0,200}\])?[ \t]*([^;#\n]{0,64})"
_GEM = r"(?m)^ {4}([A-Za-z0-9][A-Za-z0-9._-]{0,127}) \(([^)\n]{1,64})\)"
_MAX_TOML_LINE = 4096  # tomllib takes quadratic time for one long dotted key


class PackageJson(msgspec.Struct, frozen=True):
    """What we use of package.json."""

    main: str = ""
    scripts: dict[str, str] = {}
    dependencies: dict[str, str] = {}


class _Fields(msgspec.Struct, frozen=True):
    """The fields of the JSON files that we know, not decoded yet."""

    main: msgspec.Raw = msgspec.Raw()
    scripts: msgspec.Raw = msgspec.Raw()
    dependencies: msgspec.Raw = msgspec.Raw()
    packages: msgspec.Raw = msgspec.Raw()
    require: msgspec.Raw = msgspec.Raw()
    default: msgspec.Raw = msgspec.Raw()


class _Versioned(msgspec.Struct, frozen=True):
    name: str = ""
    version: str = ""


def read_composer_lock(text: str) -> Reading:
    """Read `packages` of composer.lock (development packages do not count)."""
    document = _Document(text, "composer.lock")
    found = document.field("packages", list[_Versioned], [])
    pairs = ((item.name, item.version.removeprefix("v")) for item in found)
    return _packages(pairs, document.source), document.note


def read_composer_json(text: str) -> Reading:
    """Read `require` of composer.json."""
    document = _Document(text, "composer.json")
    found = document.field("require", dict[str, str], {})
    return _packages(found.items(), document.source), document.note


def read_package_json(text: str) -> tuple[PackageJson, str]:
    """Read main, scripts and dependencies of package.json; a field of a wrong type counts as absent."""
    document = _Document(text, "package.json")
    value = PackageJson(
        main=document.field("main", str, ""),
        scripts=document.field("scripts", dict[str, str], {}),
        dependencies=document.field("dependencies", dict[str, str], {}),
    )
    return value, document.note


def read_npm_packages(manifest: PackageJson, lock: str | None) -> Reading:
    """Return the direct dependencies of package.json, with the version of package-lock.json where it has one."""
    locked, note = _npm_versions(lock) if lock is not None else ({}, "")
    known = _packages(locked.items(), "package-lock.json")
    direct = _packages(manifest.dependencies.items(), "package.json")
    return {name: known.get(name, package) for name, package in direct.items()}, note


def _npm_versions(lock: str) -> tuple[dict[str, str], str]:
    document = _Document(lock, "package-lock.json")
    modern = document.field("packages", dict[str, _Versioned], {})  # lockfileVersion 2 and 3
    classic = document.field("dependencies", dict[str, _Versioned], {})  # lockfileVersion 1
    versions = {name: item.version for name, item in classic.items()}
    prefix = "node_modules/"
    versions |= {n.removeprefix(prefix): i.version for n, i in modern.items() if n.startswith(prefix)}
    return versions, document.note


def read_python_lock(text: str, source: str) -> Reading:
    """Read poetry.lock, uv.lock or pdm.lock, all of which write `[[package]]` tables in one fixed form."""
    return _python(((match[1], match[2]) for match in re.finditer(_LOCKED, text)), source), ""


def read_pipfile_lock(text: str) -> Reading:
    """Read `default` of Pipfile.lock (development packages do not count)."""
    document = _Document(text, "Pipfile.lock")
    found = document.field("default", dict[str, _Versioned], {})
    pairs = ((name, item.version.removeprefix("==")) for name, item in found.items())
    return _python(pairs, document.source), document.note


def read_requirements(text: str, source: str) -> Reading:
    """Read the names and versions of a requirements file; options, addresses and includes are passed over."""
    lines = (line.strip()[:512] for line in text.splitlines())
    matches = (
        re.match(_REQUIREMENT, line) for line in lines if line[:1] not in {"-", "#"} and "://" not in line
    )
    return _python(((m[1], m[2].strip().removeprefix("==").strip()) for m in matches if m), source), ""


def read_pyproject(text: str) -> Reading:
    """Read `project.dependencies` and `tool.poetry.dependencies` of pyproject.toml."""
    source = "pyproject.toml"
    if any(len(line) > _MAX_TOML_LINE for line in text.splitlines()):
        return {}, f"{source} has lines that are too long to be read"
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}, f"{source} is not valid TOML"
    listed = _at(document, "project", "dependencies")
    lines = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    poetry = _at(document, "tool", "poetry", "dependencies")
    pairs = (
        [(n, v if isinstance(v, str) else "") for n, v in poetry.items()] if isinstance(poetry, dict) else []
    )
    found, _ = read_requirements("\n".join(lines), source)
    return {**_python(pairs, source), **found}, ""


def read_gemfile_lock(text: str) -> Reading:
    """Read the resolved gems of Gemfile.lock."""
    return _packages(((match[1], match[2]) for match in re.finditer(_GEM, text)), "Gemfile.lock"), ""


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


class _Document:
    """A JSON object; `note` says afterwards if it, or a field that was asked for, could not be understood."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.note = ""
        self._fields = _Fields()
        try:
            self._fields = msgspec.json.decode(text, type=_Fields)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            self.note = f"{source} is not a valid JSON object"

    def field(self, name: str, kind: type[T], otherwise: T) -> T:
        raw: msgspec.Raw = getattr(self._fields, name)
        if not bytes(raw):
            return otherwise
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            self.note = f"{self.source}: '{name}' is not what it should be"
            return otherwise


def _packages(pairs: Iterable[tuple[str, str]], source: str) -> dict[str, Package]:
    """Keep what looks like a package: names and versions are shown to people and must be harmless."""
    found: dict[str, Package] = {}
    for name, version in pairs:
        if re.fullmatch(_NAME, name) and name not in found:
            found[name] = Package(version if re.fullmatch(_VERSION, version) else "", source)
    return found


def _python(pairs: Iterable[tuple[str, str]], source: str) -> dict[str, Package]:
    """Spell names as PEP 503 does."""
    return _packages(((re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in pairs), source)


def named(packages: Mapping[str, Package], name: str) -> str:
    """Describe a package for people: `laravel/framework 11.31.0 in composer.lock`."""
    package = packages[name]
    return f"{name}{f' {package.version}' if package.version else ''} in {package.source}"
