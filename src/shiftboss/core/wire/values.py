"""JSON <-> NamedTuple, by the annotations: strict about types, silent about content. Standard library only, no I/O."""

import json
import marshal
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

_T = TypeVar("_T", bound=tuple[Any, ...])
_MOST_SHARED = 256  # values of one kind that are remembered to be shared
_MOST_STRINGS = 4096
_ATOMS = frozenset((str, int, float, bool, type(None)))
_shared_kinds: set[type] = set()
_strings: dict[str, str] = {}


class WireError(ValueError):
    """A message or a manifest is not as it must be; the text says what is wrong, without its content."""


def share(*kinds: type) -> None:
    """Have `read_table` make equal values of these NamedTuples one object, as it does with tuples and tables."""
    _shared_kinds.update(kinds)


def json_object(raw: bytes) -> dict[str, Any]:
    """Return a JSON object; raise WireError if it is none."""
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError):
        raise WireError("not valid JSON") from None
    if not isinstance(table, dict):
        raise WireError("not a JSON object")
    return table


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if type(value) in _ATOMS:
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def content_of(value: object) -> bytes:
    """Return bytes that are the same for the same JSON value; a quarter of the time that its JSON takes."""
    return marshal.dumps(value, 2)  # type: ignore[arg-type]  # it came from JSON; later versions tell apart what is referred to twice


def read_table(kind: type[_T], table: Mapping[str, Any], *, strict: bool) -> _T:
    """Return the NamedTuple that a JSON object is; raise WireError. Unknown fields are passed over unless `strict`."""
    fields = _fields(kind)
    if strict and not table.keys() <= fields.keys():
        raise WireError(f"{kind.__name__} has an unknown field")
    values = {name: read(table[name], name) for name, read in fields.items() if name in table}
    try:
        return kind(**values)
    except TypeError:
        raise WireError(f"{kind.__name__} lacks a field") from None


_Reader = Callable[[Any, str], Any]
"""Returns a JSON value (of the field of that name) as its annotation has it; raises WireError if it is of another type."""


@cache
def _fields(kind: type[tuple[Any, ...]]) -> dict[str, _Reader]:
    return {name: _reader(wanted) for name, wanted in kind.__annotations__.items()}


def _reader(wanted: Any) -> _Reader:
    """Return the reader of an annotation."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return lambda value, _name: value
    if isinstance(wanted, UnionType):  # X | None
        return _optional(_reader(inside[0]))
    if origin is Literal:
        return _literal(inside)
    if origin in (tuple, dict):
        return _shared(_tuple(inside) if origin is tuple else _dict(_reader(inside[1])))
    if hasattr(wanted, "_fields"):
        read = _named(wanted)
        return _shared(read) if wanted in _shared_kinds else read
    return _atom(wanted)


def _shared(read: _Reader) -> _Reader:
    """Return the reader that makes equal values one object: entries are much alike, ten thousand of them shall be small."""
    known: dict[int, Any] = {}

    def shared(value: Any, name: str) -> Any:
        key = hash(content_of(value))  # siphash, 64 bits, keyed for each process
        found = known.get(key)
        if found is None:
            found = read(value, name)
            if len(known) >= _MOST_SHARED:
                known.clear()
            known[key] = found
        return found

    return shared


def _one(text: str) -> str:
    """Return the first string that was equal to this one: users, paths and words are the same in most entries."""
    if len(_strings) >= _MOST_STRINGS:
        _strings.clear()
    return _strings.setdefault(text, text)


def _atom(wanted: type) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if wanted is str and type(value) is str:
            return _one(value)
        if wanted is float and type(value) is int and abs(value) < 2**53:
            return float(value)
        if type(value) is not wanted or value in (float("inf"), float("-inf")) or value != value:
            raise _wrong_type(name)
        return value

    return read


def _literal(words: tuple[Any, ...]) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, str) or value not in words:
            raise _wrong_type(name)
        return _one(value)

    return read


def _optional(inner: _Reader) -> _Reader:
    return lambda value, name: None if value is None else inner(value, name)


def _named(kind: type[_T]) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong_type(name)
        return read_table(kind, value, strict=False)

    return read


def _dict(inner: _Reader) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong_type(name)
        return {key: inner(item, name) for key, item in value.items()}

    return read


def _tuple(inside: tuple[Any, ...]) -> _Reader:
    each = [_reader(kind) for kind in inside if kind is not Ellipsis]
    is_open = inside[-1] is Ellipsis

    def read(value: Any, name: str) -> Any:
        if not isinstance(value, list):
            raise _wrong_type(name)
        if not is_open and len(value) != len(each):
            raise WireError(f"{name} has the wrong length")
        return tuple(
            inner(item, name)
            for inner, item in zip(each * len(value) if is_open else each, value, strict=True)
        )

    return read


def _wrong_type(name: str) -> WireError:
    return WireError(f"{name} has the wrong type")
