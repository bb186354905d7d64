"""Registering and forgetting projects."""

import os
import re
from typing import NamedTuple

from msgspec import Struct

from shiftboss.core.config import project_file
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.names import check_name
from shiftboss.core.plan import Action, CreateUser, FurnishDirectory, Plan, RemoveFile, WriteFile, merge
from shiftboss.core.resolve import project_user
from shiftboss.core.spec import Account, Site
from shiftboss.host.machine import Machine
from shiftboss.setup import edit
from shiftboss.setup.catalog import Catalog, load_catalog, project_path
from shiftboss.setup.file_changes import mode_of
from shiftboss.setup.outlying import plan_outlying

# closed to others: the web server's user is let in by making it a member of the project's group
_CODE_MODE, _SHARED_MODE, _LOGS_MODE = 0o750, 0o2770, 0o2750
_USER = re.compile(r"(?![0-9]+$)[a-z0-9_][a-z0-9_-]{0,31}")


class Registration(Struct, frozen=True):
    """A project to register: where it lives and who runs it, where that differs from the layout."""

    name: str
    root: str | None = None
    user: str | None = None
    create_user: bool = False


def register(machine: Machine, site: Site, catalog: Catalog, wanted: Registration) -> Plan:
    """Return the plan that writes the file of a project; with `create_user` also its user and directories.

    An existing file keeps everything that is not given, an existing directory its owner and mode. Raises
    UserError or HostError if directory or user are missing, or if the user cannot be had.
    """
    check_name(wanted.name, "project")
    entry = catalog.entry(wanted.name)
    path, before = project_path(site, wanted.name), entry.text if entry else None
    text = before or ""
    if wanted.root:
        text = edit.set_keys(text, "project", {"root": os.path.abspath(wanted.root)})
    table = project_file(text, path).project
    root = (table.root or f"{site.projects}/{wanted.name}").rstrip("/") or "/"
    user = wanted.user or project_user(site, wanted.name, table)
    if wanted.create_user:
        logs = (table.logs or f"{site.logs}/{wanted.name}").rstrip("/")
        made = _furnished(machine, site, Place(wanted.name, root, logs, user))
    else:
        _require_directory(machine, root, wanted.name)
        _require_user(machine, user, wanted.name)
        made = ()
    text = edit.set_keys(text, "project", {"user": user})
    outlying = plan_outlying(machine, site, catalog, wanted.name, project_file(text, path))
    if text == before:
        return merge((Plan(actions=made), outlying))
    write = WriteFile(wanted.name, path, text, before, mode_of(machine.files, path))
    return merge((Plan(actions=(*made, write)), outlying))


def _require_directory(machine: Machine, root: str, name: str) -> None:
    facts = machine.files.stat(root)
    if facts is None or facts.type not in {"directory", "link"}:
        raise UserError(
            f"cannot add project {name}: there is no directory {root}",
            hint="Create it, or say where the project lives with --root DIR; --create-user makes it with the user.",
        )


def _require_user(machine: Machine, user: str, name: str) -> None:
    if machine.accounts.by_name(user) is None:
        raise HostError(
            f"cannot add project {name}: there is no user {user}",
            hint=f"Create it: shiftboss project add {name} --create-user (or name another one with --user).",
        )


class Place(NamedTuple):
    """Where a project lives, where it logs, and the name of its user."""

    name: str
    root: str
    logs: str
    user: str


def _furnished(machine: Machine, site: Site, place: Place) -> tuple[Action, ...]:
    """Return the actions that make the user and the directories that are not there yet."""
    if not site.system:
        raise HostError(
            f"cannot create user {place.user}: only root can", hint="Run the command as root (sudo)."
        )
    account = machine.accounts.by_name(place.user)
    users = (_new_user(machine, place),) if account is None else ()
    if account is not None:
        _require_own(account, place)
    for path in (place.root, place.logs):
        _require_no_file(machine, path, place.name)
    return (*users, *(d for d in _directories(place) if machine.files.stat(d.path) is None))


