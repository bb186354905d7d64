"""`shiftboss doctor`: gathers facts about projects and server, and lets the rules of core judge them."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from shiftboss.backends.cron_line import crontab_path
from shiftboss.backends.launch_places import orders_directories
from shiftboss.backends.native_manifest import manifest_directory, manifest_path
from shiftboss.core.doctor import Finding, Server, Tenant, account_findings
from shiftboss.core.doctor_crowd import crowd_findings
from shiftboss.core.doctor_doubles import double_findings
from shiftboss.core.doctor_paths import path_findings
from shiftboss.core.doctor_service import Services, service_findings
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.facts import PathFacts
from shiftboss.core.isolation import outlying_path
from shiftboss.core.managed import read_seal
from shiftboss.core.spec import Project, Site, Unit
from shiftboss.core.tables import ScheduleTable
from shiftboss.core.wire import entry as wire_entry
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.core.wire.values import WireError
from shiftboss.host.machine import Machine
from shiftboss.setup.catalog import Catalog, Entry, accepted_directory, accepted_path
from shiftboss.setup.closing import SERVICES
from shiftboss.setup.detect import load_preset
from shiftboss.setup.mail import mail_trouble
from shiftboss.setup.self_service import offer_trouble
from shiftboss.setup.units import forgotten_project, resolve
from shiftboss.version import VERSION

_SUDOERS, _SUDOERS_D = "/etc/sudoers", "/etc/sudoers.d"
_LEVELS = ("problem", "caution", "note")


def examine(machine: Machine, site: Site, catalog: Catalog, name: str | None) -> tuple[Finding, ...]:
    """Return what is wrong with one project, or with all and the server itself; the worst first.

    Nothing is changed, nothing of a project runs as root. Raises UserError for a project that there is not.
    """
    if name is not None:
        catalog.require(name)
    tenants = [_tenant(machine, site, project, entry) for project, entry in sorted(catalog.entries.items())]
    server = _server(machine, site)
    asked = [tenant for tenant in tenants if name in (None, tenant.project.name)]
    found = [f for f in account_findings(tenants, server) if name in (None, f.target)]
    found += _offers(machine, site, catalog, asked)
    for tenant in asked:
        found += path_findings(tenant, server)
        found += _of_units(machine, site, catalog.entries[tenant.project.name], tenant)
    if name is None:
        found += [_broken(error) for error in catalog.errors.values()]
        found += crowd_findings(_native_schedules(site, catalog))
    found += service_findings(_services(machine, site, catalog, name))
    return tuple(sorted(dict.fromkeys(found), key=lambda f: _LEVELS.index(f.level)))


def _broken(error: ShiftbossError) -> Finding:
    return Finding("problem", "config", "shiftboss", f"{error}. {error.hint}")


def _tenant(machine: Machine, site: Site, name: str, entry: Entry) -> Tenant:
    project = forgotten_project(machine, site, name, entry.tables)
    if project.account.uid < 0:
        return Tenant(project, known=False)
    writers = set(_backends(site, entry))
    entries = dict(_surveyed(machine, project))
    release = _release(machine, project)
    entries |= machine.files.survey(project.account, release) if release else {}
    env_files = _env_files(project, entry)
    written = tuple(_written(machine, site, name))
    entries |= _facts_of(machine, project, env_files - entries.keys())
    return Tenant(
        project,
        places=dict(_places(machine, project)),
        entries=entries,
        release=release,
        log_writer="engine" if "native" in writers else "root" if "supervisor" in writers else "",
        env_files=env_files,
        written_users=frozenset(entry.uid for entry in written),
        written_groups=frozenset(group for entry in written for group in entry.groups),
    )


def _env_files(project: Project, entry: Entry) -> frozenset[str]:
    named = (worker.env_file for worker in entry.tables.workers.values())
    return frozenset(os.path.normpath(os.path.join(project.root, path)) for path in named if path)


def _facts_of(machine: Machine, project: Project, paths: Iterable[str]) -> dict[str, PathFacts]:
    """Return the facts of files as the project's user sees them, where no link of its own leads to them."""
    seen = ((path, machine.files.survey(project.account, os.path.dirname(path)).get(path)) for path in paths)
    return {path: facts for path, facts in seen if facts is not None}


