"""From a project file to what is wanted: accounts, interpreters and releases of this machine filled in."""

import os
from collections.abc import Iterable
from functools import cached_property
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.backends.kinds import KINDS
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.expand import expand_schedule, expand_worker, programs_needed, search_path
from shiftboss.core.names import suggest
from shiftboss.core.preset import Preset
from shiftboss.core.release import ReleaseFacts
from shiftboss.core.resolve import make_project, project_user
from shiftboss.core.self_service import check_bounds
from shiftboss.core.spec import Account, People, Project, Schedule, Site, Unit, UnitKind, Worker
from shiftboss.core.staleness import is_inside
from shiftboss.core.tables import ProjectFile, ScheduleTable, WorkerTable
from shiftboss.host.machine import Machine
from shiftboss.setup.catalog import Entry
from shiftboss.setup.detect import load_preset, read_release

TableOfUnit = TypeVar("TableOfUnit", WorkerTable, ScheduleTable)


class Resolved(Struct, frozen=True):
    """A project and all its units, ready for the backends."""

    project: Project
    units: tuple[Unit, ...]
    released: frozenset[str] = frozenset()

    def unit(self, name: str) -> Unit:
        """Return a unit by its name; raise UserError if the project has none of that name."""
        for unit in self.units:
            if unit.name == name:
                return unit
        raise unknown_unit(self.project.name, name, [unit.name for unit in self.units])


