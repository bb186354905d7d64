"""Where the server's own Supervisor is: its address and its include directory, from its supervisord.conf.

The file is read by Supervisor's rules (`supervisor/options.py`): inline comments, `%(here)s`, `%(ENV_X)s`,
include globs relative to the file. It belongs to root; nothing of a project is read here.
"""

import fnmatch
import glob
import os
import platform
from collections.abc import Callable, Iterator
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.spec import SupervisorSite

# Debian's package, then the usual place of a Supervisor from PyPI
USUAL_FILES = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf")
_ANY_HOST = frozenset({"", "*", "0.0.0.0"})  # noqa: S104 - what a server listens on, not what we bind
_HASHED = "{SHA}"
_PROBE = "project_worker.conf"
_INSTALL = (
    "Install it: apt-get install supervisor. If it is there with another configuration file, name that under "
    "[supervisor] conf_file in config.toml."
)


def locate(site: SupervisorSite, *, usual_files: tuple[str, ...] = USUAL_FILES) -> SupervisorSite:
    """Return `site` with server, login and include directory filled in from the server's supervisord.conf.

    What `site` says holds; with both `server` and `conf_dir` given, no file is looked for. Raises HostError
    if there is no such file, if it cannot be read or has no HTTP server, or if `conf_dir` does not exist or
    is not included; UserError if `server` is no address. A located site is returned as it is.
    """
    if site.server:
        check_server(site.server)
    if not site.conf_file and site.server and site.conf_dir:
        return replace(site, conf_dir=_existing(site.conf_dir))
    conf = _read(site.conf_file or _usual_file(usual_files))
    conf_dir = (
        _covered(conf, _existing(site.conf_dir)) if site.conf_dir else _existing(_include_directory(conf))
    )
    server = _server(conf, site)
    return replace(
        site,
        conf_file=conf.path,
        conf_dir=conf_dir,
        server=server.url,
        username=site.username or server.username,
        password=site.password or server.password,
    )


def check_server(server: str) -> None:
    """Raise UserError if `server` is not an address that Supervisor can have. It is not shown: see `@`."""
    if server.startswith("unix:///") or _is_http_address(server):
        return
    raise UserError(
        "cannot use that address of Supervisor: it is neither unix:///PATH nor http://HOST:PORT",
        hint='Under [supervisor] in config.toml, for example: server = "unix:///var/run/supervisor.sock". '
        "username and password are settings of their own.",
    )


def _is_http_address(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return parts.scheme == "http" and bool(parts.hostname and parts.port) and "@" not in parts.netloc
    except ValueError:  # a port that is no number, brackets that do not close
        return False


class _Server(Struct, frozen=True):
    url: str
    username: str = ""
    password: str = ""


class _Conf(Struct, frozen=True):
    """A supervisord.conf that was read. `includes` are absolute globs."""

    path: str
    parser: RawConfigParser

    @property
    def here(self) -> str:
        return os.path.dirname(self.path)

    def get(self, section: str, option: str) -> str:
        """Return the expanded value, an empty string if there is none."""
        raw = self.parser.get(section, option, fallback="")
        known = {"here": self.here, "host_node_name": platform.node()}
        known |= {f"ENV_{name}": value for name, value in os.environ.items()}
        try:
            return raw % known
        except (KeyError, TypeError, ValueError) as error:
            raise HostError(
                f"cannot read {option} of [{section}] in {self.path}: it has a % that stands for nothing here",
                hint="Name server, username, password and conf_dir under [supervisor] in config.toml.",
            ) from error

    @property
    def includes(self) -> tuple[str, ...]:
        return tuple(os.path.join(self.here, pattern) for pattern in self.get("include", "files").split())


def _usual_file(usual_files: tuple[str, ...]) -> str:
    for path in usual_files:
        if os.path.exists(path):
            return path
    raise HostError(f"cannot find Supervisor: there is no {usual_files[0]}", hint=_INSTALL)


def _read(path: str) -> _Conf:
    parser = RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            parser.read_file(file)
    except FileNotFoundError as error:
        raise HostError(f"cannot read {path}: there is no such file", hint=_INSTALL) from error
    except OSError as error:
        raise HostError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="Run the command as root (sudo).",
        ) from error
    except ConfigParserError as error:
        raise HostError(
            f"cannot read {path}: it is no supervisord.conf ({type(error).__name__})",
            hint="Correct it; supervisord itself names the line: supervisord -n -c FILE",
        ) from error
    return _Conf(os.path.abspath(path), parser)