def _written(machine: Machine, site: Site, name: str) -> Iterator[wire_entry.Entry]:
    """Yield what keeper and launcher go by when they start the units of a project."""
    orders = (f"{directory}/{name}.json" for directory in orders_directories(site))
    for path in (manifest_path(site, name), *orders):
        with contextlib.suppress(HostError, WireError):  # not ours to read, or another finding
            yield from read_manifest((machine.files.read(path) or "{}").encode(), name)


def _offers(machine: Machine, site: Site, catalog: Catalog, tenants: Iterable[Tenant]) -> Iterator[Finding]:
    """Yield the projects whose release declares something else than what is in force."""
    for name in (tenant.project.name for tenant in tenants if tenant.known):
        if trouble := offer_trouble(machine, site, name, catalog.require(name)):
            yield Finding("caution", "self-service", name, trouble, f"shiftboss apply {name}")


def _backends(site: Site, entry: Entry) -> Iterator[str]:
    """Yield the backends of the units of a project; its workers alone say who writes its logs."""
    yield from (worker.backend or site.worker_backend for worker in entry.tables.workers.values())
    yield from (schedule.backend or site.schedule_backend for schedule in entry.tables.schedules.values())


def _native_schedules(site: Site, catalog: Catalog) -> dict[str, list[ScheduleTable]]:
    """Return the schedules of each project that our own engine runs: it is the one that can spread them."""
    return {
        name: [
            _with_times(table)
            for table in entry.tables.schedules.values()
            if (table.backend or site.schedule_backend) == "native"
        ]
        for name, entry in catalog.entries.items()
    }


def _with_times(table: ScheduleTable) -> ScheduleTable:
    """Return a table that says the times which its preset gives it."""
    if table.preset and not (table.cron or table.every or table.after):
        with contextlib.suppress(UserError):  # an unknown preset is another finding
            return replace(table, cron=load_preset(table.preset).cron or None)
    return table


def _surveyed(machine: Machine, project: Project) -> Iterator[tuple[str, PathFacts]]:
    """Yield the facts of the project's directory and of `shared`; a link in their place is not entered."""
    root = machine.files.survey(project.account, project.root)
    yield from root.items()
    shared = root.get(f"{project.root}/shared")
    if shared is not None and shared.type == "directory":
        yield from machine.files.survey(project.account, f"{project.root}/shared").items()


def _release(machine: Machine, project: Project) -> str:
    """Return the directory of the live release, "" unless it is inside the project: `current` may lead anywhere."""
    root, release = machine.files.real_path(project.root), machine.files.real_path(project.current)
    return release if root and release and release.startswith(f"{root}/") else ""


def _places(machine: Machine, project: Project) -> Iterator[tuple[str, PathFacts]]:
    """Yield root, home, logs, and the directories above root and logs."""
    wanted = [project.root, project.logs, project.account.home]
    for path in (project.root, project.logs):
        while (path := os.path.dirname(path)) not in ("/", ""):
            wanted.append(path)
    for path in dict.fromkeys(wanted):
        with contextlib.suppress(HostError):  # we may not look there
            if (facts := machine.files.stat(path)) is not None:
                yield path, facts


def _server(machine: Machine, site: Site) -> Server:
    sudoers: dict[str, str] = {}
    if site.system:
        with contextlib.suppress(HostError):
            sudoers = {_SUDOERS: machine.files.read(_SUDOERS) or ""}
            sudoers |= machine.files.read_matching(_SUDOERS_D, "*")
    try:
        engine = machine.accounts.engine().uid
    except HostError:
        engine = -1
    return Server(machine.accounts.all_groups(), engine, site.system, sudoers)


