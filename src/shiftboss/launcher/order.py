"""Reads what to launch: one entry of a root-owned `<project>.json`, the manifest's format (core/wire/manifest.py).

Plain classes and a bare JSON scanner: `json` and `typing` would double the time of a start.
"""

import os
import stat

_VERSION = 1
_MAX_BYTES = 4 * 1024 * 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
Table = dict[str, object]
Values = dict[str, str]
Pairs = dict[str, tuple[int, int]]


class OrderError(Exception):
    """The address or the file is not as it must be; the text is one sentence part for people."""


class MissingError(OrderError):
    """There is no such file."""


class Address:
    """`project/unit` or `project/unit:process`; process 0: it has no number, a run of a schedule.

    `first`: the number that the first process has in `text`; in ours it is 1.
    """

    def __init__(self, text: str, first: int = 1) -> None:
        self.entry, colon, number = text.partition(":")
        self.project, _, self.unit = self.entry.partition("/")
        right = number.isascii() and number.isdigit() and len(number) <= 5 and int(number) >= first
        if not (_is_name(self.project) and _is_name(self.unit)) or (colon and not right):
            raise OrderError("that is not an address such as myapp/queue:1")
        self.process = int(number) + 1 - first if colon else 0
        self.text = f"{self.entry}:{self.process}" if colon else text


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 27 and name[0] not in "-_" and _NAME.issuperset(name)


class Fallback:
    """What is done for a limit without its cgroup controller (core/wire/entry.py)."""

    def __init__(self, row: Table) -> None:
        self.controller, self.words = _text(row, "controller"), _text(row, "words")
        self.rlimits = _pairs(row, "rlimits")


class Order:
    """One entry; the fields are those of core/wire/entry.py. The file is root's: what is checked here are mistakes."""

    def __init__(self, row: Table) -> None:
        self.argv = _texts(row, "argv")
        self.user, self.home = _text(row, "user"), _text(row, "home")
        self.uid, self.gid = _number(row, "uid"), _number(row, "gid")
        self.groups = tuple(_numbers(row, "groups"))
        self.directory = _text(row, "directory")
        self.shell, self.path = _text(row, "shell", "/bin/sh"), _text(row, "path", _PATH)
        self.lang = _text(row, "lang", "C.UTF-8")
        self.environment, self.env_file = _values(row, "environment"), _text(row, "env_file", "")
        self.umask = _number(row, "umask", 0o027)
        self.rlimits = _pairs(row, "rlimits")
        stop = _table(row, "stop")
        self.stop_signal, self.stop_seconds = (
            _text(stop, "signal", "TERM"),
            _seconds(stop, "wait_seconds", 30.0),
        )
        self._read_policy(_table(row, "policy"))
        bounds = _table(row, "confinement")
        self.own = (_values(bounds, "v2"), _values(bounds, "v1"))
        self.budget = (_values(bounds, "budget_v2"), _values(bounds, "budget_v1"))
        self.fallbacks = [Fallback(fallback) for fallback in _tables(bounds, "fallbacks")]
        self.nice = _number(bounds, "nice", 0)
        self.steps = tuple(tuple(_texts({"steps": step}, "steps")) for step in _list(bounds, "steps"))
        if not self.argv or not self.argv[0]:
            raise OrderError("argv has no command")

    def _read_policy(self, policy: Table) -> None:
        """Read what only the runs of a schedule have; `keeps_output`: of good ones too, it says how tasks ended."""
        options = _table(policy, "options")
        self.log = _text(policy, "log_path", "")
        self.overlap = _text(options, "overlap", "allow")
        self.timeout_seconds = _number(options, "timeout_seconds", 0)
        self.keeps_output = bool(_number(options, "keeps_output", 0))


