"""Changing what runs: the new text of a project file, and the plan that makes the server follow it."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.backends.cron_line import crontab_path
from shiftboss.backends.supervisor import refuse_collisions
from shiftboss.core.config import project_file
from shiftboss.core.errors import ShiftbossError, UserError
from shiftboss.core.names import address
from shiftboss.core.plan import (
    Override,
    Plan,
    ReloadEngine,
    RemoveFile,
    StartProcess,
    UpdateGroup,
    WriteFile,
    merge,
)
from shiftboss.core.spec import Schedule, Site, Unit, Worker
from shiftboss.core.tables import ProjectFile
from shiftboss.host.machine import Machine
from shiftboss.setup import edit
from shiftboss.setup.apply import perform, refuse_conflicts
from shiftboss.setup.backend_choice import choose_backend
from shiftboss.setup.catalog import Catalog, Entry, make_entry, project_path
from shiftboss.setup.file_changes import mode_of
from shiftboss.setup.outlying import plan_outlying
from shiftboss.setup.prepare import Planner
from shiftboss.setup.progress import Progress
from shiftboss.setup.requests import Request, edited
from shiftboss.setup.selection import revive, whole
from shiftboss.setup.self_service import forgotten_offer, take_offer
from shiftboss.setup.units import (
    Resolved,
    forgotten_project,
    interpreter_pins,
    require_release,
    resolve,
    resolve_project,
    unknown_unit,
)
from shiftboss.setup.verify import mark_logs, verify_schedules, verify_workers


class Change(Struct, frozen=True):
    """A change that was thought through and not yet made.

    `projects` is what runs afterwards; `asked` are the units that the command is about; `errors` say which
    of several projects could not be resolved and are left as they are.
    """

    site: Site
    projects: tuple[Resolved, ...]
    asked: tuple[Unit, ...]
    plan: Plan
    errors: tuple[ShiftbossError, ...] = ()

    @property
    def concerned(self) -> tuple[Unit, ...]:
        """The units that must be proven to run afterwards: those asked for, and those that (re)start."""
        started = {a.target for a in self.plan.actions if isinstance(a, UpdateGroup | StartProcess)}
        for action in self.plan.actions:
            if isinstance(action, ReloadEngine):
                started |= {*action.starts, *action.schedules, *action.restarts}
        written = {a.path for a in self.plan.actions if isinstance(a, WriteFile)}
        units = (unit for project in self.projects for unit in project.units)
        return tuple(
            unit
            for unit in units
            if unit in self.asked
            or _restarts(unit, started)
            or (unit.backend == "cron" and crontab_path(self.site, unit.project.name) in written)
        )


def _restarts(unit: Unit, started: set[str]) -> bool:
    return any(target.partition(":")[0] == unit.address for target in started)


def prepare_requests(
    machine: Machine, site: Site, catalog: Catalog, name: str, requests: Sequence[Request], override: Override
) -> Change:
    """Return the change that adds or changes units of a project, which is registered if it was not.

    Raises UserError or HostError if that cannot be had.
    """
    text = _registered(machine, site, catalog, name)
    path = project_path(site, name)
    for request in requests:
        _refuse_released(catalog.entry(name), name, request.name)
    for request in requests:
        text = edited(text, project_file(text, path), name, request)
    text = _with_interpreters(machine, site, name, text)
    entry = make_entry(machine.files, site, name, path, text)
    _refuse_collisions({**catalog.entries, name: entry})
    pinned, pins = _pin_backends(machine, site, [entry.tables])
    resolved = resolve(machine, pinned, name, entry)
    planner = Planner(machine, pinned)
    plan = planner.plan(resolved.project, resolved.units, override)
    asked = tuple(resolved.unit(request.name) for request in requests)
    own = _own_file(machine, catalog, name, path, text)
    outlying = plan_outlying(machine, site, catalog, name, entry.tables)
    return Change(planner.site, (resolved,), asked, merge((pins, own, outlying, plan)))


def _pin_backends(machine: Machine, site: Site, projects: Sequence[ProjectFile]) -> tuple[Site, Plan]:
    """Choose backends that units need and nobody chose yet; write them into config.toml so that they never flip."""
    chosen: dict[str, str] = {}
    workers = [worker for project in projects for worker in project.workers.values()]
    schedules = [schedule for project in projects for schedule in project.schedules.values()]
    if not site.worker_backend and any(worker.backend is None for worker in workers):
        chosen["workers"] = choose_backend(machine, site, "worker")
    if not site.schedule_backend and any(schedule.backend is None for schedule in schedules):
        chosen["schedules"] = choose_backend(machine, site, "schedule")
    if not chosen:
        return site, Plan()
    before = machine.files.read(site.config_file)
    text = edit.set_keys(before or "", "backend", dict(chosen))
    mode = mode_of(machine.files, site.config_file, 0o644)  # guests read where to ask
    write = WriteFile("config.toml", site.config_file, text, before, mode)
    pinned = replace(
        site,
        worker_backend=chosen.get("workers", site.worker_backend),
        schedule_backend=chosen.get("schedules", site.schedule_backend),
    )
    return pinned, Plan(actions=(write,))


def _registered(machine: Machine, site: Site, catalog: Catalog, name: str) -> str:
    """Return the text of a project's file; a project without one is registered if the layout tells all."""
    entry = catalog.entry(name)
    text = entry.text if entry else ""
    tables = project_file(text, project_path(site, name))
    forgotten = forgotten_project(machine, site, name, tables)
    require_release(machine, forgotten)
    project = resolve_project(machine, site, name, tables)
    return text if entry else edit.set_keys(text, "project", {"user": project.account.name})


