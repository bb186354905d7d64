"""Edits of our TOML files that keep comments and order. Text in, text out.

Every edit is proved: the new text is read again and must say exactly what was asked for.
"""

import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Literal

from shiftboss.core.errors import UserError

if TYPE_CHECKING:
    from shiftboss.setup.toml_document import Document

Section = Literal["workers", "schedules"]
Value = str | int | float | bool | list[str] | dict[str, str]
Changes = Mapping[str, Value]
Tables = MutableMapping[str, Any]


def set_unit(text: str, section: Section, name: str, changes: Changes) -> str:
    """Return the project file with these keys of `[section.name]` set.

    What is there already and equal stays as it is written; a table value is merged key by key. Raises
    UserError for a file that is written in a way that cannot be edited.
    """
    return _edited(
        text,
        lambda document: document.set_unit(section, name, changes),
        lambda plain: _merge(plain.setdefault(section, {}).setdefault(name, {}), changes),
    )


def remove_unit(text: str, section: Section, name: str) -> str:
    """Return the project file without a unit; a section that it leaves empty goes too."""
    return _edited(
        text,
        lambda document: _remove(document.tables, section, name),
        lambda plain: _remove(plain, section, name),
    )


def set_keys(text: str, section: str, changes: Changes) -> str:
    """Return a file with these keys of `[section]` set; what is said of `set_unit` holds here too."""
    return _edited(
        text,
        lambda document: document.set_keys(section, changes),
        lambda plain: _merge(plain.setdefault(section, {}), changes),
    )


def _edited(text: str, change: "Callable[[Document], None]", change_plain: Callable[[Any], None]) -> str:
    """Change the document, and the plain values in it; return the new text if it says the same as they do."""
    before, wanted = tomllib.loads(text), tomllib.loads(text)
    change_plain(wanted)
    if wanted == before:
        return text
    from shiftboss.setup.toml_document import (  # tomlkit is large; most commands change no file
        Document,
        TOMLKitError,
    )

    try:
        document = Document(text)
        change(document)
        after = document.text()
        if tomllib.loads(after) == wanted:
            return after
    except (TOMLKitError, ValueError, TypeError):  # layouts that tomlkit cannot change
        pass
    raise UserError(
        "cannot edit the file: it is written in a way that leaves no place for the change",
        hint="Make the change by hand, then run: shiftboss apply",
    )


def _merge(plain: Tables, changes: Changes) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            plain.setdefault(key, {}).update(value)
        else:
            plain[key] = value


def _remove(tables: Tables, section: Section, name: str) -> None:
    units = tables.get(section)
    if units is not None and name in units:
        del units[name]
        if not units:
            del tables[section]
