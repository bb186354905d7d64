"""The tables of our TOML files as types: `config.toml` and `projects/<name>.toml`.

The descriptions end up in the JSON schema and in the configuration reference.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shiftboss.core.run_policy import CatchUp, Overlap
from shiftboss.core.spec import DstPolicy, IsolationLevel, Restart, StopScope

Text = Annotated[str, Meta(min_length=1)]
Options = dict[str, str | int | float | bool]
Command = str | list[str]
CommandField = Annotated[
    Command | None,
    Meta(
        description="What to run. A string is split into words, no shell runs it; a list is taken as it is."
    ),
]
ShellField = Annotated[bool, Meta(description="Run the command by sh -c.")]
EnvironmentField = Annotated[dict[str, str], Meta(description="Environment variables.")]
BackendField = Annotated[str | None, Meta(description="Where this unit runs, if not where the others do.")]
PresetField = Annotated[str | None, Meta(description="The preset that this unit is made from.")]
OptionsField = Annotated[Options, Meta(description="Options of the preset, such as queue, tries, timeout.")]
LogSizeField = Annotated[
    int | str | None, Meta(description='Rotate the log when it is larger: bytes or "10M" (the default).')
]
DurationField = int | str | None
LogBackupsField = Annotated[
    Annotated[int, Meta(ge=1, le=1000)] | None,
    Meta(description="How many rotated logs are kept (default 5)."),
]

MemoryField = Annotated[
    int | str | None,
    Meta(
        description='Memory of each numbered process with all that it starts: bytes or "256M"; beyond it the kernel kills.'
    ),
]
SoftMemoryField = Annotated[
    int | str | None,
    Meta(
        description="Memory from which on it is stopped gently and started again: less than `memory`. Schedules, and workers of supervisor: from which on the kernel slows it down."
    ),
]
CpuField = Annotated[
    int | str | None, Meta(description='CPU time in percent of one core: 50 or "50%" is half a core.')
]
TasksField = Annotated[
    Annotated[int, Meta(ge=1, le=1_000_000)] | None,
    Meta(description="How many processes and threads each numbered process may have at once."),
]
FilesField = Annotated[
    Annotated[int, Meta(ge=16, le=1_000_000)] | None,
    Meta(description="How many files each process may have open."),
]
NiceField = Annotated[
    Annotated[int, Meta(ge=-20, le=19)] | None,
    Meta(description="Priority of its processes, -20 to 19: a higher one yields to others."),
]
WeightField = Annotated[
    Annotated[int, Meta(ge=1, le=10_000)] | None,
    Meta(
        description="Its share of the disk, 1 to 10000; everything else has 100. Only disks with the scheduler bfq, or with iocost, go by it."
    ),
]
IsolationField = Annotated[
    IsolationLevel | None,
    Meta(
        description="How far it is shut in: none, standard (other projects are hidden) or strict (read-only too)."
    ),
]
PrivilegesField = Annotated[
    bool | None,
    Meta(description="Setuid programs give no rights (sendmail of postfix or exim needs them: false)."),
]
NetworkField = Annotated[bool, Meta(description="A network of its own, without any way out.")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a TOML file; a key that it does not have is an error."""


class LayoutTable(Table, frozen=True, kw_only=True):
    """Where projects live. A project may say otherwise in its own file."""

    projects: Annotated[
        Text | None,
        Meta(description="Directory that holds a directory for each project (default /infra/projects)."),
    ] = None
    logs: Annotated[
        Text | None,
        Meta(
            description="Directory that holds a log directory for each project (default /infra/logs/projects)."
        ),
    ] = None
    user: Annotated[
        Text | None,
        Meta(
            description="Unix user of a project; {project} is its name (default {project}_user, without root: you)."
        ),
    ] = None


class BackendTable(Table, frozen=True, kw_only=True):
    """Where units run that do not say it themselves. The first setup writes what it found."""

    workers: Annotated[Text | None, Meta(description="Backend of workers: native or supervisor.")] = None
    schedules: Annotated[Text | None, Meta(description="Backend of schedules: cron.")] = None


class SupervisorTable(Table, frozen=True, kw_only=True):
    """Where Supervisor is. What is not given is taken from the server's own supervisord.conf."""

    conf_file: Annotated[Text | None, Meta(description="The server's supervisord.conf.")] = None
    conf_dir: Annotated[Text | None, Meta(description="Directory of its [include], where our files go.")] = (
        None
    )
    server: Annotated[Text | None, Meta(description="unix:///path/of.sock or http://host:port")] = None
    username: Annotated[Text | None, Meta(description="User of its HTTP server.")] = None
    password: Annotated[Text | None, Meta(description="Password of its HTTP server.")] = None


class CronTable(Table, frozen=True, kw_only=True):
    """Where cron is."""

    dir: Annotated[
        Text | None, Meta(description="Directory of crontabs with a user field (default /etc/cron.d).")
    ] = None


