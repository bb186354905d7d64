"""What a project needs, and what a word such as `queue` means for it: requests made from its release."""

import shlex

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.config import project_file
from shiftboss.core.errors import UserError
from shiftboss.core.names import check_name
from shiftboss.core.preset import Preset
from shiftboss.core.propose import Proposal, cautions, propose, resolve_kind
from shiftboss.core.release import ReleaseFacts
from shiftboss.core.spec import Project, Site
from shiftboss.host.machine import Machine
from shiftboss.setup.catalog import Catalog, project_path
from shiftboss.setup.detect import load_preset, load_presets, preset_names, read_release
from shiftboss.setup.laravel import scheduled_tasks
from shiftboss.setup.requests import CUSTOM, Command, Request, ScheduleRequest, WorkerRequest
from shiftboss.setup.units import forgotten_project, require_release, resolve_project


class Need(Struct, frozen=True):
    """A unit that a project seems to need: why, what it would be, and the command that sets it up."""

    request: Request
    reason: str
    title: str
    command: str
    cautions: tuple[str, ...] = ()


def needs_of(machine: Machine, site: Site, catalog: Catalog, name: str) -> list[Need]:
    """Return what a project needs and does not have yet; nothing of the project runs as root for it."""
    entry = catalog.entry(name)
    tables = entry.tables if entry else project_file("", project_path(site, name))
    project, facts = _release(machine, site, catalog, name)
    presets = load_presets()
    have = {*tables.workers, *tables.schedules}
    return [
        _need(machine, project, facts, presets[proposal.preset_name], proposal)
        for proposal in propose(facts, presets)
        if proposal.unit_name not in have
    ]


def _release(machine: Machine, site: Site, catalog: Catalog, name: str) -> tuple[Project, ReleaseFacts]:
    entry = catalog.entry(name)
    tables = entry.tables if entry else project_file("", project_path(site, name))
    require_release(
        machine, forgotten_project(machine, site, name, tables)
    )  # first what is most likely wrong
    project = resolve_project(machine, site, name, tables)
    return project, read_release(machine.files, project.account, project.current)


def _need(
    machine: Machine, project: Project, facts: ReleaseFacts, preset: Preset, proposal: Proposal
) -> Need:
    request = _request(proposal)
    reason = " and ".join(proposal.reasons)
    if preset.kind == "schedule" and (tasks := scheduled_tasks(machine, project)) is not None:
        reason += f", {tasks} scheduled {'task' if tasks == 1 else 'tasks'}"
    unverified = "" if proposal.verified else " (from documentation, not tried by us)"
    return Need(
        request,
        reason,
        f"{preset.kind} {proposal.unit_name}: {preset.summary}{unverified}",
        _command_line(project.name, proposal),
        cautions(preset, facts),
    )


def _request(proposal: Proposal) -> Request:
    if proposal.kind == "schedule":
        return ScheduleRequest(proposal.unit_name, preset=proposal.preset_name)
    return WorkerRequest(
        proposal.unit_name,
        preset=proposal.preset_name,
        command=proposal.command,
        shell=proposal.shell or None,
    )


def _command_line(project: str, proposal: Proposal) -> str:
    if proposal.kind == "schedule":
        return f"shiftboss cron {project}"
    command = f" -- {shlex.quote(proposal.command)}" if proposal.command else ""
    shell = " --shell" if proposal.shell else ""
    return f"shiftboss setup {project} {proposal.preset_name} --name {proposal.unit_name}{shell}{command}"


def worker_request(
    machine: Machine,
    site: Site,
    catalog: Catalog,
    project: str,
    kind: str | None,
    name: str | None,
    words: tuple[str, ...],
) -> WorkerRequest:
    """Return the request for what a user named: a kind (`queue`, `node`, `custom`, a preset), a name, a command.

    Without a kind it changes the worker called `name`. Raises UserError for a kind that is none or does not fit.
    """
    command = as_command(words)
    if name is not None:
        check_name(name, "worker")
    if kind is None:
        assert name is not None
        _require_known(catalog, project, name)
        return WorkerRequest(name, command=command, named=True)
    if kind == CUSTOM:
        if command is None and not _is_known(catalog, project, name or CUSTOM):
            raise UserError("a custom worker needs a command", hint=_example(project))
        return WorkerRequest(name or CUSTOM, preset=CUSTOM, command=command, named=name is not None)
    _, facts = _release(machine, site, catalog, project)
    preset = resolve_kind(kind, facts, load_presets())
    if preset.kind == "schedule":
        raise UserError(
            f"{preset.name} is a schedule, not a worker", hint=f"Set it up: shiftboss cron {project}"
        )
    return WorkerRequest(
        name or preset.unit,
        preset=preset.name,
        command=command,
        named=name is not None,
        notes=_notes(preset, facts),
    )


def as_command(words: tuple[str, ...]) -> Command | None:
    """Return what stands after `--`: one argument is a string that is split, several are taken as they are."""
    if not words:
        return None
    return words[0] if len(words) == 1 else list(words)


def _example(project: str) -> str:
    return f"Write it after --: shiftboss setup {project} custom --name thumbs -- php artisan thumbs:work"


def _is_known(catalog: Catalog, project: str, name: str) -> bool:
    entry = catalog.entry(project)
    return entry is not None and name in entry.tables.workers


def _require_known(catalog: Catalog, project: str, name: str) -> None:
    if not _is_known(catalog, project, name):
        raise UserError(
            f"{project} has no worker '{name}' yet: what kind is it?",
            hint=f"Say queue, node, custom or a preset ({', '.join(preset_names())}): "
            f"shiftboss setup {project} custom --name {name} -- COMMAND",
        )


def _notes(preset: Preset, facts: ReleaseFacts) -> tuple[str, ...]:
    """Return what to tell who sets up this preset: that we never ran it, what goes wrong on this project."""
    unverified = f"{preset.name} is made from documentation and was not tried by us: {preset.source}"
    return (*(() if preset.verified else (unverified,)), *cautions(preset, facts))


_SCHEDULER = "laravel-scheduler"


def schedule_request(
    machine: Machine,
    site: Site,
    catalog: Catalog,
    project: str,
    name: str | None,
    cron: str | None,
    words: tuple[str, ...],
    *,
    shell: bool | None = None,
    settings: dict[str, str | int] | None = None,
) -> ScheduleRequest:
    """Return the request for a schedule: the Laravel scheduler without a name, else any command with times.

    Raises UserError for a project without artisan, or for a new schedule without times or command.
    """
    settings = settings or {}
    if name is None:
        return replace(_laravel_scheduler(machine, site, catalog, project), settings=settings)
    command = as_command(words)
    entry = catalog.entry(project)
    known = entry is not None and name in entry.tables.schedules
    has_times = cron is not None or "every" in settings or "after" in settings
    if not known and (not has_times or command is None):
        raise UserError(
            f"{project} has no schedule '{name}' yet: it needs times and a command",
            hint=f'For example: shiftboss cron {project} {name} "0 2 * * *" -- COMMAND',
        )
    return ScheduleRequest(name, cron=cron, command=command, shell=shell, settings=settings)


def _laravel_scheduler(machine: Machine, site: Site, catalog: Catalog, project: str) -> ScheduleRequest:
    _, facts = _release(machine, site, catalog, project)
    if "artisan" not in facts.files:
        raise UserError(
            f"{project} is no Laravel project: its release has no artisan",
            hint=f'Any other schedule: shiftboss cron {project} backup "0 2 * * *" -- COMMAND',
        )
    return ScheduleRequest(load_preset(_SCHEDULER).unit, preset=_SCHEDULER)
