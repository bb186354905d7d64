"""Reads what a release tells about the needs of its project, and the preset files. Nothing is executed.

Of a release only files of a fixed list are looked at, each with no more rights than the project's own user
and up to a size; no directory is walked.
"""

import functools
import os
import tomllib
from collections.abc import Callable, Iterable
from typing import TypeVar

from shiftboss import presets as preset_files
from shiftboss.core.entrypoints import (
    HORIZON_CONFIG,
    NODE_WORKERS,
    Guesses,
    django_package,
    guess_laravel,
    guess_node,
    guess_python,
    python_sources,
    safe_path,
)
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.lockfiles import (
    PackageJson,
    Reading,
    read_composer_json,
    read_composer_lock,
    read_gemfile_lock,
    read_npm_packages,
    read_package_json,
    read_pipfile_lock,
    read_pyproject,
    read_python_lock,
    read_requirements,
)
from shiftboss.core.names import suggest
from shiftboss.core.preset import Preset, read_preset
from shiftboss.core.release import (
    MARKER_FILES,
    Package,
    Packages,
    ReleaseFacts,
    first,
    read_env,
    read_procfile,
)
from shiftboss.core.spec import Account
from shiftboss.host.ports import Files

T = TypeVar("T")
Parse = Callable[[str], Reading]

_MIB = 1024 * 1024
_LIMIT = _MIB
_LOCK_LIMIT = 32 * _MIB
_VIRTUALENVS = (".venv", "venv", "env")
_REQUIREMENTS = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "requirements-prod.txt",
    "requirements-production.txt",
)
_PYTHON: tuple[tuple[str, Parse], ...] = (
    *(
        (name, functools.partial(read_python_lock, source=name))
        for name in ("poetry.lock", "uv.lock", "pdm.lock")
    ),
    ("Pipfile.lock", read_pipfile_lock),
    *((name, functools.partial(read_requirements, source=name)) for name in _REQUIREMENTS),
    ("pyproject.toml", read_pyproject),
)


def read_release(files: Files, account: Account, current: str) -> ReleaseFacts:
    """Return what the release behind `current` (an absolute path) tells; `account` is the project's user.

    Never raises for what the project contains: what cannot be read or understood is left out, with a note.
    """
    return _Reader(files, account, current).facts()


