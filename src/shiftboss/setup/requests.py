"""What the command line asks for, turned into edits of the project file."""

from msgspec import Struct

from shiftboss.core.errors import UserError
from shiftboss.core.names import address, check_name
from shiftboss.core.tables import ProjectFile, ScheduleTable, WorkerTable
from shiftboss.setup.edit import Section, Value, set_unit

Command = str | list[str]
# a preset that is only a name for "the command that was given"
CUSTOM = "custom"
_LIMITS = ("memory", "memory_soft", "cpu", "tasks_max", "isolation")
_KEYS = ("preset", "cron", "command", "shell", "processes", "backend", *_LIMITS)


class WorkerRequest(Struct, frozen=True):
    """Add or change a worker; None leaves a value as it is. `notes` are for the user."""

    name: str
    preset: str | None = None
    command: Command | None = None
    shell: bool | None = None
    processes: int | None = None
    backend: str | None = None
    named: bool = False
    notes: tuple[str, ...] = ()
    memory: str | None = None
    memory_soft: str | None = None
    cpu: str | int | None = None
    tasks_max: int | None = None
    isolation: str | None = None


class ScheduleRequest(Struct, frozen=True):
    """Add or change a schedule; None leaves a value as it is. `settings`: more keys of its table."""

    name: str
    preset: str | None = None
    cron: str | None = None
    command: Command | None = None
    shell: bool | None = None
    backend: str | None = None
    settings: dict[str, str | int] = {}

    @property
    def times(self) -> frozenset[str]:
        """Return which of the keys that say when it runs are given."""
        given = {"cron"} if self.cron is not None else set()
        return frozenset(given | (_TIMES & self.settings.keys()))


_TIMES = frozenset({"cron", "every", "after"})
Request = WorkerRequest | ScheduleRequest


def edited(text: str, tables: ProjectFile, project: str, request: Request) -> str:
    """Return the text of a project file with a request carried out; raises UserError if it contradicts the file."""
    section: Section = "workers" if isinstance(request, WorkerRequest) else "schedules"
    check_name(request.name, "worker" if section == "workers" else "schedule")
    _refuse_other_kind(tables, project, request)
    old = tables.workers.get(request.name) if section == "workers" else tables.schedules.get(request.name)
    if old is not None:
        _refuse_other_unit(old, project, request)
    changes: dict[str, Value] = {}
    for key in _KEYS:
        value = getattr(request, key, None)
        if value is not None:
            changes[key] = value
    if isinstance(request, ScheduleRequest):
        _refuse_other_times(old, project, request)
        changes |= request.settings
    if changes.get("preset") == CUSTOM:
        del changes["preset"]
    return set_unit(text, section, request.name, changes)


def _refuse_other_kind(tables: ProjectFile, project: str, request: Request) -> None:
    others = tables.schedules if isinstance(request, WorkerRequest) else tables.workers
    if request.name in others:
        kind = "a schedule" if isinstance(request, WorkerRequest) else "a worker"
        raise UserError(
            f"{address(project, request.name)} is {kind} already", hint=_other_name(project, request)
        )


def _refuse_other_times(
    old: WorkerTable | ScheduleTable | None, project: str, request: ScheduleRequest
) -> None:
    """Times are given in one way; a schedule does not silently get a second one."""
    given = request.times
    before = {key for key in _TIMES if getattr(old, key, None)} if given else set()
    if len(given | before) > 1:
        ways = " and ".join(sorted(given | before))
        raise UserError(
            f"{address(project, request.name)} would have {ways}: its times are given in one way only",
            hint=f"Change the file by hand, or first: shiftboss remove {address(project, request.name)}",
        )


def _other_name(project: str, request: Request) -> str:
    if isinstance(request, WorkerRequest):
        return "Choose another name with --name NAME."
    return f'Choose another name: shiftboss cron {project} NAME "EXPR" -- COMMAND'


def _refuse_other_unit(old: WorkerTable | ScheduleTable, project: str, request: Request) -> None:
    """Do not turn one unit into another by accident."""
    name = address(project, request.name)
    if request.preset and (old.preset or CUSTOM) != request.preset:
        raise UserError(
            f"{name} is made from the preset {old.preset or CUSTOM}, not from {request.preset}",
            hint=f"{_other_name(project, request)} To replace it, first: shiftboss remove {name}",
        )
    if (
        isinstance(request, WorkerRequest)
        and not request.named
        and request.command not in (None, old.command)
    ):
        raise UserError(
            f"{name} runs another command already: {old.command}",
            hint=f"Give the new one a name with --name NAME, or change this one with --name {request.name}.",
        )