def unknown_unit(project: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a unit that a project does not have."""
    names = list(known)
    return UserError(
        f"{project} has no worker or schedule '{name}'{suggest(name, names)}",
        hint=f"It has: {', '.join(names)}." if names else f"Add one: shiftboss setup {project}",
    )


def resolve_project(machine: Machine, site: Site, name: str, tables: ProjectFile) -> Project:
    """Return the project with its Unix account; raise HostError if there is no such account."""
    user = project_user(site, name, tables.project)
    account = machine.accounts.by_name(user)
    if account is None:
        raise HostError(
            f"the user {user} of project {name} does not exist",
            hint=f"Create it: shiftboss project add {name} --create-user (or name another one with --user).",
        )
    return make_project(site, name, tables.project, account)


def _people(machine: Machine, names: Iterable[str], where: str) -> People:
    """Return the numbers of users and groups (`@group`) that a project file names; raise UserError for a stranger."""
    users, groups = set(), set()
    for name in names:
        if name.startswith("@"):
            groups.add(_group_id(machine, name[1:], where))
        else:
            users.add(_user_id(machine, name, where))
    return People(tuple(sorted(users)), tuple(sorted(groups)))


def _user_id(machine: Machine, name: str, where: str) -> int:
    account = machine.accounts.by_name(name)
    if account is None:
        group = f" A group is written with @: @{name}." if machine.accounts.group(name) is not None else ""
        raise UserError(
            f"there is no user {name!r:.60}",
            where=where,
            hint=f"Create the user, or take the name out.{group}",
        )
    return account.uid


def _group_id(machine: Machine, name: str, where: str) -> int:
    gid = machine.accounts.group(name)
    if gid is None:
        raise UserError(
            f"there is no group {name!r:.60}", where=where, hint="Create the group, or take the name out."
        )
    return gid


def forgotten_project(machine: Machine, site: Site, name: str, tables: ProjectFile) -> Project:
    """Return the project even if its account is gone: enough to remove what runs there."""
    user = project_user(site, name, tables.project)
    account = machine.accounts.by_name(user) or Account(user, -1, -1, user, "/")
    return make_project(site, name, tables.project, account)


def require_release(machine: Machine, project: Project) -> str:
    """Return the directory that `current` leads to; raise HostError if there is no release to run."""
    if machine.files.stat(project.root) is None:
        raise UserError(
            f"unknown project '{project.name}': there is no directory {project.root}",
            hint="Check the name, or say where it lives: shiftboss project add "
            f"{project.name} --root DIR (layout.projects in config.toml is where projects are looked for).",
        )
    release = machine.files.real_path(project.current)
    if release is None:
        raise HostError(
            f"project {project.name} has no release yet: {project.current} does not exist",
            hint="Deploy it first: `current` must be a link to the release that is live.",
        )
    return release


def resolve(machine: Machine, site: Site, name: str, entry: Entry) -> Resolved:
    """Return everything a project file wants. Raises UserError or HostError that names what is missing."""
    project = replace(
        resolve_project(machine, site, name, entry.tables),
        operators=_people(machine, entry.tables.project.operators, f"{entry.path}: project.operators"),
        viewers=_people(machine, entry.tables.project.viewers, f"{entry.path}: project.viewers"),
    )
    expander = _Expander(machine, site, project, entry)
    workers = (expander.worker(unit, table) for unit, table in entry.tables.workers.items())
    schedules = (expander.schedule(unit, table) for unit, table in entry.tables.schedules.items())
    units: tuple[Unit, ...] = (*workers, *schedules)
    if entry.released:
        check_bounds(units, entry.released, entry.own, entry.offer)
    return Resolved(project, units, entry.released)


class _Expander:
    """Makes units of one project from their tables: presets, release and programs looked up on the way."""

    def __init__(self, machine: Machine, site: Site, project: Project, entry: Entry) -> None:
        self.machine, self.site, self.project, self.entry = machine, site, project, entry

    def worker(self, name: str, table: WorkerTable) -> Worker:
        where, table = self._placed("workers", name, table)
        preset, facts, programs = self._needs(name, table, where)
        backend = known_backend(table.backend or self.site.worker_backend, "worker", where)
        return expand_worker(name, table, preset, self.project, facts, programs, where, backend)

    def schedule(self, name: str, table: ScheduleTable) -> Schedule:
        where, table = self._placed("schedules", name, table)
        preset, facts, programs = self._needs(name, table, where)
        backend = known_backend(table.backend or self.site.schedule_backend, "schedule", where)
        return expand_schedule(name, table, preset, self.project, facts, programs, where, backend)

    def _placed(self, section: str, name: str, table: TableOfUnit) -> tuple[str, TableOfUnit]:
        """Return where a unit's table stands, and the table with the isolation that holds for the whole project."""
        file = self.entry.offer if name in self.entry.released else self.entry.path
        level = table.isolation or self.entry.own.project.isolation
        return f"{file}: {section}.{name}", replace(table, isolation=level)

    @cached_property
    def _facts(self) -> ReleaseFacts:
        return read_release(self.machine.files, self.project.account, self.project.current)

    def programs(self) -> dict[str, str]:
        """Return every program that the units need and that can be found."""
        found: dict[str, str] = {}
        for name, table in self.entry.tables.workers.items():
            found |= self._needs(name, table, f"{self.entry.path}: workers.{name}")[2]
        for name, schedule in self.entry.tables.schedules.items():
            found |= self._needs(name, schedule, f"{self.entry.path}: schedules.{name}")[2]
        return found

    def _needs(
        self, name: str, table: WorkerTable | ScheduleTable, where: str
    ) -> tuple[Preset | None, ReleaseFacts, dict[str, str]]:
        preset = load_preset(table.preset, f"{where}.preset") if table.preset else None
        facts = self._facts
        words = programs_needed(name, table, preset, facts, where)
        return preset, facts, find_programs(self.machine, self.project, self.entry.tables, facts, words)


# what a project is pinned to: the program, not the version manager's link of the day
_INTERPRETERS = frozenset({"php", "node", "npm", "python", "python3", "ruby", "bundle"})


def interpreter_pins(machine: Machine, site: Site, name: str, entry: Entry) -> dict[str, str]:
    """Return the interpreters that units of a project use and its file does not pin yet.

    Those inside the project (a virtualenv) are not pinned: they come with each release.
    """
    project = resolve_project(machine, site, name, entry.tables)
    expander = _Expander(machine, site, project, entry)
    return {
        word: program
        for word, program in expander.programs().items()
        if word in _INTERPRETERS - entry.tables.project.interpreters.keys()
        and not is_inside(program, project.root)
    }


def find_programs(
    machine: Machine, project: Project, tables: ProjectFile, facts: ReleaseFacts, words: Iterable[str]
) -> dict[str, str]:
    """Return the absolute path of each program that can be found: the pinned one, else the first in the path."""
    path = search_path(project, facts)
    found = {}
    for word in words:
        pinned = tables.project.interpreters.get(word)
        directory, name = (os.path.split(pinned)) if pinned else (path, word)
        program = machine.commands.find(name, directory, project.account)
        if pinned and program is None:
            raise HostError(
                f"cannot find {pinned}, the {word} that project {project.name} is pinned to",
                hint=f"Install it, or change [project] interpreters in the file of {project.name}.",
            )
        if program is not None:
            found[word] = program
    return found


def known_backend(name: str, kind: UnitKind, where: str) -> str:
    """Return the name of a backend that can run units of this kind; raise UserError if it is none."""
    able = [backend for backend, kinds in KINDS.items() if kind in kinds]
    if name in able:
        return name
    if not name:
        raise UserError(
            f"no backend for a {kind} is chosen yet",
            where=where,
            hint="Let shiftboss choose one (shiftboss apply), or set [backend] in config.toml.",
        )
    raise UserError(
        f"'{name}' is no backend for a {kind}{suggest(name, able)}",
        where=where,
        hint=f"Known: {', '.join(able)}. Set [backend] in config.toml.",
    )