def _of_units(machine: Machine, site: Site, entry: Entry, tenant: Tenant) -> list[Finding]:
    """Return findings about the units of a project; one that cannot be resolved is a finding itself."""
    project = tenant.project
    if not tenant.known or not (entry.tables.workers or entry.tables.schedules):
        return []
    try:
        units = resolve(machine, site, project.name, entry).units
    except ShiftbossError as error:
        return [Finding("problem", "not-runnable", project.name, str(error), "")]
    found = list(_doubles(machine, site, project, units, tenant.release))
    found += [
        Finding("note", "mail", unit.address, words)
        for unit in units
        if (words := mail_trouble(machine, unit))
    ]
    return found


def _doubles(
    machine: Machine, site: Site, project: Project, units: tuple[Unit, ...], release: str
) -> tuple[Finding, ...]:
    crontabs = machine.cron.other_crontabs(crontab_path(site, project.name)) if site.system else {}
    confs: Mapping[str, str] = {}
    with contextlib.suppress(ShiftbossError):  # no Supervisor here
        confs = machine.files.read_matching(machine.supervisors.locate(site.supervisor).conf_dir, "*.conf")
    foreign = {path: text for path, text in confs.items() if read_seal(text) is None}
    return double_findings(project, units, release, crontabs, foreign)


def _services(machine: Machine, site: Site, catalog: Catalog, name: str | None) -> Services:
    entries = [entry for project, entry in catalog.entries.items() if name in (None, project)]
    used = frozenset(backend for entry in entries for backend in _backends(site, entry) if backend)
    down = dict(_down(machine, site, used))
    engine = None
    if "native" in used:
        with contextlib.suppress(ShiftbossError):
            engine = machine.engines.connect(site.api_socket).facts()
    files = machine.files
    return Services(
        used=used,
        socket=site.api_socket,
        version=VERSION,
        engine=engine,
        socket_there=files.stat(site.api_socket) is not None,
        has_systemd=files.stat("/run/systemd/system") is not None,
        down=down,
        at_boot={b: machine.boot.starts(SERVICES[b][0]) for b in used if b in SERVICES}
        if site.system
        else {},
        own=dict(_own(machine, site, catalog)),
        own_uid=machine.accounts.own().uid,
        secrets=dict(_secrets(site, catalog)),
    )


def _secrets(site: Site, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield our files that hold what not everybody should read, and what that is."""
    if site.supervisor.password:
        yield site.config_file, "a password"
    for entry in catalog.entries.values():
        own = entry.own
        of_workers = any(worker.environment for worker in own.workers.values())
        if own.project.environment or of_workers or any(s.environment for s in own.schedules.values()):
            yield entry.path, "variables of programs"


def _down(machine: Machine, site: Site, used: Iterable[str]) -> Iterator[tuple[str, str]]:
    if "supervisor" in used:
        try:
            machine.supervisors.connect(machine.supervisors.locate(site.supervisor)).facts()
        except ShiftbossError as error:
            yield "supervisor", f"{error}. {error.hint}"
    if "cron" in used and machine.cron.reader(site.cron_dir) is None:
        yield "cron", f"no cron daemon runs that reads {site.cron_dir}"


def _own(machine: Machine, site: Site, catalog: Catalog) -> Iterator[tuple[str, PathFacts]]:
    etc, outlying = os.path.dirname(site.config_file), outlying_path(site)
    places = (site.config_file, etc, site.projects_d, site.state, site.run, outlying)
    decisive = (manifest_directory(site), accepted_directory(site), *orders_directories(site))
    of_projects = (
        path
        for name, entry in catalog.entries.items()
        for path in (entry.path, manifest_path(site, name), accepted_path(site, name))
    )
    for path in dict.fromkeys((*places, *decisive, *of_projects)):
        with contextlib.suppress(HostError):
            if (facts := machine.files.stat(path)) is not None:
                yield path, facts
