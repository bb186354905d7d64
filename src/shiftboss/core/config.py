"""TOML text -> tables. Every error names the file, the path of the key and what was expected."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from shiftboss.core.errors import UserError
from shiftboss.core.names import check_name, suggest
from shiftboss.core.schedule_followers import check_followers
from shiftboss.core.tables import ProjectFile, ProjectTable, ScheduleTable, SiteFile, Table, WorkerTable

T = TypeVar("T", bound=Table)
# what msgspec says of a mistake; text until there is one
_MISMATCH = r"Expected `(?P<wanted>.+?)`, got `(?P<got>.+?)`"
_BOUND = r"Expected `.+?` (?P<sign><=|>=) (?P<bound>\d+)"
_EMPTY = r"Expected `\w+` of length >= 1"
_ENUM = r"(?s)Invalid enum value (?P<value>.*)"
_AT = r" - at `\$?\.?(?P<path>.*)`$"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OWN_RULES = re.compile(r"project\.environment\b|(workers|schedules)\.[^.]+\.(command|environment)\b")
_NOT_UTF8 = re.compile(r"[\ud800-\udfff]")
_LARGEST = 2**63 - 1  # TOML: integers have 64 bits
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPOKEN = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a date",
    "time": "a time",
    "datetime": "a date with time",
}


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """Parse TOML; raise UserError with file, line and column, or with the key that holds what nothing can use."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError: TOML's own, or an integer of 5000 digits
        raise UserError(
            f"not valid TOML: {_one_line(str(error))}",
            where=file,
            hint=f"Correct {file} and run the command again.",
        ) from error
    for path, value in _leaves(raw):
        _refuse_unusable(value, f"{file}: {path}")
    return raw


