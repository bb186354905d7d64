"""What a project may declare by itself, in a file of its release, and the bounds that root's file sets for it.

Everything here is written by people who must not get more than root gave them: what is not named as allowed is refused.
"""

import posixpath
from collections.abc import Collection, Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from shiftboss.core.config import parse_toml, project_file
from shiftboss.core.errors import UserError
from shiftboss.core.run_policy import MOST_RUNS
from shiftboss.core.sizes import size_text
from shiftboss.core.spec import IsolationLevel, Project, Schedule, Unit, Worker
from shiftboss.core.tables import ProjectFile, ScheduleTable, WorkerTable

FILE = "shiftboss.toml"
MAX_BYTES = 64 * 1024
DEFAULT_PROCESSES = 10
MOST_UNITS = 50
MOST_STOP_SECONDS = 3600
FLOOR: IsolationLevel = "standard"
_LEVELS: tuple[IsolationLevel, ...] = ("none", "standard", "strict")
_USUAL_WEIGHT = 100
_ALLOWED = {
    "workers": frozenset(
        {
            *("preset", "command", "shell", "options", "environment", "env_file", "processes", "scale_max"),
            *("stop_signal", "stop_wait", "stop_scope", "restart", "restart_limit", "start_seconds"),
            *("memory", "memory_soft", "cpu", "tasks_max", "nice", "io_weight"),
            *("isolation", "no_new_privs", "private_network", "log_max_size", "log_backups"),
        }
    ),
    "schedules": frozenset(
        {
            *("preset", "cron", "every", "after", "command", "shell", "options", "environment"),
            *("timezone", "dst", "overlap", "timeout", "stop_wait", "retries", "retry_delay", "catch_up"),
            *("starting_deadline", "jitter", "spread", "only_if", "expect_within"),
            *("memory", "memory_soft", "cpu", "tasks_max", "nice", "io_weight"),
            *("isolation", "no_new_privs", "private_network", "log_max_size", "log_backups"),
        }
    ),
}

TableOfUnit = TypeVar("TableOfUnit", WorkerTable, ScheduleTable)


class NotAdmittedError(UserError):
    """The file of a release asks for what root's file does not allow, or cannot be understood."""


def allowed_keys(section: str) -> frozenset[str]:
    """Return the keys that a release may set in a table of `workers` or `schedules`."""
    return _ALLOWED[section]


def admitted(text: str, own: ProjectFile, file: str) -> ProjectFile:
    """Return root's tables with what a release declares added to them; `own` must allow it (`self_service`).

    Units of the release run on the backend native and at least as shut in as root's file wants. Raises
    NotAdmittedError that names `file` and the key.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise NotAdmittedError(f"has more than {MAX_BYTES} bytes", where=file, hint=_hint(file))
    try:
        _refuse_what_is_roots(parse_toml(text, file), file)
        offered = project_file(text, file)
    except NotAdmittedError:
        raise
    except UserError as error:
        raise NotAdmittedError(error.message, where=error.where or file, hint=error.hint) from None
    _refuse_clashes(offered, own, file)
    floor = own.project.isolation or FLOOR
    return ProjectFile(
        project=own.project,
        workers={
            **own.workers,
            **{n: _as_allowed(t, floor, f"{file}: workers.{n}") for n, t in offered.workers.items()},
        },
        schedules={
            **own.schedules,
            **{n: _as_allowed(t, floor, f"{file}: schedules.{n}") for n, t in offered.schedules.items()},
        },
    )


def released_names(merged: ProjectFile, own: ProjectFile) -> frozenset[str]:
    """Return the names of the units that are in the merged tables and not in root's own."""
    return frozenset({*merged.workers, *merged.schedules} - {*own.workers, *own.schedules})


def _refuse_what_is_roots(raw: Mapping[str, object], file: str) -> None:
    for key in raw.keys() - _ALLOWED.keys():
        shown = key if key == "project" else ascii(key[:60])
        raise NotAdmittedError(
            f"a release may declare workers and schedules, not {shown}",
            where=file,
            hint="Take it out: user, paths, budget, operators and the like are in the file that root keeps.",
        )
    for section, allowed in _ALLOWED.items():
        tables = raw.get(section, {})
        rows = tables.items() if isinstance(tables, dict) else ()
        for name, table in rows:
            for key in sorted(every_key(section) & table.keys() - allowed) if isinstance(table, dict) else ():
                raise NotAdmittedError(
                    f"a release may not set {key}",
                    where=f"{file}: {section}.{ascii(name[:60])[1:-1]}",
                    hint="Take it out, or let root declare this unit.",
                )


