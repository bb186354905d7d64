"""A worker as an entry of the manifest: what keeper and engine are told of it."""

from shiftboss.core.isolation import confined
from shiftboss.core.spec import Account, IsolationLevel, Project, Site, Worker
from shiftboss.core.wire import Entry, Policy, StopTerms, manifest_text, with_revision

DEFAULT_ISOLATION: IsolationLevel = "standard"


def manifest_path(site: Site, project: str) -> str:
    """Return where the manifest of a project is."""
    return f"{manifest_directory(site)}/{project}.json"


def manifest_directory(site: Site) -> str:
    """Return the directory that the keeper reads."""
    return f"{site.state}/manifest"


def render(project: Project, entries: tuple[Entry, ...]) -> str:
    """Return the text of a project's manifest."""
    return manifest_text(project.name, entries)


def entry_of(worker: Worker, site: Site) -> Entry:
    """Return the entry of a worker with its limits, its isolation and its revision."""
    return with_revision(confined(_plain_entry(worker), worker, site, DEFAULT_ISOLATION, watched=True))


def _plain_entry(worker: Worker) -> Entry:
    project, account = worker.project, worker.project.account
    return Entry(
        address=worker.address,
        argv=worker.argv,
        user=account.name,
        uid=account.uid,
        gid=account.gid,
        groups=_supplementary(account),
        home=account.home,
        shell=account.shell,
        path=project.path,
        directory=project.current,
        current=project.current,
        revision="",
        env_file=worker.env_file,
        environment=dict(project.environment) | dict(worker.environment),
        processes_max=worker.processes,
        stop=StopTerms(worker.stop.signal, float(worker.stop.wait_seconds), worker.stop.scope),
        policy=_policy(worker),
    )


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
