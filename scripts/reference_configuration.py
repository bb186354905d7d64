"""The reference page of config.toml and of project files, from their JSON schema."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

GENERATED = "<!-- Made by `make docs` from the code. Change the code, not this page. -->\n"
FILES = [
    ("config", "config.toml", "This server: `/etc/shiftboss/config.toml`, or what `--config` or `SHIFTBOSS_CONFIG` names."),
    ("project", "projects/NAME.toml", "What one project runs: `/etc/shiftboss/projects/NAME.toml`."),
]  # fmt: skip
Schema = Mapping[str, Any]


def page() -> str:
    """Return the whole page."""
    from shiftboss.core.tables import json_schema

    parts = [
        GENERATED + "\n# Configuration",
        "Both files are TOML. An unknown key is an error. `shiftboss schema config` and `shiftboss schema project` "
        "print the JSON schemas that this page is made from; editors complete and check the files with them.",
    ]
    for which, name, summary in FILES:
        schema = json_schema("config" if which == "config" else "project")
        parts += [f"## {name}", summary, *sections(schema)]
    return "\n\n".join(parts) + "\n"


def sections(schema: Schema) -> Iterator[str]:
    """Yield heading, text and table of keys for each table of a file, in the order of the schema."""
    definitions = schema.get("$defs", {})
    for path, table in _tables("", resolved(schema, definitions), definitions):
        keys = {k: v for k, v in table["properties"].items() if not _is_table(v, definitions)}
        if path:
            yield f"### `[{path}]`"
        if path and table.get("description"):
            yield re.sub(r"^\[.*?\]: ", "", _plain(table["description"]))
        if keys:
            yield "\n".join(
                [
                    "| key | value | default | meaning |",
                    "| --- | --- | --- | --- |",
                    *_rows(keys, definitions),
                ]
            )


def resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return what a schema refers to, with the keys beside `$ref` kept."""
    if "$ref" not in schema:
        return schema
    return {
        **definitions[schema["$ref"].rpartition("/")[2]],
        **{k: v for k, v in schema.items() if k != "$ref"},
    }


def _tables(path: str, table: Schema, definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    yield path, table
    for key, value in table["properties"].items():
        inner = _inner(value, definitions)
        if inner is not None:
            named = f"{key}.NAME" if "properties" not in resolved(value, definitions) else key
            yield from _tables(f"{path}.{named}" if path else named, inner, definitions)


def _inner(value: Schema, definitions: Mapping[str, Schema]) -> Schema | None:
    """Return the table that a key holds, or that each of its names holds; None for a plain value."""
    value = resolved(value, definitions)
    if "properties" in value:
        return value
    each = value.get("additionalProperties")
    each = resolved(each, definitions) if isinstance(each, dict) else {}
    return each if "properties" in each else None


def _is_table(value: Schema, definitions: Mapping[str, Schema]) -> bool:
    return _inner(value, definitions) is not None


def _rows(keys: Mapping[str, Schema], definitions: Mapping[str, Schema]) -> Iterator[str]:
    for key, schema in keys.items():
        value = resolved(schema, definitions)
        cells = [f"`{key}`", kind(value, definitions), _default(value), _description(value)]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def kind(value: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return in plain words what a value may be."""
    value = resolved(value, definitions)
    if "anyOf" in value:
        words = [kind(option, definitions) for option in value["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"] if choice is not None)
    return _simple(value, definitions)


def _simple(value: Schema, definitions: Mapping[str, Schema]) -> str:
    match value.get("type"):
        case "array":
            return f"list of {kind(value['items'], definitions)}" if value.get("items") else "list"
        case "object":
            each = value.get("additionalProperties")
            return f"table of {kind(each, definitions)}" if isinstance(each, dict) and each else "table"
        case "integer":
            return "number" + _bounds(value)
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case other:
            return str(other or "any value")


def _bounds(value: Schema) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    if low is None and high is None:
        return ""
    return (
        f" from {low} to {high}"
        if None not in (low, high)
        else f" from {low}"
        if high is None
        else f" to {high}"
    )


def _default(value: Schema) -> str:
    default = value.get("default")
    return "" if default in (None, {}, []) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _description(value: Schema) -> str:
    own = value.get("description") or ""
    inner = next(
        (option["description"] for option in value.get("anyOf", []) if option.get("description")), ""
    )
    return _plain(own or inner)


def _plain(text: str) -> str:
    return " ".join(text.split())