def _refuse_clashes(offered: ProjectFile, own: ProjectFile, file: str) -> None:
    names = [*offered.workers, *offered.schedules]
    for name in names:
        if name in own.workers or name in own.schedules:
            raise NotAdmittedError(
                f"root's file declares {name!r} already", where=file, hint="Give this one another name."
            )
    if len(names) > MOST_UNITS:
        raise NotAdmittedError(
            f"declares {len(names)} units, more than {MOST_UNITS}", where=file, hint=_hint(file)
        )


def _as_allowed(table: TableOfUnit, floor: IsolationLevel, where: str) -> TableOfUnit:
    """Return a unit's table as it is admitted: native, at least at the level `floor`. Raises NotAdmittedError."""
    level = table.isolation or floor
    if _LEVELS.index(level) < _LEVELS.index(floor):
        raise NotAdmittedError(
            f"must be at least {floor!r}, not {level!r}",
            where=f"{where}.isolation",
            hint="Take it out; root may lower it with isolation under [project] of root's file.",
        )
    if table.no_new_privs is False and floor != "none":
        raise NotAdmittedError(
            "only root may let setuid programs give rights",
            where=f"{where}.no_new_privs",
            hint="Take it out, or let root declare this unit.",
        )
    if (table.nice or 0) < 0:
        raise NotAdmittedError(
            "only root may set a priority below 0", where=f"{where}.nice", hint="Use 0 to 19."
        )
    return replace(table, isolation=level, backend="native")


def check_bounds(units: Collection[Unit], released: Collection[str], own: ProjectFile, file: str) -> None:
    """Raise NotAdmittedError if the released ones among a project's units are more than root's file allows.

    `units` are complete (see core/expand.py), so that what presets and options make of them counts too.
    """
    of_release = [unit for unit in units if unit.name in released]
    for unit in of_release:
        section = "workers" if isinstance(unit, Worker) else "schedules"
        _check_unit(unit, f"{file}: {section}.{unit.name}")
    most = own.project.budget.processes or DEFAULT_PROCESSES
    count = sum(map(_processes, of_release))
    if count > most:
        raise NotAdmittedError(
            f"declares up to {count} processes, more than the {most} that root allows",
            where=file,
            hint='A schedule counts as one, with overlap = "allow" as '
            f"{MOST_RUNS}; root may allow more with processes under [project.budget].",
        )


def _processes(unit: Unit) -> int:
    if isinstance(unit, Worker):
        return max(unit.processes, unit.scale_max)
    return MOST_RUNS if unit.policy.overlap == "allow" else 1


def _check_unit(unit: Unit, where: str) -> None:
    _check_env_file(unit, where)
    _check_limits(unit, where)
    stop = unit.stop.wait_seconds if isinstance(unit, Worker) else unit.policy.stop_seconds
    if stop > MOST_STOP_SECONDS:
        raise NotAdmittedError(
            f"would wait {stop} seconds at a stop, more than {MOST_STOP_SECONDS}",
            where=f"{where}.stop_wait",
            hint="Shorten it (or the options it follows from), or let root declare this unit.",
        )


def _check_env_file(unit: Unit, where: str) -> None:
    path = unit.env_file if isinstance(unit, Worker) else ""
    if path and not _inside(path, unit.project):
        raise NotAdmittedError(
            "must be inside the project's directory",
            where=f"{where}.env_file",
            hint="Write a path relative to the project's directory, such as shared/.env.",
        )


def _inside(path: str, project: Project) -> bool:
    root = posixpath.normpath(project.root)
    return posixpath.normpath(path).startswith(f"{root}/")


def _check_limits(unit: Worker | Schedule, where: str) -> None:
    budget = unit.project.budget
    weight = budget.io_weight or _USUAL_WEIGHT
    rows = (
        ("memory", unit.limits.memory_bytes, budget.memory_bytes, size_text(budget.memory_bytes)),
        ("cpu", unit.limits.cpu_percent, budget.cpu_percent, f"{budget.cpu_percent}%"),
        ("tasks_max", unit.limits.tasks_max, budget.tasks_max, str(budget.tasks_max)),
        ("io_weight", unit.limits.io_weight, weight, str(weight)),
    )
    for key, asked, most, shown in rows:
        if most and asked > most:
            raise NotAdmittedError(
                f"is more than the {shown} that root allows",
                where=f"{where}.{key}",
                hint="Ask for less; root may allow more under [project.budget].",
            )


def _hint(file: str) -> str:
    return f"Make {posixpath.basename(file.partition(':')[0])} smaller."


def every_key(section: str) -> frozenset[str]:
    """Return all keys of a unit's table: each is either allowed for a release or root's."""
    kind = WorkerTable if section == "workers" else ScheduleTable
    return frozenset(field.name for field in msgspec.structs.fields(kind))
