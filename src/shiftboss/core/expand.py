"""From a table of the project file and its preset to a `Worker` or `Schedule` that is ready to run."""

import math
import posixpath
from collections.abc import Iterable, Mapping

from msgspec import Struct

from shiftboss.core.command import (
    Command,
    argument_vector,
    command_of,
    filled,
    outlasting,
    program_path,
    search_path,
)
from shiftboss.core.errors import UserError
from shiftboss.core.names import suggest
from shiftboss.core.options import Values, fill, option_values, used_in
from shiftboss.core.preset import SIGNALS, Option, Preset, StopRule
from shiftboss.core.release import ReleaseFacts
from shiftboss.core.resolve import log_policy, unit_isolation, unit_limits
from shiftboss.core.schedule_table import asked_for, policy_of, times_of
from shiftboss.core.spec import Environment, Project, Schedule, StopPolicy, UnitKind, Worker
from shiftboss.core.tables import ScheduleTable, WorkerTable

__all__ = ["expand_schedule", "expand_worker", "programs_needed", "search_path"]

MAX_PROCESSES = 1000

# A command without a preset. The same facts are in presets/custom.toml, which need not be read for it.
CUSTOM = Preset(
    name="custom",
    summary="Any command of the project that keeps running",
    kind="worker",
    unit="custom",
    source="our own choice: TERM, then 30 seconds",
    verified=True,
    rank=900,
    stop=StopRule(margin=10, options=("timeout",), default=30),
    options={
        "timeout": Option(
            type="integer", help="Seconds the longest job may take", min=1, max=604800, job_timeout=True
        )
    },
)
_CUSTOM_SCHEDULE = Preset(
    name="custom",
    summary="Any command of the project, at its times",
    kind="schedule",
    unit="custom",
    source=CUSTOM.source,
    verified=True,
    rank=900,
    stop=StopRule(margin=30),
)


def programs_needed(
    name: str, table: WorkerTable | ScheduleTable, preset: Preset | None, facts: ReleaseFacts, where: str
) -> tuple[str, ...]:
    """Return the bare words that must be looked up (in `search_path`) before the unit `name` can be expanded.

    Raises UserError for what is wrong with its command.
    """
    used = _preset(table, preset)
    words = [command_of(name, table, used, facts, where).program, *used.needs]
    if isinstance(table, ScheduleTable) and table.only_if is not None:
        own = _condition_table(table)
        words.append(command_of(name, own, _CUSTOM_SCHEDULE, facts, f"{where}.only_if").program)
    return tuple(dict.fromkeys(word for word in words if word))


def expand_worker(
    name: str,
    table: WorkerTable,
    preset: Preset | None,
    project: Project,
    facts: ReleaseFacts,
    programs: Mapping[str, str],
    where: str,
    backend: str,
) -> Worker:
    """Return a worker as its table in the project file wants it; `preset` is the one that the table names.

    `programs` has the absolute path of each word of `programs_needed`; one that is missing raises HostError.
    `where` (such as `myapp.toml: workers.queue`) begins every UserError. `table.backend` goes before `backend`.
    """
    used = _preset(table, preset)
    _require_kind(used, "worker", where)
    expansion = _expand(name, table, used, project, facts, programs, where)
    stop = _stop_policy(table, used, expansion, where)
    outlasts = expansion.command.shell and stop.scope == "group"
    processes = _processes(table, used, expansion.values, where)
    return Worker(
        project=project,
        name=name,
        preset=used.name,
        backend=table.backend or backend,
        argv=outlasting(expansion.argv, stop.signal) if outlasts else expansion.argv,
        processes=processes,
        stop=stop,
        start_seconds=table.start_seconds or used.start_seconds,
        environment=expansion.environment,
        log=log_policy(table.log_max_size, table.log_backups, where),
        exit_meanings=tuple(sorted(used.exit_codes.items())),
        restart=table.restart or "always",
        restart_limit=table.restart_limit or 0,
        env_file=posixpath.join(project.root, table.env_file) if table.env_file else "",
        limits=unit_limits(table, where),
        isolation=unit_isolation(table),
        scale_max=_scale_max(table, used, expansion.values, processes, where),
    )


