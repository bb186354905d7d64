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
from shiftboss.setup.file_changes import mode_of

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
    text = before or ""
    if wanted.root:
        text = edit.set_keys(text, "project", {"root": os.path.abspath(wanted.root)})
    table = project_file(text, path).project
    root, user = (
        table.root or f"{site.projects}/{wanted.name}",
        wanted.user or project_user(site, wanted.name, table),
    )
    _require_directory(machine, root, wanted.name)
    _require_user(machine, site, user, root, wanted)
    text = edit.set_keys(text, "project", {"user": user})
    if text == before:
        return Plan()
    return Plan(actions=(WriteFile(wanted.name, path, text, before, mode_of(machine.files, path)),))


def _require_directory(machine: Machine, root: str, name: str) -> None:
    facts = machine.files.stat(root)
    if facts is None or facts.type not in {"directory", "link"}:
        raise UserError(
            f"cannot add project {name}: there is no directory {root}",
            hint="Create it, or say where the project lives with --root DIR.",
        )


def _require_user(machine: Machine, site: Site, user: str, root: str, wanted: Registration) -> None:
    if machine.accounts.by_name(user) is not None:
        return
    if not wanted.create_user:
        raise HostError(
            f"cannot add project {wanted.name}: there is no user {user}",
            hint=f"Create it: shiftboss project add {wanted.name} --create-user (or name another one with --user).",
        )
    if not site.system:
        raise HostError(f"cannot create user {user}: only root can", hint="Run the command as root (sudo).")
    options = ("--user-group", "--no-create-home", "--home-dir", root, "--shell", _NOLOGIN)
    argv = ("useradd", *options, "--", user)
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
