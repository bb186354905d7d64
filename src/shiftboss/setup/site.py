"""Which server this is: finds config.toml and turns it into a `Site`."""

import os
from collections.abc import Mapping

from msgspec.structs import replace

from shiftboss.core.config import site_file
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.resolve import make_site
from shiftboss.core.spec import Site
from shiftboss.core.tables import SiteFile
from shiftboss.host.ports import Accounts, Files

_SYSTEM_CONFIG = "/etc/shiftboss/config.toml"
_PLACES = ("config_file", "projects_d", "state", "run")
_SYSTEM = (_SYSTEM_CONFIG, "/etc/shiftboss/projects", "/var/lib/shiftboss", "/run/shiftboss")


def load_site(files: Files, accounts: Accounts, *, config: str | None, environ: Mapping[str, str]) -> Site:
    """Return this server as `config` (or SHIFTBOSS_CONFIG, or the usual config.toml) describes it.

    The usual file may be absent: then everything is as by default. A file that was named must exist. An ordinary
    user who has nothing of one's own gets the server of root, if its engine runs.
    """
    named = config or environ.get("SHIFTBOSS_CONFIG")
    defaults = _defaults(accounts, environ, os.path.abspath(named) if named else None)
    if not named and not defaults.system and not _is_furnished(files, defaults):
        servers = _server_of_root(files, defaults)
        if files.stat(servers.api_socket) is not None:
            return servers
    text = files.read(defaults.config_file)
    if text is None and named:
        raise UserError(
            f"cannot read {defaults.config_file}: there is no such file",
            hint="Create it, or leave out --config and SHIFTBOSS_CONFIG to use the usual one.",
        )
    tables = site_file(text, defaults.config_file) if text is not None else SiteFile()
    return make_site(tables, config_file=defaults.config_file, defaults=defaults)


def is_guest(files: Files, accounts: Accounts, site: Site) -> bool:
    """Tell whether the engine of this server is somebody else's: then it must be asked for everything."""
    own = accounts.own()
    if own.uid == 0:
        return False
    try:
        socket = files.stat(site.api_socket)
    except HostError:  # a closed directory: whatever is in there is not for us to ask
        return False
    return socket is not None and socket.uid != own.uid


def _is_furnished(files: Files, site: Site) -> bool:
    """Tell whether a user has a shiftboss of one's own."""
    try:
        return any(files.stat(path) for path in (site.config_file, site.projects_d, site.api_socket))
    except HostError:  # the home directory of somebody else, as `sudo -u` leaves it
        return False


def _server_of_root(files: Files, own: Site) -> Site:
    """Return the server that root set up, as far as it may be read."""
    defaults = replace(own, **dict(zip(_PLACES, _SYSTEM, strict=True)), user="{project}_user")
    try:
        text = files.read(_SYSTEM_CONFIG)
        return make_site(site_file(text or "", _SYSTEM_CONFIG), config_file=_SYSTEM_CONFIG, defaults=defaults)
    except ShiftbossError:  # root's alone to read, or to mend
        return defaults


def _defaults(accounts: Accounts, environ: Mapping[str, str], named: str | None) -> Site:
    own = accounts.own()
    system = own.uid == 0
    home = environ.get("HOME") or own.home
    usual = _SYSTEM if system or named == _SYSTEM_CONFIG else _xdg_places(home, environ)
    if named and named != usual[0]:
        # it brings everything with it, so that it can stand beside a live system
        base = os.path.dirname(named)
        places = (named, f"{base}/projects", f"{base}/state", f"{base}/run")
    else:
        places = usual
    return Site(
        *places,
        projects="/infra/projects",
        logs="/infra/logs/projects",
        user="{project}_user" if system else own.name,
        system=system,
    )


def _xdg_places(home: str, environ: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Return config file, project files, state and run directory of an ordinary user (XDG base directories)."""
    config = (environ.get("XDG_CONFIG_HOME") or f"{home}/.config") + "/shiftboss"
    state = (environ.get("XDG_STATE_HOME") or f"{home}/.local/state") + "/shiftboss"
    runtime = environ.get("XDG_RUNTIME_DIR")
    return (
        f"{config}/config.toml",
        f"{config}/projects",
        state,
        f"{runtime}/shiftboss" if runtime else f"{state}/run",
    )