def expand_schedule(
    name: str,
    table: ScheduleTable,
    preset: Preset | None,
    project: Project,
    facts: ReleaseFacts,
    programs: Mapping[str, str],
    where: str,
    backend: str,
) -> Schedule:
    """Return a schedule as its table in the project file wants it; everything else as `expand_worker`.

    The cron expression is not checked here.
    """
    used = _preset(table, preset)
    _require_kind(used, "schedule", where)
    expansion = _expand(name, table, used, project, facts, programs, where)
    times = times_of(table, used, project.name, where)
    policy = policy_of(table, times, used, where)
    return Schedule(
        project=project,
        name=name,
        preset=used.name,
        backend=table.backend or backend,
        cron=times.cron,
        argv=expansion.argv,
        log=log_policy(table.log_max_size, table.log_backups, where),
        environment=expansion.environment,
        timezone=table.timezone or "",
        every=times.every,
        after=times.after,
        dst=table.dst or "debian",
        policy=policy,
        only_if=_condition(name, table, project, facts, programs, where),
        asked=asked_for(table),
        limits=unit_limits(table, where),
        isolation=unit_isolation(table),
        plain=table.plain,
    )


def _condition(
    name: str,
    table: ScheduleTable,
    project: Project,
    facts: ReleaseFacts,
    programs: Mapping[str, str],
    where: str,
) -> tuple[str, ...]:
    """Return the helper command of `only_if`, ready to be executed; it is written like any command."""
    if table.only_if is None:
        return ()
    own = _condition_table(table)
    command = command_of(f"{name}#only_if", own, _CUSTOM_SCHEDULE, facts, f"{where}.only_if")
    return argument_vector(command, project, programs)


def _condition_table(table: ScheduleTable) -> ScheduleTable:
    return ScheduleTable(command=table.only_if, shell=table.shell)


def _preset(table: WorkerTable | ScheduleTable, preset: Preset | None) -> Preset:
    if preset is None or preset.name == CUSTOM.name:
        return CUSTOM if isinstance(table, WorkerTable) else _CUSTOM_SCHEDULE
    return preset


def _require_kind(preset: Preset, kind: UnitKind, where: str) -> None:
    if preset.kind != kind:
        raise UserError(
            f"{preset.name} is a {preset.kind}, not a {kind}",
            where=f"{where}.preset",
            hint=f"Write it under [{preset.kind}s.{preset.unit}].",
        )


class _Expansion(Struct, frozen=True):
    """What workers and schedules have in common."""

    values: Values
    command: Command
    argv: tuple[str, ...]
    environment: Environment


def _expand(
    name: str,
    table: WorkerTable | ScheduleTable,
    preset: Preset,
    project: Project,
    facts: ReleaseFacts,
    programs: Mapping[str, str],
    where: str,
) -> _Expansion:
    shared = facts.shared or project.account.home
    context = {"project": project.name, "unit": name, "root": project.root, "shared": shared}
    values = {**context, **option_values(table.options, preset, facts, context, where)}
    command = filled(command_of(name, table, preset, facts, where), values, preset, where)
    words = [word for word in (command.program, *preset.needs) if word]
    paths = [program_path(word, project, programs) for word in words]
    argv = argument_vector(command, project, programs)
    directories = search_path(project, facts).split(":") if command.shell else [_directory(p) for p in paths]
    environment = _environment(table, preset, values, project, directories)
    return _Expansion(values, command, argv, environment)


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _environment(
    table: WorkerTable | ScheduleTable,
    preset: Preset,
    values: Values,
    project: Project,
    directories: Iterable[str],
) -> Environment:
    """Return the variables of the unit: the preset's, unless the project sets them, and the user's own.

    Where its programs are in places that the project's PATH lacks, PATH is among them: npm and the scripts of a
    virtualenv start their interpreter by name.
    """
    ready = {key: text for key, text in preset.environment.items() if used_in([text]) <= values.keys()}
    environment = {key: fill(text, values) for key, text in ready.items()}
    usual = project.path.split(":")
    missing = [directory for directory in dict.fromkeys(directories) if directory not in usual]
    if missing:
        environment["PATH"] = ":".join([*missing, *usual])
    for key, _ in project.environment:
        environment.pop(key, None)
    return tuple((environment | table.environment).items())