def _new_user(machine: Machine, place: Place) -> CreateUser:
    if not _USER.fullmatch(place.user):
        raise UserError(
            f"cannot create user {place.user!r:.60}: that is no name for one",
            hint="A name has 1 to 32 characters: a-z, 0-9, - and _, and is no number (useradd(8)).",
        )
    if any(group.name == place.user for group in machine.accounts.all_groups()):
        # never joined: it may be a group that opens doors (sudo, docker)
        raise HostError(
            f"cannot create user {place.user}: there is a group of that name already, and no such user",
            hint=f"Name another user with --user; if the group is a leftover, remove it: groupdel {place.user}",
        )
    return CreateUser(place.name, place.user, place.root)


def _require_own(account: Account, place: Place) -> None:
    """Refuse an account that was made for something else."""
    if account.uid == 0:
        raise UserError(
            f"cannot make {account.name} the user of project {place.name}: it is root",
            hint="Name another one with --user; nothing of a project should run as root.",
        )
    if os.path.normpath(account.home) != os.path.normpath(place.root):
        raise HostError(
            f"cannot create user {account.name}: it exists already, with the home {account.home}",
            hint=f"Name another one with --user, or use this one as it is: leave out --create-user "
            f"(its home would have to be {place.root}).",
        )


def _require_no_file(machine: Machine, path: str, name: str) -> None:
    facts = machine.files.stat(path)
    if facts is not None and facts.type not in {"directory", "link"}:
        raise HostError(
            f"cannot add project {name}: {path} is no directory",
            hint=f"Look at it (ls -ld {path}) and move it away.",
        )


def _directories(place: Place) -> tuple[FurnishDirectory, ...]:
    """Name the directories of a project: code is root's and read by the group, `shared` is the project's to write."""
    return (
        FurnishDirectory(place.name, place.root, "", place.user, _CODE_MODE),
        FurnishDirectory(place.name, f"{place.root}/releases", "", place.user, _CODE_MODE),
        FurnishDirectory(place.name, f"{place.root}/shared", place.user, place.user, _SHARED_MODE),
        FurnishDirectory(place.name, place.logs, "", place.user, _LOGS_MODE),
    )


class Left(NamedTuple):
    """What stays of a project that was forgotten, as far as it is there."""

    user: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        user = f"the user {self.user}" if self.user else ""
        return ", ".join(filter(None, (user, *self.places)))


def left_of(machine: Machine, site: Site, catalog: Catalog, name: str) -> Left:
    """Return what `forget` leaves where it is: it is somebody's data, and only its owner may remove it."""
    table = catalog.require(name).tables.project
    user = project_user(site, name, table)
    places = (table.root or f"{site.projects}/{name}", table.logs or f"{site.logs}/{name}")
    there = tuple(path for path in places if machine.files.stat(path) is not None)
    return Left(user if machine.accounts.by_name(user) else "", there)


def next_step(machine: Machine, site: Site, name: str) -> str:
    """Return what to do after a project was registered: the command, or what it still needs before that."""
    tables = load_catalog(machine.files, site).require(name).tables
    current = f"{tables.project.root or f'{site.projects}/{name}'}/current"
    if machine.files.real_path(current) is not None:
        return f"shiftboss setup {name}"
    return f"deploy a release and let {current} lead to it, then: shiftboss setup {name}"


def forget(machine: Machine, site: Site, catalog: Catalog, name: str) -> Plan:
    """Return the plan that removes the file of a project that runs nothing any more; UserError if it still does."""
    entry = catalog.require(name)
    units = [*entry.tables.workers, *entry.tables.schedules]
    if units:
        raise UserError(
            f"project {name} still has units: {', '.join(units)}",
            hint=f"Remove them with it: shiftboss remove {name}",
        )
    own = Plan(actions=(RemoveFile(name, entry.path, entry.text),))
    return merge((own, plan_outlying(machine, site, catalog, name)))
