"""The command `shiftboss top`."""

import sys
import time

import click
from msgspec import Struct
from msgspec.structs import asdict, replace

from shiftboss.cli.output import duration, print_json, size, table
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
@click.option("--json", "as_json", is_flag=True, help="Print one table as JSON and end.")
@click.pass_context
def command(ctx: click.Context, target: str | None, once: bool, as_json: bool) -> int:
    """Show what the workers use now, the busiest first, every two seconds until you stop it (Ctrl-C).

    CPU is that of the last two seconds (100% is one core); HELD BACK the part of that time in which a process had
    to stand still because its `cpu` was used up. READ and WRITTEN are bytes since its start.
    """
    session = open_session(ctx, json=as_json)
    before = _taken(_sample(session, target))
    while True:
        time.sleep(INTERVAL_SECONDS)
        found = _sample(session, target)
        uses = _uses(found, before)
        if as_json:
            print_json({"processes": [asdict(use) for use in uses]})
        else:
            _show(session, uses, clear=not once and sys.stdout.isatty())
        for error in found.errors:
            session.console.warn_of(error)
        if once or as_json:
            return found.errors[0].exit_code if found.errors else 0
        before = _taken(found)


def _show(session: Session, uses: list["Use"], *, clear: bool) -> None:
    if clear:
        click.echo(_CLEAR, nl=False)
    session.console.print(table(HEADINGS, [_row(use) for use in uses]))


def _sample(session: Session, target: str | None) -> Report:
    if session.is_guest:
        from shiftboss.cli import guest

        return guest.report(session, target)
    projects, errors = units_of(session, target)
    found = report(
        session.machine, session.site, [Resolved(found.project, units) for found, units in projects]
    )
    return replace(found, errors=(*errors, *found.errors))


def _taken(found: Report) -> Before:
    now = time.monotonic()
    return {p.pid: (now, p) for _, _, p in _processes(found) if p.pid is not None}


def _processes(found: Report) -> list[tuple[ProjectReport, WorkerReport, ProcessStatus]]:
    return [(q, w, p) for q in found.projects for w in q.workers for p in w.processes]


class Use(Struct, frozen=True):
    """What a process uses now: `cpu_percent` of one core and `held_back_percent` are of the time between two samples.

    None where it cannot be told. `top --json` prints these fields.
    """

    target: str
    state: str | None
    pid: int | None
    uptime_seconds: int | None
    cpu_percent: float | None
    held_back_percent: float | None
    memory_bytes: int | None
    memory_peak_bytes: int | None
    tasks: int | None
    read_bytes: int | None
    written_bytes: int | None


def _uses(found: Report, before: Before) -> list[Use]:
    """Return what each process uses, the busiest first."""
    uses = [_use(f"{p.project}/{w.name}:{s.process}", s, before) for p, w, s in _processes(found)]
    return sorted(uses, key=lambda use: (-(use.cpu_percent or 0.0), use.target))


def _use(name: str, process: ProcessStatus, before: Before) -> Use:
    cpu, held_back = _shares(process, before)
    return Use(
        name,
        process.state,
        process.pid,
        process.uptime_seconds,
        None if cpu is None else round(cpu, 1),
        None if held_back is None else round(held_back, 1),
        process.memory_bytes,
        process.memory_peak_bytes,
        process.tasks,
        process.read_bytes,
        process.written_bytes,
    )


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


def _row(use: Use) -> tuple[str, ...]:
    return (
        use.target,
        use.state or "unknown",
        str(use.pid or "-"),
        duration(use.uptime_seconds),
        _percent(use.cpu_percent),
        _percent(use.held_back_percent),
        size(use.memory_bytes),
        size(use.memory_peak_bytes),
        "-" if use.tasks is None else str(use.tasks),
        size(use.read_bytes),
        size(use.written_bytes),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0f}%"
