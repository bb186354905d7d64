"""Commands of somebody to whom this server does not belong: the engine is asked for everything, no file is read.

Imported only for such a guest: the client of the api comes with it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from shiftboss.api import calls
from shiftboss.api.client import Client
from shiftboss.api.facts import engine_process
from shiftboss.cli.log_print import Printer
from shiftboss.cli.session import Session
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.log_lines import lines_since, parse_since
from shiftboss.core.status import status_of
from shiftboss.core.words import shown
from shiftboss.setup.report import ProjectReport, Report, WorkerReport, timed_report, with_usage

# a stop may take as long as the longest job; who waits may interrupt it
_WAIT_SECONDS = 3600.0
_MOST_LINES = 10_000
_AT_REST = frozenset({"STOPPED", "EXITED", "FATAL"})


def report(session: Session, target: str | None) -> Report:
    """Return what runs of the caller's projects, or of one target."""
    with _client(session) as client:
        status = client.status(*([target] if target else []), usage=True)
    projects = tuple(_project(project) for project in status.projects)
    found = session.machine.engines.connect(session.site.api_socket).schedules()
    zone = session.machine.clock.zone()
    schedules = [each for each in found if not target or f"{each.address}/".startswith(f"{target}/")]
    return Report(
        tuple(
            msgspec.structs.replace(
                project,
                schedules=tuple(
                    timed_report(each, each.when, str(zone), zone)
                    for each in schedules
                    if each.address.startswith(f"{project.project}/")
                ),
            )
            for project in with_usage(session.machine, session.site, projects)
        ),
        troubles=(*status.troubles, *_troubles(status)),
    )


def schedules(session: Session, target: str | None) -> tuple[calls.ScheduleStatus, ...]:
    """Return the schedules of the caller's projects, or of one target."""
    with _client(session) as client:
        return client.schedules(*([target] if target else [])).schedules


def _client(session: Session) -> Client:
    return Client(session.site.api_socket)


def _project(project: calls.ProjectStatus) -> ProjectReport:
    workers = tuple(_worker(unit) for unit in project.units if unit.kind == "worker")
    return ProjectReport(project.name, project.user, project.release or None, workers)


def _worker(unit: calls.UnitStatus) -> WorkerReport:
    name = unit.address.partition("/")[2]
    processes = tuple(status_of(engine_process(process)) for process in unit.processes)
    return WorkerReport(name, unit.preset, "native", shown(unit.command), processes)


def _troubles(status: calls.Status) -> Iterable[str]:
    for unit in (unit for project in status.projects for unit in project.units):
        if unit.log_trouble:
            yield f"{unit.address}: {unit.log_trouble}"
        if unit.override is not None:
            yield f"{unit.address} was scaled to {unit.override} without root"


def start(session: Session, targets: Sequence[str]) -> None:
    """Start processes and wait until they stay up; raises HostError for one that does not."""
    session.console.waiting(f"waiting until {', '.join(targets)} stays up")
    with _client(session) as client:
        changed = client.start(*targets, wait_seconds=_WAIT_SECONDS)
    _tell_started(session, changed)


def restart(session: Session, targets: Sequence[str]) -> None:
    """Restart processes and prove it: old and new pid."""
    session.console.waiting(f"waiting for {', '.join(targets)} to finish and to start again")
    with _client(session) as client:
        changed = client.restart(*targets, wait_seconds=_WAIT_SECONDS)
    _tell_started(session, changed)
    for process in changed.processes:
        session.console.print(f"{process.target}: pid {process.old_pid or '-'} -> {process.new_pid}")


def stop(session: Session, targets: Sequence[str], *, keep: bool) -> None:
    """Stop processes and wait until they are gone."""
    session.console.waiting(f"waiting for {', '.join(targets)} to finish its work")
    with _client(session) as client:
        changed = client.stop(*targets, wait_seconds=_WAIT_SECONDS, keep=keep)
    left = [process for process in changed.processes if process.state not in _AT_REST]
    if left:
        raise HostError(
            f"cannot stop {', '.join(process.target for process in left)}: still there",
            hint="See what it does: shiftboss status",
        )
    session.console.step(f"stopped {', '.join(process.target for process in changed.processes)}")


def scale(session: Session, target: str, number: int, *, dry_run: bool) -> None:
    """Run so many processes of a worker, within what root allows; the project file stays as it is."""
    with _client(session) as client:
        if dry_run:
            units = [unit for project in client.status(target).projects for unit in project.units]
            for unit in units:
                session.console.print(f"scale {unit.address} from {unit.wanted} to {number} processes")
            return
        session.console.waiting(f"waiting until {target} runs {number} processes")
        changed = client.scale(target, number, wait_seconds=_WAIT_SECONDS)
    started = tuple(process for process in changed.processes if process.state != "STOPPED")
    _tell_started(session, msgspec.structs.replace(changed, processes=started))


def _tell_started(session: Session, changed: calls.Changed) -> None:
    failed = [process for process in changed.processes if process.state != "RUNNING"]
    for process in changed.processes:
        if process.state == "RUNNING":
            session.console.step(f"{process.target} runs: pid {process.new_pid}")
    if failed:
        first = failed[0]
        unit = first.target.partition(":")[0]
        raise HostError(
            f"{first.target} does not stay up ({first.state}): {first.reason or 'it ended at once'}",
            hint=f"See its log: shiftboss logs {unit}",
        )


def logs(session: Session, targets: Sequence[str], lines: int, since: str | None, *, follow: bool) -> None:
    """Print the last lines of logs, and new ones as they come if `follow`."""
    after = parse_since(since, session.machine.clock.now()) if since else None
    with _client(session) as client:
        addresses = [u.address for project in client.status(*targets).projects for u in project.units]
        if not addresses:
            raise UserError("there is no unit to show logs of", hint="See what runs: shiftboss status")
        printer = Printer(addresses)
        if follow and after is None:
            _follow(session, client, printer, addresses, min(lines, _MOST_LINES))
        count = _MOST_LINES if after else min(lines, _MOST_LINES)
        for log in client.logs(*addresses, lines=count).logs:
            if log.trouble:
                session.console.warn(f"{log.target}: {log.trouble}")
            for line in lines_since(log.lines, after, lines) if after else log.lines:
                printer.print(log.target, line)
        if follow:
            _follow(session, client, printer, addresses, 0)


def run_log(session: Session, target: str, run: int) -> Sequence[str]:
    """Return the output of one run of a schedule."""
    with _client(session) as client:
        return client.run_log(target, run).lines


def _follow(session: Session, client: Client, printer: Printer, addresses: list[str], lines: int) -> None:
    for log in client.follow_logs(*addresses, lines=lines):
        if log.lost:
            session.console.warn(f"{log.target}: {log.lost} lines were not shown: see its log")
        for line in log.lines:
            printer.print(log.target, line)
        printer.flush()


def names(session: Session) -> list[str]:
    """Return the projects and units that the caller may look at."""
    with _client(session) as client:
        projects = client.status().projects
    return sorted([*(p.name for p in projects), *(unit.address for p in projects for unit in p.units)])