def _with_interpreters(machine: Machine, site: Site, name: str, text: str) -> str:
    """Pin the interpreters that the units use, so that an upgrade of the server does not change them unasked."""
    path = project_path(site, name)
    own = project_file(text, path)
    pins = interpreter_pins(machine, site, name, Entry(path, text, own, own))
    return edit.set_keys(text, "project", {"interpreters": dict(pins)}) if pins else text


def _own_file(machine: Machine, catalog: Catalog, name: str, path: str, text: str) -> Plan:
    old = catalog.entries.get(name)
    before = old.text if old else None
    if text == before:
        return Plan()
    return Plan(actions=(WriteFile(name, path, text, before, mode_of(machine.files, path)),))


def _refuse_collisions(entries: Mapping[str, Entry]) -> None:
    """Refuse two units, of any projects, whose names become one name in Supervisor."""
    refuse_collisions([(project, unit) for project, e in entries.items() for unit in e.tables.workers])


def prepare_apply(
    machine: Machine, site: Site, catalog: Catalog, names: Iterable[str], override: Override
) -> Change:
    """Return the change that brings the server to what the files of these projects say.

    Of several projects, one without its user or release does not stop the others; alone it raises its error. What a
    release declares and may not have is an error too; the last that was accepted of it goes on.
    """
    _refuse_collisions(catalog.entries)
    entries = {name: catalog.require(name) for name in names}
    pinned, pins = _pin_backends(machine, site, [entry.tables for entry in entries.values()])
    planner = Planner(machine, pinned)
    resolved, errors, plans = [], [], []
    for name, entry in entries.items():
        try:
            require_release(machine, resolve_project(machine, pinned, name, entry.own))
            taken = take_offer(
                machine, pinned, catalog, name, lambda r: planner.plan(r.project, r.units, override)
            )
        except ShiftbossError as error:
            if len(entries) == 1:
                raise
            errors.append(error)
        else:
            resolved.append(taken.resolved)
            plans.append(taken.plan)
            errors += taken.errors
    outlying = plan_outlying(machine, site, catalog)
    return Change(planner.site, tuple(resolved), (), merge((pins, outlying, *plans)), tuple(errors))


def prepare_removal(
    machine: Machine, site: Site, catalog: Catalog, name: str, unit: str | None, override: Override
) -> Change:
    """Return the change that removes a unit, or a project with all its units and its file.

    A project can be removed whose user or release is gone already. Logs are kept. Raises UserError for a
    unit or project that there is not; one whose removal was interrupted is finished.
    """
    planner = Planner(machine, site)
    left_over = planner.unfinished(name)
    if unit is None and left_over.actions and catalog.entry(name) is None:
        return Change(planner.site, (), (), left_over)
    entry = catalog.require(name)
    project = forgotten_project(machine, site, name, entry.tables)
    if unit is None:
        own = Plan(actions=(RemoveFile(name, entry.path, entry.text), *forgotten_offer(machine, site, name)))
        outlying = plan_outlying(machine, site, catalog, name)
        return Change(planner.site, (), (), merge((own, planner.plan(project, (), override), outlying)))
    begun = any(action.target == address(name, unit) for action in left_over.actions)
    text = entry.text if begun else _without(entry, name, unit)
    left = make_entry(machine.files, site, name, entry.path, text)
    units = resolve(machine, site, name, left).units if left.tables.workers or left.tables.schedules else ()
    own = _own_file(machine, catalog, name, entry.path, text)
    plan = merge((own, planner.plan(project, units, override)))
    return Change(planner.site, (Resolved(project, units),), (), plan)


def _refuse_released(entry: Entry | None, name: str, unit: str) -> None:
    """A unit that the release declares is changed there, not in root's file."""
    if entry is not None and unit in entry.released:
        raise UserError(
            f"{address(name, unit)} is declared by the release, in {entry.offer}",
            hint=f"Change it there, then: shiftboss apply {name}",
        )


def _without(entry: Entry, name: str, unit: str) -> str:
    _refuse_released(entry, name, unit)
    if unit in entry.tables.workers:
        return edit.remove_unit(entry.text, "workers", unit)
    if unit in entry.tables.schedules:
        return edit.remove_unit(entry.text, "schedules", unit)
    raise unknown_unit(name, unit, (*entry.tables.workers, *entry.tables.schedules))


def commit(machine: Machine, change: Change, progress: Progress) -> None:
    """Make a change and prove it. Raises HostError; what could not be done then is said."""
    refuse_conflicts(change.plan.conflicts)  # before anything else: a log may be somebody's link
    workers = [whole(unit) for unit in change.concerned if isinstance(unit, Worker)]
    schedules = [unit for unit in change.concerned if isinstance(unit, Schedule)]
    marks = mark_logs(machine, (selection.worker for selection in workers))
    perform(machine, change.site, change.plan, progress)
    revive(machine, change.site, [s for s in workers if s.worker in change.asked])
    verify_workers(machine, change.site, workers, marks, progress)
    verify_schedules(machine, change.site, schedules)
