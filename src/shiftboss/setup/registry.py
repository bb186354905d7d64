"""Registering and forgetting projects."""

import os

from msgspec import Struct

from shiftboss.core.config import project_file
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.names import check_name
from shiftboss.core.plan import Plan, RemoveFile, WriteFile
from shiftboss.core.resolve import project_user
from shiftboss.core.spec import Site
from shiftboss.host.machine import Machine
from shiftboss.setup import edit
from shiftboss.setup.catalog import Catalog, project_path

_NOLOGIN = "/usr/sbin/nologin"


class Registration(Struct, frozen=True):
    """A project to register: where it lives and who runs it, where that differs from the layout."""

    name: str
    root: str | None = None
    user: str | None = None
    create_user: bool = False


def register(machine: Machine, site: Site, catalog: Catalog, wanted: Registration) -> Plan:
    """Return the plan that writes the file of a project, creating its user if that was asked.

    An existing file keeps everything that is not given. Raises UserError or HostError if directory or user
    are missing.
    """
    check_name(wanted.name, "project")
    entry = catalog.entry(wanted.name)
    path, before = project_path(site, wanted.name), entry.text if entry else None
    root = os.path.abspath(wanted.root) if wanted.root else None
    text = edit.set_keys(before or "", "project", {"root": root} if root else {})
    user = wanted.user or project_user(site, wanted.name, project_file(text, path).project)
    _require_directory(machine, root or f"{site.projects}/{wanted.name}", wanted.name)
    _require_user(machine, site, user, wanted)
    text = edit.set_keys(text, "project", {"user": user})
    return Plan() if text == before else Plan(actions=(WriteFile(wanted.name, path, text, before),))


def _require_directory(machine: Machine, root: str, name: str) -> None:
    facts = machine.files.stat(root)
    if facts is None or facts.type not in {"directory", "link"}:
        raise UserError(
            f"cannot add project {name}: there is no directory {root}",
            hint="Create it, or say where the project lives with --root DIR.",
        )


def _require_user(machine: Machine, site: Site, user: str, wanted: Registration) -> None:
    if machine.accounts.by_name(user) is not None:
        return
    if not wanted.create_user:
        raise HostError(
            f"cannot add project {wanted.name}: there is no user {user}",
            hint=f"Create it: shiftboss project add {wanted.name} --create-user (or name another one with --user).",
        )
    if not site.system:
        raise HostError(f"cannot create user {user}: only root can", hint="Run the command as root (sudo).")
    home = wanted.root or f"{site.projects}/{wanted.name}"
    argv = ("useradd", "--user-group", "--no-create-home", "--home-dir", home, "--shell", _NOLOGIN, user)
    ended = machine.commands.run(argv)
    if ended.status != 0:
        raise HostError(f"cannot create user {user}: {ended.stderr.strip()}", hint="See useradd(8).")


def forget(catalog: Catalog, name: str) -> Plan:
    """Return the plan that removes the file of a project that runs nothing any more; UserError if it still does."""
    entry = catalog.require(name)
    units = [*entry.tables.workers, *entry.tables.schedules]
    if units:
        raise UserError(
            f"project {name} still has units: {', '.join(units)}",
            hint=f"Remove them with it: shiftboss remove {name}",
        )
    return Plan(actions=(RemoveFile(name, entry.path, entry.text),))
