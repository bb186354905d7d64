"""TOML text -> tables. Every error names the file, the path of the key and what was expected."""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from shiftboss.core.errors import UserError
from shiftboss.core.names import check_name, suggest
from shiftboss.core.tables import ProjectFile, ProjectTable, ScheduleTable, SiteFile, Table, WorkerTable

T = TypeVar("T", bound=Table)
_MISMATCH = re.compile(r"Expected `(?P<wanted>.+?)`, got `(?P<got>.+?)`")
_BOUND = re.compile(r"Expected `.+?` (?P<sign><=|>=) (?P<bound>\d+)")
_AT = re.compile(r" - at `\$?\.?(?P<path>.*)`$")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPOKEN = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """Parse TOML; raise UserError with file, line and column."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(
            f"not valid TOML: {error}", where=file, hint=f"Correct {file} and run the command again."
        ) from error


def site_file(text: str, file: str) -> SiteFile:
    """Read the text of config.toml; raise UserError that names the key and what was expected."""
    return _table(parse_toml(text, file), SiteFile, file, "")


def project_file(text: str, file: str) -> ProjectFile:
    """Read the text of a project file; raise UserError that names the key and what was expected."""
    raw = parse_toml(text, file)
    _refuse_unknown(raw, ProjectFile, file, "")
    workers = _units(raw, "workers", WorkerTable, file)
    schedules = _units(raw, "schedules", ScheduleTable, file)
    both = sorted(workers.keys() & schedules.keys())
    if both:
        raise UserError(
            f"'{both[0]}' is a worker and a schedule",
            where=file,
            hint="Give one of them another name: addresses must differ.",
        )
    project = _table(_subtable(raw, "project", file), ProjectTable, file, "project")
    _check_environments(project, workers, schedules, file)
    return ProjectFile(project=project, workers=workers, schedules=schedules)


def _units(raw: Mapping[str, Any], key: str, kind: type[T], file: str) -> dict[str, T]:
    found = {}
    for name, table in _subtable(raw, key, file).items():
        try:
            check_name(name, key.removesuffix("s"))
        except UserError as error:
            raise UserError(error.message, where=f"{file}: {key}", hint=error.hint) from None
        found[name] = _table(table, kind, file, f"{key}.{name}")
    return found


def _subtable(raw: Mapping[str, Any], key: str, file: str) -> dict[str, Any]:
    table = raw.get(key, {})
    if not isinstance(table, dict):
        raise UserError(
            f"must be a table, not {_spoken_value(table)}", where=f"{file}: {key}", hint=f"Write [{key}]."
        )
    return table


def _table(raw: Any, kind: type[T], file: str, path: str) -> T:
    if isinstance(raw, dict):
        _refuse_unknown(raw, kind, file, path)
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _explained(str(error), raw, kind, file, path) from None


@lru_cache(maxsize=32)
def _fields(kind: type[Table]) -> Mapping[str, Any]:
    """Return the type of each key of a table."""
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _refuse_unknown(raw: Mapping[str, Any], kind: type[Table], file: str, path: str) -> None:
    known = _fields(kind)
    for key, value in raw.items():
        where = f"{file}: {_joined(path, key)}"
        if key not in known:
            hint = "Known keys: " + ", ".join(sorted(known)) + "."
            raise UserError(f"unknown key{suggest(key, known)}", where=where, hint=hint)
        inner = known[key]
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Table):
            _refuse_unknown(value, inner, file, _joined(path, key))


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _explained(message: str, raw: Any, kind: type[Table], file: str, path: str) -> UserError:
    at = _AT.search(message)
    key = at["path"].strip(".") if at else ""
    where = f"{file}: {'.'.join(part for part in (path, key) if part)}".rstrip(": ").replace("[...]", "")
    return UserError(_plain(_AT.sub("", message)), where=where, hint=_described(kind, key))


def _plain(message: str) -> str:
    """Say in plain words what msgspec says in types."""
    if found := _BOUND.search(message):
        return f"must be at {'least' if found['sign'] == '>=' else 'most'} {found['bound']}"
    if found := _MISMATCH.search(message):
        return f"must be {_spoken(found['wanted'])}, not {_spoken(found['got'])}"
    return message[:1].lower() + message[1:]


def _spoken(types: str) -> str:
    words = [_SPOKEN.get(t.strip(), t.strip()) for t in types.split("|") if t.strip() != "null"]
    return " or ".join(words) or "nothing"


def _spoken_value(value: object) -> str:
    kind = {"list": "array", "dict": "object"}.get(type(value).__name__, type(value).__name__)
    return _SPOKEN.get(kind, kind)


def _described(kind: type[Table], key: str) -> str:
    """Return the description of a key from the schema, as the hint of an error about it."""
    schema = msgspec.json.schema(kind)["$defs"].get(kind.__name__, {})
    for part in key.split("."):
        entry = schema.get("properties", {}).get(part.split("[")[0], {})
        if "description" in entry:
            return str(entry["description"])
        schema = msgspec.json.schema(kind)["$defs"].get(str(entry.get("$ref", "")).rpartition("/")[2], {})
    return ""


def _check_environments(
    project: ProjectTable,
    workers: Mapping[str, WorkerTable],
    schedules: Mapping[str, ScheduleTable],
    file: str,
) -> None:
    check_environment(project.environment, f"{file}: project.environment")
    for section, tables in (("workers", workers), ("schedules", schedules)):
        for name, table in tables.items():
            check_environment(table.environment, f"{file}: {section}.{name}.environment")


def check_environment(environment: Mapping[str, str], where: str) -> None:
    """Raise UserError for a variable name that is none, or a value with NUL or a line break."""
    for name, value in environment.items():
        if not _ENVIRONMENT_NAME.fullmatch(name):
            raise UserError(
                f"{name!r} is not a variable name", where=where, hint="Use letters, digits and _."
            )
        if any(mark in value for mark in "\0\n\r"):
            raise UserError(
                f"{name} contains a line break or NUL",
                where=where,
                hint="Put such values into a file of the project.",
            )