def read_order(directory: str, address: Address) -> Order:
    """Return the entry of an address; raise OrderError.

    The file and its directory must be root's (or our own, without root) and closed to other writers.
    """
    path = f"{directory}/{address.project}.json"
    table = _parse(_read_trusted(directory, path), path)
    if table.get("version") != _VERSION or table.get("project") != address.project:
        raise OrderError(f"{path} is not the file of {address.project}, or another shiftboss wrote it")
    for row in _tables(table, "entries"):
        if row.get("address") == address.entry:
            return Order(row)
    raise OrderError(f"{path} has no {address.entry}")


def read_paused(directory: str, address: Address) -> str:
    """Return by whom a schedule was paused, "" if it is not; raise OrderError. The file is as those of orders are."""
    path = f"{directory}/{address.project}.paused"
    try:
        table = _parse(_read_trusted(directory, path), path)
    except MissingError:
        return ""
    return _values(table, "paused").get(address.unit, "")


def _read_trusted(directory: str, path: str) -> bytes:
    try:
        _require_trusted(os.stat(directory), directory)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            _require_trusted(found, path)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
                raise OrderError(f"{path} is no file of a sensible size")
            return file.read(_MAX_BYTES) or b""
    except FileNotFoundError as error:
        raise MissingError(f"cannot read {path}: {error.strerror}") from None
    except OSError as error:
        raise OrderError(f"cannot read {path}: {error.strerror}") from None


def _require_trusted(found: os.stat_result, path: str) -> None:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise OrderError(f"{path} can be written by others than root: it is not trusted")


def _parse(raw: bytes, path: str) -> Table:
    try:
        value = _scan(raw.decode())
    except (ValueError, StopIteration, RecursionError, SystemError):  # the scanner's, without json.decoder
        raise OrderError(f"{path} is not valid JSON") from None
    if not isinstance(value, dict):
        raise OrderError(f"{path} is not a JSON object")
    return value


class _Terms:
    """What the scanner of CPython's `_json` asks of json.JSONDecoder."""

    strict, object_hook, object_pairs_hook, array_hook = True, None, None, None
    parse_float, parse_int, parse_constant = float, int, float


def _scan(text: str) -> object:
    try:
        from _json import make_scanner  # below Python's `json`: saves 5 ms
    except ImportError:
        import json

        return json.loads(text)
    text = text.strip()
    result: tuple[object, int] = make_scanner(_Terms)(text, 0)  # type: ignore[arg-type]  # typeshed's is wrong
    if result[1] != len(text):
        raise ValueError("something follows the value")
    return result[0]


def _wrong(name: str) -> OrderError:
    return OrderError(f"{name} is missing or has the wrong type")


def _text(row: Table, name: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if not isinstance(value, str) or "\0" in value:
        raise _wrong(name)
    return value


def _number(row: Table, name: str, default: int | None = None) -> int:
    value = row.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name)
    return value


def _seconds(row: Table, name: str, default: float) -> float:
    value = row.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _wrong(name)
    return value


def _list(row: Table, name: str) -> list[object]:
    value = row.get(name, [])
    if not isinstance(value, list):
        raise _wrong(name)
    return value


def _table(row: Table, name: str) -> Table:
    value = row.get(name, {})
    if not isinstance(value, dict):
        raise _wrong(name)
    return value


def _tables(row: Table, name: str) -> list[Table]:
    return [_table({name: inner}, name) for inner in _list(row, name)]


def _texts(row: Table, name: str) -> list[str]:
    return [_text({name: inner}, name) for inner in _list(row, name)]


def _numbers(row: Table, name: str) -> list[int]:
    return [_number({name: inner}, name) for inner in _list(row, name)]


def _values(row: Table, name: str) -> Values:
    return {key: _text({name: value}, name) for key, value in _table(row, name).items()}


def _pairs(row: Table, name: str) -> Pairs:
    pairs = {key: _numbers({name: value}, name) for key, value in _table(row, name).items()}
    if any(len(pair) != 2 for pair in pairs.values()):
        raise _wrong(name)
    return {key: (pair[0], pair[1]) for key, pair in pairs.items()}
