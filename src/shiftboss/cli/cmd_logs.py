"""The command `shiftboss logs`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from shiftboss.cli import guest
from shiftboss.cli.log_print import Printer
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_target, units_of
from shiftboss.core.errors import UserError
from shiftboss.core.log_lines import lines_since, parse_since
from shiftboss.setup.following import FollowedFile

_TAIL_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 0.2


@click.command("logs", epilog="shiftboss logs myapp -f")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=complete_target)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option(
    "-n", "--lines", default=20, show_default=True, type=click.IntRange(0), help="Last lines of each log."
)
@click.option("--since", metavar="TIME", help="Only what is newer: 10m, 2h, 14:30, 2026-11-23T14:30.")
@click.pass_context
def command(
    ctx: click.Context, targets: tuple[str, ...], follow: bool, lines: int, since: str | None
) -> None:
    """Show the last lines of the logs of units; with several of them each line begins with its unit.

    --since reads the times at the beginning of lines; a log whose lines have none is shown as with -n.
    """
    session = open_session(ctx)
    if session.is_guest:
        guest.logs(session, targets, lines, since, follow=follow)
        return
    logs = _logs(session, targets)
    printer = Printer([log.address for log in logs])
    followed = [(log, FollowedFile(log.path)) for log in logs] if follow else []
    for log in logs:
        for line in _last_lines(session, log.path, lines, since):
            printer.print(log.address, line)
    while followed:
        for log, file in followed:
            for line in log.whole_lines(file.read_new()):
                printer.print(log.address, line)
        sys.stdout.flush()
        session.machine.clock.sleep(_POLL_SECONDS)


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


def _last_lines(session: Session, path: str, count: int, since: str | None) -> Sequence[str]:
    text = session.machine.files.tail(path, _TAIL_BYTES).decode(errors="replace")
    lines: Sequence[str] = text.splitlines()
    if since:
        return lines_since(lines, parse_since(since, session.machine.clock.now()))
    return lines[-count:] if count else ()
