"""A program file as Supervisor itself will read it: its grammar and its types, written anew from its source.

The rules are those of `supervisor/options.py` and `supervisor/datatypes.py`, 4.2.5 to 4.4: an INI file with
inline comments, Python's `%` expansion, words as a shell splits them. Only the options that we write are
known; any other is refused, because Supervisor would pass over a misspelt one without a word.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from typing import TypeVar

from msgspec import Struct

# XML-RPC integers have 32 bits: a larger one in any program makes `supervisorctl avail` fail for all of them
MAX_INTEGER = 2**31 - 1
# Linux, Python 3.7 and later (`signal.Signals`), without the synonyms CLD, IOT and POLL
_SIGNAL = re.compile(
    "ABRT|ALRM|BUS|CHLD|CONT|FPE|HUP|ILL|INT|IO|KILL|PIPE|PROF|PWR|QUIT|SEGV|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|"
    "URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ"
)
_TRUE, _FALSE = frozenset({"yes", "true", "on", "1"}), frozenset({"no", "false", "off", "0"})
_SIZE = re.compile(r"(?P<number>\d+)(?P<unit>|kb|mb|gb)")
_UNITS = {"": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
T = TypeVar("T")
_HERE = "%(here)s"


class NotReadableError(ValueError):
    """Supervisor would refuse the file, with it every other one, or would not do what it says."""


class Program(Struct, frozen=True):
    """One `[program:x]` section as the daemon understands it. `user` is empty where none is given."""

    name: str
    processes: tuple[str, ...]
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str
    user: str
    start_seconds: int
    start_retries: int
    stop_signal: str
    stop_wait_seconds: int
    stop_as_group: bool
    kill_as_group: bool
    log: str
    log_max_bytes: int
    log_backups: int
    autostart: bool = True
    autorestart: str = "true"
    redirect_stderr: bool = True


def read_program(text: str) -> Program:
    """Return the program of a file in the include directory; raise NotReadableError if it is not just one."""
    name, raw = _section(text)
    expansions: dict[str, object] = {
        "here": "/",
        "program_name": name,
        "group_name": name,
        "host_node_name": "host",
    }
    options = _Options(raw, expansions)
    count = options.read("numprocs", _count)
    expansions.update(process_num=0, numprocs=count)
    program = Program(
        name=name,
        processes=_process_names(options.raw("process_name"), name, count),
        argv=options.read("command", _words),
        environment=options.read("environment", _environment),
        directory=options.read("directory", str),
        user=options.read("user", _user) if "user" in raw else "",
        start_seconds=options.read("startsecs", _integer),
        start_retries=options.read("startretries", _integer),
        stop_signal=options.read("stopsignal", _signal),
        stop_wait_seconds=options.read("stopwaitsecs", _integer),
        stop_as_group=options.read("stopasgroup", _boolean),
        kill_as_group=options.read("killasgroup", _boolean),
        log=options.read_twice_expanded("stdout_logfile", _absolute),
        log_max_bytes=options.read("stdout_logfile_maxbytes", _byte_size),
        log_backups=options.read("stdout_logfile_backups", _integer),
        autostart=options.read("autostart", _boolean),
        autorestart=options.read("autorestart", _autorestart),
        redirect_stderr=options.read("redirect_stderr", _boolean),
    )
    options.refuse_unread()
    if program.stop_as_group and not program.kill_as_group:
        raise NotReadableError("stopasgroup=true and killasgroup=false exclude each other")
    return program


class _Options:
    """The options of a section: expanded and converted when they are read, and whether all were."""

    def __init__(self, raw: Mapping[str, str], expansions: Mapping[str, object]) -> None:
        self._raw = raw
        self._expansions = expansions
        self._unread = set(raw)

    def raw(self, option: str) -> str:
        self._unread.discard(option)
        try:
            return self._raw[option]
        except KeyError:
            raise NotReadableError(f"it has no {option}") from None

    def read(self, option: str, convert: Callable[[str], T]) -> T:
        return _read(option, _expand(self.raw(option), self._expansions), convert)

    def read_twice_expanded(self, option: str, convert: Callable[[str], T]) -> T:
        once = _expand(self.raw(option), self._expansions)
        return _read(option, _expand(once, self._expansions), convert)

    def refuse_unread(self) -> None:
        if self._unread:
            raise NotReadableError(f"it has an option that we do not write: {min(self._unread)}")


def _read(option: str, text: str, convert: Callable[[str], T]) -> T:
    try:
        return convert(text)
    except NotReadableError as error:
        raise NotReadableError(f"{option}: {error}") from None


def _expand(text: str, expansions: Mapping[str, object]) -> str:
    try:
        return text % expansions
    except (KeyError, TypeError, ValueError) as error:
        raise NotReadableError(f"a % that stands for nothing ({error})") from None


def _section(text: str) -> tuple[str, dict[str, str]]:
    """Return name and raw options of the only section, lines as a text file in Python has them."""
    parser = RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        parser.read_string(text.replace("\r\n", "\n").replace("\r", "\n"))
    except ConfigParserError as error:
        raise NotReadableError(f"it is no INI file ({type(error).__name__})") from None
    if len(parser.sections()) != 1 or parser.defaults():
        raise NotReadableError("it must have one section")
    section = parser.sections()[0]
    kind, _, name = section.partition(":")
    if kind != "program" or not name or any(mark in name for mark in " :/"):
        raise NotReadableError(f"[{section}] is not the section of a program")
    # Supervisor puts the directory of an included file in for %(here)s before it looks at `%%`
    return name, {option: value.replace(_HERE, "/here") for option, value in parser.items(section)}


def _process_names(pattern: str, program: str, count: int) -> tuple[str, ...]:
    if count > 1 and "%(process_num)" not in pattern:
        raise NotReadableError("process_name must contain %(process_num) when numprocs is more than 1")
    known = {"program_name": program, "group_name": program}
    names = tuple(_expand(pattern, {**known, "process_num": number}) for number in range(count))
    if len(set(names)) < count or any(mark in name for name in names for mark in " :/"):
        raise NotReadableError("process_name gives a name twice, or one with a blank, : or /")
    return names


def _words(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise NotReadableError(str(error)) from None
    if not words:
        raise NotReadableError("it is empty")
    return tuple(words)


def _environment(text: str) -> tuple[tuple[str, str], ...]:
    """Return the variables if 4.3 and earlier (no escapes) and 4.4 (POSIX quotes) read the same."""
    legacy = [(name, value.strip("'\"")) for name, value in _pairs(text, posix=False)]
    if legacy != _pairs(text, posix=True):
        raise NotReadableError("Supervisor 4.4 reads the quotes otherwise than 4.3")
    if len(dict(legacy)) < len(legacy):
        raise NotReadableError("a variable is given twice")
    return tuple(legacy)


def _pairs(text: str, *, posix: bool) -> list[tuple[str, str]]:
    lexer = shlex.shlex(text, posix=posix)
    lexer.wordchars += "/.+-():"
    try:
        tokens = list(lexer)
    except ValueError as error:
        raise NotReadableError(str(error)) from None
    pairs = []
    for start in range(0, len(tokens), 4):  # Supervisor does not look at the fourth, which should be a comma
        match tokens[start : start + 4]:
            case [name, "=", value] | [name, "=", value, ","]:
                pairs.append((name, value))
            case _:
                raise NotReadableError("it is no list of KEY=value")
    return pairs


def _integer(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > MAX_INTEGER:
        raise NotReadableError(f"{text!r} is not a number up to {MAX_INTEGER}")
    return int(text)


def _count(text: str) -> int:
    if _integer(text) < 1:
        raise NotReadableError("no process at all")
    return _integer(text)


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise NotReadableError(f"{text!r} is neither true nor false")
    return text.lower() in _TRUE


def _autorestart(text: str) -> str:
    if text.lower() == "unexpected":
        return "unexpected"
    return "true" if _boolean(text) else "false"


def _byte_size(text: str) -> int:
    found = _SIZE.fullmatch(text.lower())
    size = int(found["number"]) * _UNITS[found["unit"]] if found else -1
    if not 0 <= size <= MAX_INTEGER:
        raise NotReadableError(f"{text!r} is not a size up to {MAX_INTEGER} bytes")
    return size


def is_signal(name: str) -> bool:
    """Tell whether Supervisor takes `name` (without SIG) for a signal."""
    return _SIGNAL.fullmatch(name) is not None


def _signal(text: str) -> str:
    name = text.strip().upper().removeprefix("SIG")
    if not is_signal(name):
        raise NotReadableError(f"{text!r} is not a signal")
    return name


def _user(text: str) -> str:
    """Return a user name; Supervisor takes anything that Python takes for a number as a uid."""
    if not text or re.fullmatch(r"[-+\d_]+", text):
        raise NotReadableError(f"{text!r} would be read as a uid")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise NotReadableError(f"{text!r} is not an absolute path")
    return text