class _Reader:
    """Reads one release; collects notes on the way."""

    def __init__(self, files: Files, account: Account, current: str) -> None:
        self._files = files
        self._account = account
        self._current = current
        self._notes: list[str] = []

    def facts(self) -> ReleaseFacts:
        manifest = self._parsed("package.json", read_package_json, PackageJson())
        main = safe_path(manifest.main)
        there = self._existing((*MARKER_FILES, *((main, f"{main}.js") if main else ())))
        env = read_env(self._text(".env") or "")
        python = self._packages(*_PYTHON)
        venv = self._virtualenv()
        guesses: Guesses = {}
        if "artisan" in there:
            guesses |= guess_laravel(self._text(HORIZON_CONFIG) or "", env)
        if python or venv or "manage.py" in there:
            guesses |= self._python_guesses()
        guesses |= self._node_guesses(manifest, there)
        return ReleaseFacts(
            files=there,
            php=self._packages(("composer.lock", read_composer_lock), ("composer.json", read_composer_json)),
            npm=self._npm_packages(manifest),
            python=python,
            ruby=self._packages(("Gemfile.lock", read_gemfile_lock)),
            guesses=guesses,
            procfile=self._parsed("Procfile", read_procfile, ()),
            env=env,
            venv=venv,
            shared=self._shared(),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _text(self, path: str, limit: int = _LIMIT) -> str | None:
        """Return the text of a file of the release; note one that is there and cannot be read."""
        text = None
        if not self._may_be_there(f"{self._current}/{path}"):
            return None
        try:
            text = self._files.read_as(self._account, f"{self._current}/{path}", limit=limit)
        except HostError as error:
            self._notes.append(error.message)
        else:
            if text is None and self._is_there(f"{self._current}/{path}"):
                why = f"{self._account.name} cannot read it, or it is no file of at most {limit // _MIB} MiB"
                self._notes.append(f"{path} is left out: {why}")
        return text

    def _texts(self, paths: Iterable[str]) -> dict[str, str]:
        read = {path: self._text(path) for path in paths}
        return {path: text for path, text in read.items() if text is not None}

    def _parsed(self, path: str, parse: Callable[[str], tuple[T, str]], otherwise: T) -> T:
        limit = _LOCK_LIMIT if path.endswith(".lock") else _LIMIT
        text = self._text(path, limit)
        return otherwise if text is None else self._noted(parse(text))

    def _noted(self, parsed: tuple[T, str]) -> T:
        value, note = parsed
        if note:
            self._notes.append(note)
        return value

    def _packages(self, *sources: tuple[str, Parse]) -> Packages:
        nothing: dict[str, Package] = {}
        return first(*(self._parsed(path, parse, nothing) for path, parse in sources))

    def _npm_packages(self, manifest: PackageJson) -> Packages:
        if not manifest.dependencies:
            return {}
        return self._noted(read_npm_packages(manifest, self._text("package-lock.json", _LOCK_LIMIT)))

    def _node_guesses(self, manifest: PackageJson, there: frozenset[str]) -> Guesses:
        workers = self._texts(NODE_WORKERS) if manifest.dependencies else {}
        return self._noted(guess_node(manifest, there, workers))

    def _python_guesses(self) -> Guesses:
        django = django_package(self._text("manage.py") or "")
        return guess_python(self._texts(python_sources(django)), django)

    def _existing(self, paths: Iterable[str]) -> frozenset[str]:
        return frozenset(path for path in paths if self._is_there(f"{self._current}/{path}"))

    def _may_be_there(self, path: str) -> bool:
        """Most files are in no release: to look costs a sixth of becoming the account that would read it."""
        try:
            return self._files.stat(path) is not None
        except HostError:  # where root may not look, the account perhaps may (NFS)
            return True

    def _is_there(self, path: str, kind: str = "file") -> bool:
        """Tell whether a file (or directory) exists; a link counts if it leads to something."""
        try:
            facts = self._files.stat(path)
            if facts is not None and facts.type == "link":
                target = self._files.real_path(path)
                facts = self._files.stat(target) if target else None
        except HostError as error:
            self._notes.append(error.message)
            return False
        return facts is not None and facts.type == kind

    def _virtualenv(self) -> str:
        """Return the project's virtualenv: in the release, else beside it in the project's directory."""
        root = os.path.dirname(self._current)
        places = (
            f"{place}/{name}" for place in (self._current, f"{root}/shared", root) for name in _VIRTUALENVS
        )
        return next((place for place in places if self._is_there(f"{place}/bin/python3")), "")

    def _shared(self) -> str:
        shared = f"{os.path.dirname(self._current)}/shared"
        return shared if self._is_there(shared, "directory") else ""


@functools.cache
def preset_names() -> tuple[str, ...]:
    """Return the names of all presets."""
    found = os.listdir(preset_files.__path__[0])
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load_preset(name: str, where: str = "") -> Preset:
    """Return one preset, reading no other file; raise UserError for an unknown name, beginning with `where`."""
    names = preset_names()
    if name not in names:
        raise UserError(
            f"unknown preset {name[:40]!r}{suggest(name, names)}",
            where=where,
            hint=f"There are: {', '.join(names)}.",
        )
    return _loaded(name)


@functools.cache
def _loaded(name: str) -> Preset:
    with open(os.path.join(preset_files.__path__[0], f"{name}.toml"), encoding="utf-8") as file:
        text = file.read()
    return read_preset(name, tomllib.loads(without_example(text)))


def without_example(text: str) -> str:
    """Return a preset file without its last part, the example for the tests: parsing it takes half the time."""
    return text.partition("\n[example")[0]


@functools.cache
def load_presets() -> dict[str, Preset]:
    """Return all presets by name; loading a single one is much cheaper."""
    return {name: _loaded(name) for name in preset_names()}
