"""The status of projects as tables for people and as JSON for programs."""

from collections.abc import Iterable
from typing import Any

from msgspec import to_builtins as asdict

from shiftboss.cli.output import Console, duration, print_json, size, table
from shiftboss.cli.session import Session
from shiftboss.core.status import ProcessStatus
from shiftboss.setup.report import ProjectReport, Report, ScheduleReport, WorkerReport

_NAMED = 3
_REVIVE = "it was given up; once it is mended: shiftboss start"


def document(found: Report) -> dict[str, Any]:
    """Return the document of `status --json`."""
    return {"projects": [asdict(project) for project in found.projects]}


def show(session: Session, found: Report, *, as_json: bool) -> None:
    """Print a status, as JSON if asked."""
    if as_json:
        print_json(document(found))
    else:
        print_status(session.console, found)


def print_status(console: Console, found: Report) -> None:
    """Print what runs, what runs next, and what is wrong with the command that mends it."""
    workers = [(project, worker) for project in found.projects for worker in project.workers]
    schedules = [(project, schedule) for project in found.projects for schedule in project.schedules]
    if workers:
        rows = [_process_row(p, w, process) for p, w in workers for process in w.processes]
        console.print(table(("WORKER", "STATE", "PID", "UPTIME", "MEMORY", "CPU", "RELEASE"), rows))
    if schedules:
        if workers:
            console.print()
        rows = [_schedule_row(project, schedule) for project, schedule in schedules]
        console.print(table(("SCHEDULE", "CRON", "STATE", "NEXT", "LAST", "OUTCOME"), rows))
    if not workers and not schedules:
        console.print("Nothing is set up yet. Start with: shiftboss setup PROJECT")
    for line in (*_release_lines(found), *_limit_lines(workers)):
        console.print(line)
    problems = (*_problems(workers), *_problems_of(schedules), *_lacking(workers), *found.troubles)
    for problem in problems:
        console.print(problem, colour="yellow")


def _release_lines(found: Report) -> list[str]:
    """Say which units are declared by the releases of their projects (`self_service`)."""
    return [
        f"declared by the release of {p.project}: {', '.join(f'{p.project}/{name}' for name in p.from_release)}"
        for p in found.projects
        if p.from_release
    ]


def _process_row(project: ProjectReport, worker: WorkerReport, process: ProcessStatus) -> tuple[str, ...]:
    return (
        _address(project, worker, process),
        process.state or "unknown",
        str(process.pid or "-"),
        duration(process.uptime_seconds),
        size(process.memory_bytes),
        "-" if process.cpu_percent is None else f"{process.cpu_percent:.0f}%",
        _release(process),
    )


def _address(project: ProjectReport, worker: WorkerReport, process: ProcessStatus) -> str:
    name = f"{project.project}/{worker.name}"
    return name if len(worker.processes) == 1 else f"{name}:{process.process}"


def _release(process: ProcessStatus) -> str:
    if process.stale is None:
        return "-"
    if process.deleted:
        return "(deleted)"
    return "STALE" if process.stale else "current"


def _schedule_row(project: ProjectReport, schedule: ScheduleReport) -> tuple[str, ...]:
    last = schedule.last.started if schedule.last else None
    outcome = schedule.last.outcome if schedule.last else None
    return (
        f"{project.project}/{schedule.name}",
        schedule.cron,
        schedule.state or "-",
        _minute(schedule.next),
        _minute(last or (schedule.last.due if schedule.last else None)),
        (outcome or "-").replace("_", " "),
    )


def _minute(moment: str | None) -> str:
    if not moment:
        return "-"
    return moment[:19].replace("T", " ").removesuffix(":00")


def _problems_of(schedules: Iterable[tuple[ProjectReport, ScheduleReport]]) -> Iterable[str]:
    for project, schedule in schedules:
        name = f"{project.project}/{schedule.name}"
        if schedule.state in ("PAUSED", "HALTED"):
            yield f"{name} does not run: {schedule.reason}; again with: shiftboss resume {name}"
        elif schedule.reason:
            yield f"{name}: {schedule.reason}; more: shiftboss why {name}"


def _limit_lines(workers: Iterable[tuple[ProjectReport, WorkerReport]]) -> Iterable[str]:
    """Say the limits in use, and who holds each."""
    for project, worker in workers:
        if worker.limits:
            said = ", ".join(f"{x.limit} {x.value} ({x.held_by})" for x in worker.limits)
            yield f"limits of {project.project}/{worker.name}: {said}"


def _lacking(workers: Iterable[tuple[ProjectReport, WorkerReport]]) -> Iterable[str]:
    """Say once what of limits and isolation this machine does not give, and to whom."""
    found: dict[str, dict[str, None]] = {}
    for project, worker in workers:
        for note in (note for process in worker.processes for note in process.notes):
            found.setdefault(note, {})[f"{project.project}/{worker.name}"] = None
    for note, names in found.items():
        yield f"{_some(list(names))}: {note}"


def _some(names: list[str]) -> str:
    return (
        ", ".join(names)
        if len(names) <= _NAMED
        else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    )


def _problems(workers: Iterable[tuple[ProjectReport, WorkerReport]]) -> Iterable[str]:
    for project, worker in workers:
        for process in worker.processes:
            name = _address(project, worker, process)
            if process.exit_reason and process.state not in {"RUNNING", "STOPPED"}:
                yield f"{name}: {process.exit_reason}"
            if process.state == "FATAL":
                yield f"{name}: {_REVIVE} {name}"
            if process.stale:
                yield f"{name} still runs an older release: shiftboss restart {name}"
