"""Edits of our TOML files that keep comments and order. Text in, text out."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import tomlkit
from tomlkit.items import Table
from tomlkit.toml_document import TOMLDocument

Section = Literal["workers", "schedules"]
Value = str | int | float | bool | list[str] | dict[str, str | int | float | bool]


def set_unit(text: str, section: Section, name: str, changes: Mapping[str, Value | None]) -> str:
    """Return the project file with these keys of `[section.name]` set; None removes a key.

    What is there already and equal stays as it is written; a table value is merged key by key.
    """
    document = tomlkit.parse(text)
    _change(_section(document, section), name, changes)
    return _dumped(document)


def remove_unit(text: str, section: Section, name: str) -> str:
    """Return the project file without a unit; a section that it leaves empty goes too."""
    document = tomlkit.parse(text)
    units = document.get(section)
    if units is not None and name in units:
        del units[name]
        if not units:
            del document[section]
    return _dumped(document)


def set_keys(text: str, section: str, changes: Mapping[str, Value | None]) -> str:
    """Return a file with these keys of `[section]` set; None removes a key."""
    document = tomlkit.parse(text)
    _change(document, section, changes)
    return _dumped(document)


def _section(document: TOMLDocument, name: Section) -> Table:
    if name not in document:
        document[name] = tomlkit.table(is_super_table=True)
    return cast(Table, document[name])  # the file was parsed and checked before


def _change(parent: TOMLDocument | Table, name: str, changes: Mapping[str, Value | None]) -> None:
    is_new = name not in parent
    if is_new:
        parent[name] = tomlkit.table()
    table: Any = parent[name]
    for key, value in changes.items():
        _set(table, key, value)
    if is_new:
        table.add(tomlkit.nl())  # a blank line before the table that follows


def _set(table: Table, key: str, value: Value | None) -> None:
    if value is None:
        table.pop(key, None)
    elif isinstance(value, dict):
        if key not in table:
            table[key] = tomlkit.inline_table()
        for inner, item in value.items():
            _set(table[key], inner, item)
    elif table.get(key) != value:
        table[key] = value


def _dumped(document: TOMLDocument) -> str:
    text = tomlkit.dumps(document).strip("\n")
    return f"{text}\n" if text else ""