def _server(conf: _Conf, site: SupervisorSite) -> _Server:
    """Return the HTTP server that is meant: the one of `site`, else the first unix socket, else the first port."""
    servers = list(_servers(conf))
    if not servers:
        _read_includes(conf)
        servers = list(_servers(conf))
    if site.server:
        found = next((server for server in servers if server.url == site.server), _Server(site.server))
    elif servers:
        found = servers[0]
    else:
        raise HostError(
            f"cannot talk to Supervisor: {conf.path} has no [unix_http_server]",
            hint="Add it with file=/var/run/supervisor.sock and chmod=0700, then restart Supervisor.",
        )
    return found if site.password or not found.password.startswith(_HASHED) else _plain_login(conf, found)


def _servers(conf: _Conf) -> Iterator[_Server]:
    kinds: tuple[tuple[str, Callable[[_Conf, str], str]], ...] = (
        ("unix_http_server", _unix_url),
        ("inet_http_server", _inet_url),
    )
    for kind, url in kinds:
        for section in conf.parser.sections():
            if section.partition(":")[0] == kind:
                yield _Server(
                    url(conf, section), conf.get(section, "username"), conf.get(section, "password")
                )


def _unix_url(conf: _Conf, section: str) -> str:
    path = os.path.expanduser(conf.get(section, "file"))
    return f"unix://{os.path.normpath(os.path.join(conf.here, path))}"


def _inet_url(conf: _Conf, section: str) -> str:
    host, _, port = conf.get(section, "port").rpartition(":")
    return f"http://{'127.0.0.1' if host in _ANY_HOST else host}:{port}"


def _read_includes(conf: _Conf) -> None:
    """Read the included files too: a server may stand there. Broken ones are Supervisor's own business."""
    for pattern in conf.includes:
        for path in sorted(glob.glob(pattern)):
            try:
                conf.parser.read(path, encoding="utf-8")
            except (OSError, UnicodeDecodeError, ConfigParserError):
                continue


def _plain_login(conf: _Conf, server: _Server) -> _Server:
    """The server keeps only a hash of its password; supervisorctl's own section may have it in plain text."""
    password = conf.get("supervisorctl", "password")
    if not password:
        raise HostError(
            f"cannot log in to Supervisor: {conf.path} has only a hash of the password",
            hint="Set username and password under [supervisor] in config.toml.",
        )
    return replace(server, username=conf.get("supervisorctl", "username"), password=password)


def _include_directory(conf: _Conf) -> str:
    for pattern in conf.includes:
        directory, name = os.path.split(pattern)
        if fnmatch.fnmatchcase(_PROBE, name) and not glob.has_magic(directory):
            return directory
    raise HostError(
        f"cannot tell where Supervisor reads programs: {conf.path} includes no *.conf of a directory",
        hint="Add a section [include] with files = /etc/supervisor/conf.d/*.conf to it, then restart Supervisor.",
    )


def _existing(conf_dir: str) -> str:
    if os.path.isdir(conf_dir):
        return os.path.abspath(conf_dir)
    raise HostError(
        f"cannot use {conf_dir} for Supervisor's programs: there is no such directory",
        hint=f"Create it (mkdir -p {conf_dir}), or correct [supervisor] conf_dir in config.toml.",
    )


def _covered(conf: _Conf, conf_dir: str) -> str:
    """Return `conf_dir` if files in it are read by this Supervisor."""
    for pattern in conf.includes:
        directory, name = os.path.split(pattern)
        places = {os.path.realpath(place) for place in glob.glob(directory)}
        if os.path.realpath(conf_dir) in places and fnmatch.fnmatchcase(_PROBE, name):
            return conf_dir
    raise HostError(
        f"cannot use {conf_dir} for Supervisor's programs: [include] in {conf.path} does not name it",
        hint=f"Add {conf_dir}/*.conf to [include] files there and restart Supervisor, or correct [supervisor] "
        "conf_dir in config.toml.",
    )
