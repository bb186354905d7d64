"""The command `shiftboss top`."""

import sys
import time

import click

from shiftboss.cli.output import duration, size, table
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_target, units_of
from shiftboss.core.status import ProcessStatus
from shiftboss.setup.report import ProjectReport, Report, WorkerReport, report
from shiftboss.setup.units import Resolved

INTERVAL_SECONDS = 2.0
HEADINGS = (
    "WORKER",
    "STATE",
    "PID",
    "UPTIME",
    "CPU",
    "HELD BACK",
    "MEMORY",
    "PEAK",
    "TASKS",
    "READ",
    "WRITTEN",
)
_CLEAR = "\033[H\033[2J"
Before = dict[int, tuple[float, ProcessStatus]]


@click.command("top", epilog="shiftboss top myapp")
@click.argument("target", required=False, metavar="[TARGET]", shell_complete=complete_target)
@click.option("--once", is_flag=True, help="Print one table and end.")
@click.pass_context
def command(ctx: click.Context, target: str | None, once: bool) -> None:
    """Show what the workers use now, the busiest first, every two seconds until you stop it (Ctrl-C).

    CPU is that of the last two seconds (100% is one core); HELD BACK the part of that time in which a process had
    to stand still because its `cpu` was used up. READ and WRITTEN are bytes since its start.
    """
    session = open_session(ctx)
    before = _taken(_sample(session, target))
    time.sleep(INTERVAL_SECONDS)
    while True:
        found = _sample(session, target)
        text = table(HEADINGS, _rows(found, before))
        if not once and sys.stdout.isatty():
            click.echo(_CLEAR, nl=False)
        session.console.print(text)
        for error in found.errors:
            session.console.warn_of(error)
        if once:
            return
        before = _taken(found)
        time.sleep(INTERVAL_SECONDS)


def _sample(session: Session, target: str | None) -> Report:
    projects, _ = units_of(session, target)
    return report(
        session.machine, session.site, [Resolved(found.project, units) for found, units in projects]
    )


def _taken(found: Report) -> Before:
    now = time.monotonic()
    return {p.pid: (now, p) for _, _, p in _processes(found) if p.pid is not None}


def _processes(found: Report) -> list[tuple[ProjectReport, WorkerReport, ProcessStatus]]:
    return [(q, w, p) for q in found.projects for w in q.workers for p in w.processes]


def _rows(found: Report, before: Before) -> list[tuple[str, ...]]:
    rows = []
    for project, worker, process in _processes(found):
        cpu, held_back = _shares(process, before)
        rows.append(
            (cpu or 0.0, _row(f"{project.project}/{worker.name}:{process.process}", process, cpu, held_back))
        )
    return [row for _, row in sorted(rows, key=lambda item: (-item[0], item[1]))]


def _shares(process: ProcessStatus, before: Before) -> tuple[float | None, float | None]:
    """Return CPU and time held back since the sample before, in percent of that time."""
    if process.pid not in before or process.cpu_seconds is None:
        return process.cpu_percent, None
    at, earlier = before[process.pid]
    seconds = max(time.monotonic() - at, 0.01)

    def share(now: float | None, then: float | None) -> float | None:
        return None if now is None or then is None else 100 * max(0.0, now - then) / seconds

    return (
        share(process.cpu_seconds, earlier.cpu_seconds),
        share(process.throttled_seconds, earlier.throttled_seconds),
    )


def _row(name: str, process: ProcessStatus, cpu: float | None, held_back: float | None) -> tuple[str, ...]:
    return (
        name,
        process.state or "unknown",
        str(process.pid or "-"),
        duration(process.uptime_seconds),
        _percent(cpu),
        _percent(held_back),
        size(process.memory_bytes),
        size(process.memory_peak_bytes),
        "-" if process.tasks is None else str(process.tasks),
        size(process.read_bytes),
        size(process.written_bytes),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0f}%"
