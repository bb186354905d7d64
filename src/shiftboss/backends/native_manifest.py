"""A unit as an entry of the manifest: what keeper and engine are told of it."""

from typing import Any

from shiftboss.core.errors import UserError
from shiftboss.core.isolation import confined, default_level
from shiftboss.core.schedule_entry import LANES, SCHEDULE, check_times, condition_of, options_of
from shiftboss.core.spec import Account, Environment, Project, Schedule, Site, Unit, Worker
from shiftboss.core.wire.entry import Entry, Grants, Policy, StopTerms, with_revision
from shiftboss.core.wire.manifest import MAX_MANIFEST, manifest_text


def manifest_path(site: Site, project: str) -> str:
    """Return where the manifest of a project is."""
    return f"{manifest_directory(site)}/{project}.json"


def manifest_directory(site: Site) -> str:
    """Return the directory that the keeper reads."""
    return f"{site.state}/manifest"


def render(project: Project, entries: tuple[Entry, ...]) -> str:
    """Return the text of a project's manifest; raise UserError if the keeper would refuse it for its size."""
    text = manifest_text(project.name, entries)
    if len(text.encode()) > MAX_MANIFEST:
        raise UserError(
            f"cannot run {len(entries)} units of {project.name}: what describes them is larger than {MAX_MANIFEST >> 20} MiB",
            hint="Divide them between several projects.",
        )
    return text


def entry_of(worker: Worker, site: Site) -> Entry:
    """Return the entry of a worker with its limits, its isolation and its revision."""
    entry = plain_entry(worker)._replace(policy=_policy(worker))
    return with_revision(confined(entry, worker, site, default_level(worker), watched=True))


def entries_of(schedule: Schedule, site: Site) -> tuple[Entry, ...]:
    """Return the entry of a schedule, and that of its condition if it has one; with their revisions.

    Raises UserError for times that cannot be.
    """
    check_times(schedule)
    policy = Policy(
        kind=SCHEDULE,
        preset=schedule.preset,
        processes=0,
        log_path=schedule.log_path,
        log_max_bytes=schedule.log.max_bytes,
        log_backups=schedule.log.backups,
        log_total_bytes=schedule.project.log_total_bytes,
        options=options_of(schedule, site),
    )
    entry = plain_entry(schedule)._replace(policy=policy)
    # started afresh, its work would begin again: the kernel slows it down at its soft limit
    entry = confined(entry, schedule, site, default_level(schedule), watched=False)
    if not schedule.only_if:
        return (with_revision(entry),)
    asked = policy._replace(kind="helper", options={})
    condition = entry._replace(address=condition_of(schedule.address), argv=schedule.only_if, policy=asked)
    return (with_revision(entry), with_revision(condition))


def plain_entry(unit: Unit) -> Entry:
    """Return what a unit runs, as whom and how it is stopped: without its policy, not confined, without revision."""
    return Entry(
        **_account(unit.project, unit.environment),
        address=unit.address,
        argv=unit.argv,
        revision="",
        **(_terms_of_worker(unit) if isinstance(unit, Worker) else _terms_of_schedule(unit)),
    )


def _terms_of_worker(worker: Worker) -> dict[str, Any]:
    return {
        "env_file": worker.env_file,
        "processes_max": max(worker.processes, worker.scale_max),
        "stop": StopTerms(worker.stop.signal, float(worker.stop.wait_seconds), worker.stop.scope),
    }


def _terms_of_schedule(schedule: Schedule) -> dict[str, Any]:
    return {
        "processes_max": LANES,
        "stop": StopTerms(wait_seconds=float(schedule.policy.stop_seconds)),
    }


def _account(project: Project, environment: Environment) -> dict[str, Any]:
    """Return what an entry says of its user and project."""
    account = project.account
    return {
        "user": account.name,
        "uid": account.uid,
        "gid": account.gid,
        "groups": _supplementary(account),
        "home": account.home,
        "shell": account.shell,
        "path": project.path,
        "directory": project.current,
        "current": project.current,
        "environment": dict(project.environment) | dict(environment),
    }


def _supplementary(account: Account) -> tuple[int, ...]:
    """Return what a login of the account would have: its own group is among them (initgroups(3))."""
    return tuple(sorted({account.gid, *account.groups}))


def _policy(worker: Worker) -> Policy:
    return Policy(
        kind="worker",
        preset=worker.preset,
        processes=worker.processes,
        start_seconds=float(worker.start_seconds),
        restart=worker.restart,
        restart_limit=worker.restart_limit,
        log_path=worker.log_path,
        log_max_bytes=worker.log.max_bytes,
        log_backups=worker.log.backups,
        log_total_bytes=worker.project.log_total_bytes,
        memory_soft_bytes=worker.limits.memory_soft_bytes,
        exit_meanings={str(code): words for code, words in worker.exit_meanings},
    )


def with_grants(project: Project, entry: Entry) -> Entry:
    """Return an entry that says who may look at and control the project beside its own user; every one says it."""
    operators, viewers = project.operators, project.viewers
    grants = Grants(operators.users, operators.groups, viewers.users, viewers.groups)
    return entry._replace(policy=entry.policy._replace(grants=grants))