class LimitsTable(Table, frozen=True, kw_only=True):
    """How much of the native backend's schedules may run at once."""

    runs: Annotated[
        Annotated[int, Meta(ge=0, le=100_000)] | None,
        Meta(
            description="Runs of schedules that live at once on this server; the others wait (default 0: all)."
        ),
    ] = None
    runs_per_project: Annotated[
        Annotated[int, Meta(ge=0, le=100_000)] | None,
        Meta(description="The same for each project (default 0: all)."),
    ] = None


class LogrotateTable(Table, frozen=True, kw_only=True):
    """Where logrotate is."""

    dir: Annotated[
        Text | None,
        Meta(description="The directory that logrotate.conf includes (default /etc/logrotate.d)."),
    ] = None


class PathsTable(Table, frozen=True, kw_only=True):
    """Our own files. Relative paths are relative to the directory of config.toml."""

    projects_d: Annotated[Text | None, Meta(description="Directory of the project files.")] = None
    state: Annotated[Text | None, Meta(description="What we must remember.")] = None
    run: Annotated[Text | None, Meta(description="Locks and sockets.")] = None


class SiteFile(Table, frozen=True, kw_only=True):
    """config.toml: this server."""

    layout: LayoutTable = LayoutTable()
    backend: BackendTable = BackendTable()
    supervisor: SupervisorTable = SupervisorTable()
    cron: CronTable = CronTable()
    limits: LimitsTable = LimitsTable()
    logrotate: LogrotateTable = LogrotateTable()
    paths: PathsTable = PathsTable()


class BudgetTable(Table, frozen=True, kw_only=True):
    """[project.budget]: what all units of the project may use together."""

    memory: MemoryField = None
    cpu: CpuField = None
    tasks_max: TasksField = None
    io_weight: WeightField = None
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="With self_service: so many processes at most of all that the release declares (default 10)."
        ),
    ] = None


class ProjectTable(Table, frozen=True, kw_only=True):
    """[project]: what differs from the layout in config.toml."""

    user: Annotated[Text | None, Meta(description="Unix user that everything runs as.")] = None
    root: Annotated[Text | None, Meta(description="Directory that holds `current`.")] = None
    logs: Annotated[Text | None, Meta(description="Log directory of the project.")] = None
    environment: EnvironmentField = {}
    log_total: Annotated[
        int | str | None,
        Meta(
            description='All logs of the project together: the oldest go beyond it. Bytes or "1G" (the default), '
            "0: no cap. Backend native only."
        ),
    ] = None
    interpreters: Annotated[
        dict[str, str],
        Meta(description="Absolute paths of php, node, python…: the ones this project runs with."),
    ] = {}
    budget: BudgetTable = BudgetTable()
    operators: Annotated[
        list[Text],
        Meta(
            description='Users, and groups as "@group", who may control this project without root, as its own user may. '
            "Backend native only."
        ),
    ] = []
    viewers: Annotated[
        list[Text],
        Meta(description="Users and groups who may look at this project: status, logs, history, events."),
    ] = []
    self_service: Annotated[
        bool,
        Meta(
            description="Workers and schedules may also be declared by `shiftboss.toml` in the release, within the bounds "
            "of this file. They come into force with `shiftboss apply`. Backend native only."
        ),
    ] = False
    isolation: Annotated[
        IsolationLevel | None,
        Meta(
            description="Isolation of the units that do not say it themselves; those of the release get no less."
        ),
    ] = None


class WorkerTable(Table, frozen=True, kw_only=True):
    """[workers.NAME]: a long-running program."""

    preset: PresetField = None
    command: CommandField = None
    shell: ShellField = False
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="How many processes run (default 1).")
    ] = None
    scale_max: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="How many processes those who are not root may scale it to (default: as many as `processes`). "
            "Backend native only."
        ),
    ] = None
    options: OptionsField = {}
    environment: EnvironmentField = {}
    stop_signal: Annotated[str | None, Meta(description="Signal that asks it to stop, such as TERM.")] = None
    stop_wait: Annotated[
        Annotated[int, Meta(ge=1, le=86400)] | None, Meta(description="Seconds from that signal to SIGKILL.")
    ] = None
    stop_scope: Annotated[
        StopScope | None, Meta(description="Who gets the signal: the main process or its whole group.")
    ] = None
    restart: Annotated[
        Restart | None,
        Meta(description="When it is started again after its end: always (the default), on-failure, never."),
    ] = None
    restart_limit: Annotated[
        Annotated[int, Meta(ge=0, le=1000)] | None,
        Meta(
            description="Failed starts in a row after which it is given up (FATAL); 0: never. "
            "Default: never on the backend native, 60 on supervisor."
        ),
    ] = None
    env_file: Annotated[
        Text | None,
        Meta(
            description="File of NAME=value lines, read as the project's user at each start; relative to the "
            "project's root."
        ),
    ] = None
    start_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=3600)] | None,
        Meta(description="Seconds it must stay up to count as running (default 3, or the preset's)."),
    ] = None
    memory: MemoryField = None
    memory_soft: SoftMemoryField = None
    cpu: CpuField = None
    tasks_max: TasksField = None
    nofile: FilesField = None
    nice: NiceField = None
    io_weight: WeightField = None
    isolation: IsolationField = None
    no_new_privs: PrivilegesField = None
    private_network: NetworkField = False
    log_max_size: LogSizeField = None
    log_backups: LogBackupsField = None
    backend: BackendField = None