def _leaves(raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield path and value of everything that is no table and no list, however deep."""
    left: list[tuple[str, object]] = [("", raw)]
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            left += [(_joined(path, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            left += [(f"{path}[{number}]", inner) for number, inner in enumerate(value)]
        else:
            yield path, value


def _refuse_unusable(value: object, where: str) -> None:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise UserError(
            "is a number of more than 64 bits", where=where, hint="Use a number of a sensible size."
        )
    if isinstance(value, str) and _NOT_UTF8.search(value):
        raise UserError("is not UTF-8 text", where=where, hint="Write it in UTF-8.")


def site_file(text: str, file: str) -> SiteFile:
    """Read the text of config.toml; raise UserError that names the key and what was expected."""
    raw = parse_toml(text, file)
    tables = _table(raw, SiteFile, file, "")
    _refuse_control_characters(raw, file)
    return tables


def project_file(text: str, file: str) -> ProjectFile:
    """Read the text of a project file; raise UserError that names the key and what was expected."""
    raw = parse_toml(text, file)
    _refuse_unknown(raw, ProjectFile, file, "")
    _refuse_control_characters(raw, file)
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
    _check_paths(project, file)
    _check_environments(project, workers, schedules, file)
    check_followers(schedules, file)
    return ProjectFile(project=project, workers=workers, schedules=schedules)


def _units(raw: Mapping[str, Any], key: str, kind: type[T], file: str) -> dict[str, T]:
    found = {}
    for name, table in _subtable(raw, key, file).items():
        try:
            check_name(name, key.removesuffix("s"))
        except UserError as error:
            raise UserError(error.message, where=f"{file}: {key}", hint=error.hint) from None
        if not isinstance(table, dict):
            raise _no_table(table, file, f"{key}.{name}")
        found[name] = _table(table, kind, file, f"{key}.{name}")
    return found


def _subtable(raw: Mapping[str, Any], key: str, file: str) -> dict[str, Any]:
    table = raw.get(key, {})
    if not isinstance(table, dict):
        raise _no_table(table, file, key)
    return table


def _no_table(value: object, file: str, path: str) -> UserError:
    return UserError(
        f"must be a table, not {_spoken_value(value)}", where=f"{file}: {path}", hint=f"Write [{path}]."
    )


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
        if isinstance(inner, type) and issubclass(inner, Table):
            if not isinstance(value, dict):
                raise _no_table(value, file, _joined(path, key))
            _refuse_unknown(value, inner, file, _joined(path, key))


def _joined(path: str, key: str) -> str:
    shown = key if _BARE_KEY.fullmatch(key) else ascii(key[:60])
    return f"{path}.{shown}" if path else shown


def _explained(message: str, raw: Any, kind: type[Table], file: str, path: str) -> UserError:
    at = re.search(_AT, message)
    key = at["path"].strip(".") if at else ""
    exact = _with_entry(key, raw, kind)
    where = f"{file}: {'.'.join(part for part in (path, exact) if part)}"
    return UserError(_plain(re.sub(_AT, "", message), kind, key), where=where, hint=_described(kind, key))


def _with_entry(key: str, raw: Any, kind: type[Table]) -> str:
    """Return the path of a key with the very entry that is wrong, where msgspec only says `environment[...]`."""
    name, found, _ = key.partition("[...]")
    if not found:
        return key
    for entry, value in raw[name].items():
        try:
            msgspec.convert({entry: value}, _fields(kind)[name], strict=True)
        except msgspec.ValidationError:
            return _joined(name, entry)
    return name


def _plain(message: str, kind: type[Table], key: str) -> str:
    """Say in plain words what msgspec says in types."""
    if re.search(_EMPTY, message):
        return "must not be empty"
    if found := re.search(_ENUM, message):
        return f"must be {' or '.join(_choices(_fields(kind)[key]))}, not {found['value']:.60}"
    if found := re.search(_BOUND, message):
        return f"must be at {'least' if found['sign'] == '>=' else 'most'} {found['bound']}"
    if found := re.search(_MISMATCH, message):
        return f"must be {_spoken(found['wanted'])}, not {_spoken(found['got'])}"
    return message[:1].lower() + message[1:]


def _choices(kind: object) -> list[str]:
    """Return the words of every Literal in a type."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [choice for part in get_args(kind) for choice in _choices(part)]


def _spoken(types: str) -> str:
    words = [_SPOKEN.get(t.strip(), t.strip()) for t in types.split("|") if t.strip() != "null"]
    return " or ".join(words) or "nothing"


def _spoken_value(value: object) -> str:
    kind = {"list": "array", "dict": "object"}.get(type(value).__name__, type(value).__name__)
    return _SPOKEN.get(kind, kind)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _described(kind: type[Table], key: str) -> str:
    """Return the description of a key from the schema, as the hint of an error about it."""
    schema = msgspec.json.schema(kind)["$defs"].get(kind.__name__, {})
    for part in key.split("."):
        entry = schema.get("properties", {}).get(part.split("[")[0], {})
        if "description" in entry:
            return str(entry["description"])
        schema = msgspec.json.schema(kind)["$defs"].get(str(entry.get("$ref", "")).rpartition("/")[2], {})
    return ""


def _refuse_control_characters(raw: Mapping[str, Any], file: str) -> None:
    """Refuse them in names, paths and times; commands and environments have rules (and words) of their own."""
    for path, value in _leaves(raw):
        if isinstance(value, str) and not _OWN_RULES.match(path) and (found := _CONTROL.search(value)):
            raise UserError(
                f"contains a control character ({found.group()!r})",
                where=f"{file}: {path}",
                hint="Write it on one line, without escapes.",
            )


def _check_paths(project: ProjectTable, file: str) -> None:
    """Paths of a project are absolute: the program may be started anywhere."""
    paths = {"root": project.root, "logs": project.logs}
    paths |= {f"interpreters.{name}": path for name, path in project.interpreters.items()}
    for key, path in paths.items():
        if path is not None and not path.startswith("/"):
            raise UserError(
                f"must be an absolute path, not {path[:60]!r}",
                where=f"{file}: project.{key}",
                hint="Begin it with /.",
            )


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
