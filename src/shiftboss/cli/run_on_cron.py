"""`shiftboss run` of a schedule that cron starts through the launcher."""

import sys

import click

from shiftboss.cli.run_words import tell_detached, tell_left
from shiftboss.cli.session import Session
from shiftboss.core.log_lines import harmless
from shiftboss.core.spec import Schedule
from shiftboss.setup.run_now import RunNow


def run_on_cron(session: Session, schedule: Schedule, *, detach: bool) -> int:
    """Run it now; return the exit status of the command. Raises HostError if it cannot be started."""
    asked = RunNow(session.machine, session.site, schedule)
    target = schedule.address
    if detach:
        begun = asked.began()
        outcome, reason = (begun.outcome, begun.reason) if begun else (None, "")
        has_begun = begun is not None and begun.began is not None
        return tell_detached(session.console, target, outcome, reason, has_begun=has_begun)
    is_terminal = sys.stdout.isatty()
    try:
        ran = asked.ended(lambda line: _show(line, is_terminal=is_terminal))
    except KeyboardInterrupt:
        return tell_left(session.console, target)
    outcome = (ran.outcome or "runs on").replace("_", " ")
    words = f"{target}: {outcome}{': ' if ran.reason else ''}{ran.reason}"
    session.console.print(words, colour=None if ran.outcome == "ran" else "red")
    return 0 if ran.outcome == "ran" else ran.exit_status or 1


def _show(line: str, *, is_terminal: bool) -> None:
    click.echo(harmless(line) if is_terminal else line)
