"""A TOML file that keeps its comments and its order while tables of it are changed."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

__all__ = ["Document", "TOMLKitError"]


class Document:
    """A parsed file; `tables` is what it holds. Every method raises TOMLKitError, ValueError or TypeError."""

    def __init__(self, text: str) -> None:
        self.tables: MutableMapping[str, Any] = tomlkit.parse(text)

    def set_keys(self, name: str, changes: Mapping[str, Any]) -> None:
        """Set keys of `[name]`."""
        _change(self.tables, name, changes)

    def set_unit(self, section: str, name: str, changes: Mapping[str, Any]) -> None:
        """Set keys of `[section.name]`."""
        if section not in self.tables:
            self.tables[section] = tomlkit.table(is_super_table=True)
        _change(self.tables[section], name, changes)

    def text(self) -> str:
        """Return the file as it is now."""
        text = tomlkit.dumps(self.tables).strip("\n")
        return f"{text}\n" if text else ""


def _change(parent: MutableMapping[str, Any], name: str, changes: Mapping[str, Any]) -> None:
    is_new, is_inline = name not in parent, isinstance(parent, InlineTable)
    if is_new:
        parent[name] = tomlkit.inline_table() if is_inline else tomlkit.table()
    table = parent[name]
    for key, value in changes.items():
        _set(table, key, value)
    if is_new and not is_inline:
        table.add(tomlkit.nl())  # a blank line before the table that follows


def _set(table: MutableMapping[str, Any], key: str, value: object) -> None:
    if isinstance(value, dict):
        if key not in table:
            table[key] = tomlkit.inline_table()
        for inner, item in value.items():
            _set(table[key], inner, item)
    elif table.get(key) != value:
        table[key] = value
