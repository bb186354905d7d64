"""Tables -> values: `Site`, `Project`, `LogPolicy`, with every path absolute and every default filled in."""

import posixpath
import re
from collections.abc import Mapping

from shiftboss.core.errors import UserError
from shiftboss.core.spec import (
    DEFAULT_PATH,
    Account,
    Environment,
    Isolation,
    Limits,
    LogPolicy,
    Project,
    Site,
    SupervisorSite,
)
from shiftboss.core.tables import BudgetTable, ProjectTable, ScheduleTable, SiteFile, WorkerTable

_SIZE = r"(?i)(?P<number>[1-9][0-9]{0,8})\s*(?P<unit>[KMG]?)i?B?"
_LOG_TOTAL = 1024**3
_PERCENT = r"(?P<number>[1-9][0-9]{0,5})\s*%?"
_LEAST_MEMORY = 1024**2
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def parse_size(value: int | str, where: str) -> int:
    """Return bytes of `1048576` or "10M" (K, M, G: powers of 1024); raise UserError otherwise."""
    found = re.fullmatch(_SIZE, str(value))
    if not found:
        raise UserError(
            f"{value!r} is not a size", where=where, hint='Write bytes, or a number with K, M or G: "10M".'
        )
    return int(found["number"]) * _UNITS[found["unit"].upper()]


def log_policy(size: int | str | None, backups: int | None, where: str) -> LogPolicy:
    """Return the log policy of a unit, the defaults where it says nothing."""
    default = LogPolicy()
    max_bytes = default.max_bytes if size is None else parse_size(size, f"{where}.log_max_size")
    return LogPolicy(max_bytes, default.backups if backups is None else backups)


def parse_percent(value: int | str, where: str) -> int:
    """Return the percent of `50` or "50%"; raise UserError otherwise."""
    found = re.fullmatch(_PERCENT, str(value))
    if not found:
        raise UserError(
            f"{value!r:.60} is not a share of the CPU",
            where=where,
            hint='Write percent of one core: "50%" is half a core, "200%" two.',
        )
    return int(found["number"])


def unit_limits(table: WorkerTable | ScheduleTable, where: str) -> Limits:
    """Return the limits of a unit; raise UserError that begins with `where` and the key."""
    memory = _memory(table.memory, f"{where}.memory")
    soft = _memory(table.memory_soft, f"{where}.memory_soft")
    if memory and soft >= memory:
        raise UserError(
            "must be less than memory, or it is killed before it can be asked to end",
            where=f"{where}.memory_soft",
            hint=f"Four fifths of memory are a good start: {memory * 4 // 5 // 1024**2}M.",
        )
    return Limits(
        memory_bytes=memory,
        memory_soft_bytes=soft,
        cpu_percent=0 if table.cpu is None else parse_percent(table.cpu, f"{where}.cpu"),
        tasks_max=table.tasks_max or 0,
        nofile=table.nofile or 0,
        nice=table.nice or 0,
        io_weight=table.io_weight or 0,
    )


def unit_isolation(table: WorkerTable | ScheduleTable) -> Isolation:
    """Return how far a unit is shut in, as its table asks."""
    return Isolation(table.isolation, table.no_new_privs, table.private_network)


def _budget(table: BudgetTable, where: str) -> Limits:
    return Limits(
        memory_bytes=_memory(table.memory, f"{where}.memory"),
        cpu_percent=0 if table.cpu is None else parse_percent(table.cpu, f"{where}.cpu"),
        tasks_max=table.tasks_max or 0,
        io_weight=table.io_weight or 0,
    )


def _memory(value: int | str | None, where: str) -> int:
    size = 0 if value is None else parse_size(value, where)
    if value is not None and size < _LEAST_MEMORY:
        raise UserError(
            f"{value!r} is too little for any program", where=where, hint='Write K, M or G behind it: "256M".'
        )
    return size


def make_site(tables: SiteFile, *, config_file: str, defaults: Site) -> Site:
    """Resolve config.toml: relative paths against its directory, gaps from `defaults`."""
    base = posixpath.dirname(config_file)

    def path(value: str | None, default: str) -> str:
        return _clean(posixpath.join(base, value)) if value else default

    user = tables.layout.user or defaults.user
    if re.search("[{}]", user.replace("{project}", "")):
        raise UserError(
            "only {project} can stand in braces",
            where=f"{config_file}: layout.user",
            hint='For example "{project}_user".',
        )
    return Site(
        config_file=config_file,
        projects_d=path(tables.paths.projects_d, defaults.projects_d),
        state=path(tables.paths.state, defaults.state),
        run=path(tables.paths.run, defaults.run),
        projects=path(tables.layout.projects, defaults.projects),
        logs=path(tables.layout.logs, defaults.logs),
        user=user,
        system=defaults.system,
        worker_backend=tables.backend.workers or "",
        schedule_backend=tables.backend.schedules or "",
        supervisor=_supervisor(tables, base),
        cron_dir=path(tables.cron.dir, defaults.cron_dir),
        logrotate_dir=path(tables.logrotate.dir, defaults.logrotate_dir),
        max_runs=tables.limits.runs or 0,
        max_runs_per_project=tables.limits.runs_per_project or 0,
    )


def _clean(path: str) -> str:
    """Return a path without slashes at its end: names are put behind it."""
    return path.rstrip("/") or "/"


def _supervisor(tables: SiteFile, base: str) -> SupervisorSite:
    table = tables.supervisor
    return SupervisorSite(
        conf_file=posixpath.join(base, table.conf_file) if table.conf_file else "",
        conf_dir=posixpath.join(base, table.conf_dir) if table.conf_dir else "",
        server=_server_url(table.server, base),
        username=table.username or "",
        password=table.password or "",
    )


def _server_url(server: str | None, base: str) -> str:
    """Resolve `unix://relative.sock` against the directory of config.toml."""
    if server and server.startswith("unix://"):
        return f"unix://{posixpath.join(base, server.removeprefix('unix://'))}"
    return server or ""


def project_user(site: Site, name: str, table: ProjectTable) -> str:
    """Return the name of the Unix user of a project."""
    return table.user or site.user.replace("{project}", name)


def make_project(site: Site, name: str, table: ProjectTable, account: Account) -> Project:
    """Resolve a project: paths from its own table or the layout, PATH with its interpreters first.

    Whom it names as operators and viewers must be looked up: they are left out.
    """
    own = (posixpath.dirname(program) for program in table.interpreters.values())
    usual = DEFAULT_PATH.split(":")
    path = ":".join(dict.fromkeys([*(d for d in own if d not in usual), *usual]))
    root, logs = home_of(site, name, table)
    return Project(
        name=name,
        root=root,
        logs=logs,
        account=account,
        environment=environment_pairs(table.environment),
        path=path,
        log_total_bytes=_log_total(name, table),
        budget=_budget(table.budget, f"{site.projects_d}/{name}.toml: project.budget"),
    )


def home_of(site: Site, name: str, table: ProjectTable) -> tuple[str, str]:
    """Return where a project lives and where it logs."""
    root = _clean(table.root) if table.root else f"{site.projects}/{name}"
    return root, _clean(table.logs) if table.logs else f"{site.logs}/{name}"


def _log_total(name: str, table: ProjectTable) -> int:
    if table.log_total is None:
        return _LOG_TOTAL
    return 0 if table.log_total == 0 else parse_size(table.log_total, f"{name}: project.log_total")


def environment_pairs(environment: Mapping[str, str]) -> Environment:
    """Return the variables as pairs, in the order of the file."""
    return tuple(environment.items())