def _processes(table: WorkerTable, preset: Preset, values: Values, where: str) -> int:
    count = preset.processes if table.processes is None else table.processes
    if not 1 <= count <= MAX_PROCESSES:
        raise UserError(
            f"must be 1 to {MAX_PROCESSES}, not {count}",
            where=f"{where}.processes",
            hint="Start with 1 or 2.",
        )
    if count > 1 and preset.singleton and not values.get(preset.singleton_unless):
        freed_by = f", or set options.{preset.singleton_unless} = true" if preset.singleton_unless else ""
        raise UserError(
            f"{preset.name} must run as one process: {preset.singleton}",
            where=f"{where}.processes",
            hint=f"Set it to 1, or remove it{freed_by}.",
        )
    return count


def _scale_max(table: WorkerTable, preset: Preset, values: Values, processes: int, where: str) -> int:
    if table.scale_max is None:
        return 0
    if table.scale_max < processes:
        raise UserError(
            f"must not be less than processes, which is {processes}",
            where=f"{where}.scale_max",
            hint=f"Set it to {processes} or more, or remove it.",
        )
    if table.scale_max > 1 and preset.singleton and not values.get(preset.singleton_unless):
        raise UserError(
            f"{preset.name} must run as one process: {preset.singleton}",
            where=f"{where}.scale_max",
            hint="Set it to 1, or remove it.",
        )
    return table.scale_max


def _stop_policy(table: WorkerTable, preset: Preset, expansion: _Expansion, where: str) -> StopPolicy:
    scope = "group" if expansion.command.is_wrapped else preset.stop.scope
    return StopPolicy(
        signal=_signal(table.stop_signal, f"{where}.stop_signal")
        if table.stop_signal
        else preset.stop.signal,
        wait_seconds=_stop_wait(table, preset, expansion.values, where),
        scope=table.stop_scope or scope,
    )


def _signal(name: str, where: str) -> str:
    signal = name.upper().removeprefix("SIG")
    if signal not in SIGNALS:
        raise UserError(
            f"{name[:40]!r} is not a signal that asks a process to end{suggest(signal, SIGNALS)}",
            where=where,
            hint="Usual ones are TERM, INT, QUIT, HUP, USR1 and USR2.",
        )
    return signal


def _stop_wait(table: WorkerTable, preset: Preset, values: Values, where: str) -> int:
    """Return the seconds between the stop signal and SIGKILL; they follow from how long a job may take."""
    advised, reckoning = _advised_wait(preset.stop, values)
    if table.stop_wait is None:
        return advised
    for name, option in preset.options.items():
        timeout = values.get(name)
        if option.job_timeout and isinstance(timeout, int | float) and table.stop_wait < timeout:
            raise UserError(
                f"{table.stop_wait} seconds are less than a job may take (options.{name} is {timeout}): "
                "a stop would kill it half way",
                where=f"{where}.stop_wait",
                hint=f"Use {advised} ({reckoning}), or remove it: it then follows from options.{name}.",
            )
    return table.stop_wait


def _advised_wait(stop: StopRule, values: Values) -> tuple[int, str]:
    known = {name: value for name in stop.options if isinstance(value := values.get(name), int | float)}
    if not known and stop.default is not None:
        return stop.default, "the usual"
    return math.ceil(sum(known.values())) + stop.margin, " + ".join([*known, str(stop.margin)])
