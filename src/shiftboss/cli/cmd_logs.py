"""The command `shiftboss logs`."""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from shiftboss.cli.log_print import Printer
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_target, units_of
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.log_lines import last_of, lines_since, parse_since
from shiftboss.core.run_log import output_of
from shiftboss.setup.following import CHUNK, FollowedFile

_TAIL_BYTES = 4 * 1024 * 1024
_RUN_BYTES = 64 * 1024 * 1024
_POLL_SECONDS = 0.2
_MOST_LINES = sys.maxsize


@click.command("logs", epilog="shiftboss logs myapp -f")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option(
    "-n", "--lines", default=20, show_default=True, type=click.IntRange(0), help="Last lines of each log."
)
@click.option("--since", metavar="TIME", help="Only what is newer: 10m, 2h, 14:30, 2026-11-23T14:30.")
@click.option("--run", type=click.IntRange(1), help="Only this run of a schedule (see shiftboss history).")
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    follow: bool,
    lines: int,
    since: str | None,
    run: int | None,
) -> None:
    """Show the last lines of the logs of units; with several of them each line begins with its unit.

    --since reads the times at the beginning of lines; a log whose lines have none is shown as with -n.
    """
    session = open_session(ctx)
    if run is not None:
        _print_run(session, targets, run)
        return
    if session.is_guest:
        from shiftboss.cli import guest

        guest.logs(session, targets, lines, since, follow=follow)
        return
    logs = _logs(session, targets)
    printer = Printer([log.address for log in logs])
    files = [(log, FollowedFile(log.path) if follow else None) for log in logs]
    for log, file in files:
        for line in _last_lines(session, log, file, lines, since):
            printer.print(log.address, line)
    while follow:
        full = [log for log, file in files if file and _show_new(printer, log, file)]
        if not full:
            session.machine.clock.sleep(_POLL_SECONDS)


def _show_new(printer: Printer, log: "_Log", file: FollowedFile) -> bool:
    """Print what came; tell whether there may be more of it."""
    data = file.read_new()
    for line in log.whole_lines(data):
        printer.print(log.address, line)
    sys.stdout.flush()
    return len(data) == CHUNK


def _print_run(session: Session, targets: Sequence[str], run: int) -> None:
    """Print the output of one run of a schedule."""
    if len(targets) != 1:
        raise UserError("--run is about one schedule", hint="Name it: shiftboss logs myapp/backup --run 12")
    lines = _run_lines(session, targets[0], run)
    if not lines:
        raise UserError(
            f"the log of {targets[0]} has no run {run}",
            hint=f"It may be rotated away, or was never begun: shiftboss history {targets[0]}",
        )
    printer = Printer([targets[0]])
    for line in lines:
        printer.print(targets[0], line)


def _run_lines(session: Session, target: str, run: int) -> Sequence[str]:
    if session.is_guest:
        from shiftboss.cli import guest

        return guest.run_log(session, target, run)
    log, *others = _logs(session, [target])
    if others:
        hint = f"Name it: shiftboss logs {log.address} --run {run}"
        raise UserError(f"--run is about one schedule, and {target} has several units", hint=hint)
    return output_of(_lines(session.machine.files.tail(log.path, _RUN_BYTES)), run)


def _lines(data: bytes) -> list[str]:
    """Return the lines of a log: a newline ends them, and nothing else that Unicode might take for an end."""
    lines = data.decode(errors="replace").split("\n")
    return lines if lines[-1] else lines[:-1]


@dataclass
class _Log:
    """A log and whose it is."""

    path: str
    address: str
    _rest: bytes = b""

    def whole_lines(self, data: bytes) -> list[str]:
        """Return the lines that are complete now; the beginning of the next one waits."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def _logs(session: Session, targets: Sequence[str]) -> list[_Log]:
    found = [projects for target in (targets or (None,)) for projects in units_of(session, target)[0]]
    units = {unit.address: unit for _, units in found for unit in units}
    if not units:
        raise UserError("there is no unit to show logs of", hint="Add one: shiftboss setup PROJECT")
    return [_Log(unit.log_path, unit.address) for unit in units.values()]


def _last_lines(
    session: Session, log: _Log, file: FollowedFile | None, count: int, since: str | None
) -> Sequence[str]:
    """Return the end of a log. Of one that is followed whole lines only: the rest of the last one is yet to come."""
    data = file.before(_TAIL_BYTES) if file else session.machine.files.tail(log.path, _TAIL_BYTES)
    data = _with_backups(session, log.path, data, _MOST_LINES if since else count)
    lines = log.whole_lines(data) if file else _lines(data)
    if since:
        return lines_since(lines, parse_since(since, session.machine.clock.now()), count)
    return last_of(lines, count)


def _with_backups(session: Session, path: str, data: bytes, lines: int) -> bytes:
    """Return the end of a log with that of its backups before it, until there are so many lines or 4 MiB."""
    for number in itertools.count(1):
        room = _TAIL_BYTES - len(data)
        if room <= 0 or data.count(b"\n") >= lines:
            break
        try:
            older = session.machine.files.tail(f"{path}.{number}", room)
        except HostError:  # not one of ours
            break
        if not older:
            break
        data = older + data
    return data