class ScheduleTable(Table, frozen=True, kw_only=True):
    """[schedules.NAME]: a command with times."""

    preset: PresetField = None
    cron: Annotated[Text | None, Meta(description='Cron expression, such as "0 2 * * *".')] = None
    every: Annotated[
        Text | None,
        Meta(
            description='Instead of cron: a regular interval such as "90s", "5m" or "1h30m", counted from a Monday midnight in UTC.'
        ),
    ] = None
    after: Annotated[
        Text | None,
        Meta(description="Instead of cron: run after each success of this other schedule of the project."),
    ] = None
    command: CommandField = None
    shell: ShellField = False
    options: OptionsField = {}
    environment: EnvironmentField = {}
    timezone: Annotated[
        Text | None, Meta(description="IANA time zone of the expression, such as Europe/Riga.")
    ] = None
    dst: Annotated[
        DstPolicy | None,
        Meta(
            description="A fixed time that does not exist when clocks go forward: run right after the gap as Debian's cron does (debian, the default), or leave it out (skip)."
        ),
    ] = None
    overlap: Annotated[
        Overlap | None,
        Meta(
            description="While an earlier run lives: leave the new one out (skip, the default or the preset's), let one wait (queue), stop the earlier one (replace), or run both (allow)."
        ),
    ] = None
    timeout: Annotated[
        DurationField, Meta(description='Stop a run after this time: seconds or "10m" (default: never).')
    ] = None
    stop_wait: Annotated[
        Annotated[int, Meta(ge=1, le=86400)] | None,
        Meta(description="Seconds from the signal that stops a run to SIGKILL (default 30)."),
    ] = None
    retries: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Meta(description="How often a failed or timed out run is tried again (default 0)."),
    ] = None
    retry_delay: Annotated[
        DurationField,
        Meta(
            description='Time before the first retry: seconds or "1m" (default 10 s); it doubles, up to an hour.'
        ),
    ] = None
    catch_up: Annotated[
        CatchUp | None,
        Meta(
            description="Times missed while the server was down: nothing (none), or one run for all of them (once, the default for what is due once a day or more rarely)."
        ),
    ] = None
    starting_deadline: Annotated[
        DurationField,
        Meta(
            description='Do not start later than this after its time: seconds or "5m" (default: see the docs).'
        ),
    ] = None
    jitter: Annotated[
        DurationField,
        Meta(description='Start up to this much later, another time for each occurrence: seconds or "5m".'),
    ] = None
    spread: Annotated[
        bool | None,
        Meta(
            description="Start at a second of the minute that is always the same for this project, so that projects do not start all at once."
        ),
    ] = None
    only_if: Annotated[
        Command | None,
        Meta(description="A command that is run first: the schedule runs only if it exits with 0."),
    ] = None
    expect_within: Annotated[
        DurationField, Meta(description='Alert when a run takes longer: seconds or "1h".')
    ] = None
    memory: MemoryField = None
    memory_soft: SoftMemoryField = None
    cpu: CpuField = None
    tasks_max: TasksField = None
    nofile: FilesField = None
    nice: NiceField = None
    io_weight: WeightField = None
    isolation: IsolationField = None
    no_new_privs: PrivilegesField = None
    private_network: NetworkField = False
    plain: Annotated[
        bool,
        Meta(
            description="The plain line of a crontab, as setup-cron writes it: the command itself, so no history, overlap, timeout or limits. Backend cron only."
        ),
    ] = False
    log_max_size: LogSizeField = None
    log_backups: LogBackupsField = None
    backend: BackendField = None


class ProjectFile(Table, frozen=True, kw_only=True):
    """projects/NAME.toml: what one project runs."""

    project: ProjectTable = ProjectTable()
    workers: dict[str, WorkerTable] = {}
    schedules: dict[str, ScheduleTable] = {}


def json_schema(which: Literal["config", "project"]) -> dict[str, Any]:
    """Return the JSON schema (2020-12) of `config.toml` or of a project file."""
    return msgspec.json.schema(SiteFile if which == "config" else ProjectFile)
