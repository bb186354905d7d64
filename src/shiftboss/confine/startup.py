"""What a keeper does once, before it serves: command line, lock, name, socket. Any of it may refuse."""

import fcntl
import os
import resource
import socket
from contextlib import suppress
from typing import NamedTuple

from shiftboss.confine.cgroup import Kind
from shiftboss.confine.ownership import NotOursError, check_owner

_USAGE = "usage: keeper --manifest DIR --state DIR --run DIR [--cgroups auto|v2|v1|none] -- ENGINE ARGUMENT…"
_CGROUPS: dict[str, tuple[Kind, ...]] = {"auto": ("v2", "v1"), "v2": ("v2",), "v1": ("v1",), "none": ()}


class CannotStartError(Exception):
    """The keeper cannot start; the text says why."""


class Options(NamedTuple):
    """The command line; paths are absolute."""

    manifest: str
    state: str
    run: str
    cgroups: tuple[Kind, ...]
    engine: list[str]


def parse_options(arguments: list[str]) -> Options:
    """Read the command line; raise ValueError with the usage."""  # argparse would cost 8 ms and 1 MB
    end = arguments.index("--") if "--" in arguments else len(arguments)
    values = {"--cgroups": "auto"} | dict(zip(arguments[:end:2], arguments[1:end:2], strict=False))
    known = {"--manifest", "--state", "--run", "--cgroups"}
    if end % 2 or values.keys() != known or values["--cgroups"] not in _CGROUPS or not arguments[end + 1 :]:
        raise ValueError(_USAGE)
    where, state, run = (os.path.abspath(values[name]) for name in ("--manifest", "--state", "--run"))
    return Options(where, state, run, _CGROUPS[values["--cgroups"]], arguments[end + 1 :])


def prepare_process() -> tuple[int, int]:
    """Take hold of nothing that was inherited; return the limit of open files that we were started with."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    os.closerange(3, 1 << 20)
    os.chdir("/")
    os.umask(0o022)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    return limits


def take_lock(directory: str) -> int:
    """Make the run directory and take `keeper.lock` in it; raise CannotStartError.

    (`lock` beside it is another's: of those who change what is to run.) A record lock (fcntl): a child between fork and exec does not inherit it, so none can hold it for a dead keeper.
    """
    try:
        os.makedirs(directory, 0o755, exist_ok=True)
        check_owner(os.stat(directory, follow_symlinks=False))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{directory}/keeper.lock", flags, 0o600)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStartError(f"another keeper runs on {directory}") from None
    except NotOursError as error:
        raise CannotStartError(f"{directory} {error}") from None
    except OSError as error:
        raise CannotStartError(f"cannot lock {directory}: {error.strerror}") from None
    with suppress(OSError):  # for people to read; a disk that is full stops no keeper
        write_file(f"{directory}/keeper.pid", f"{os.getpid()}\n")
    return descriptor


def read_instance(state: str) -> str:
    """Return the name of this installation, made at the first start; raise CannotStartError."""
    path = f"{state}/instance"
    try:
        os.makedirs(state, 0o755, exist_ok=True)
        if not os.path.exists(path):
            write_file(path, f"{os.urandom(4).hex()}\n")
        with open(path, encoding="ascii", errors="replace") as file:
            name = file.read(64).strip()
    except OSError as error:
        raise CannotStartError(f"cannot read or make {path}: {error.strerror}") from None
    if not name.isalnum():
        raise CannotStartError(f"{path} does not hold a name: remove it")
    return name


def listen(path: str) -> socket.socket:
    """Return the listening api socket, open to everybody: rights go by the peer. Raise CannotStartError."""
    before = os.umask(0o111)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(path)
        server.listen(128)
    except OSError as error:
        raise CannotStartError(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    return server


def write_file(path: str, text: str) -> None:
    """Replace a small file of ours; raise OSError."""
    with open(f"{path}~", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(f"{path}~", path)


def notify(text: str) -> None:
    """Tell systemd (sd_notify(3)) if it waits for that."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
