"""The command `shiftboss run`."""

import re
import sys
import threading

import click

from shiftboss.api.calls import MAX_WAIT_SECONDS, LogLines, Logs
from shiftboss.api.client import Client
from shiftboss.cli.run_words import tell_detached, tell_left
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.spool_rows import launched_schedule
from shiftboss.cli.targets import complete_target, require_native_schedule
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.log_lines import harmless

_LAST_WORDS_SECONDS = 3.0
_END = re.compile(r"--- run (\d+) of \S+ ended .* ---")


@click.command("run", epilog="shiftboss run myapp/backup")
@click.argument("target", metavar="PROJECT/SCHEDULE", shell_complete=complete_target)
@click.option("--detach", is_flag=True, help="Do not wait for its end.")
@click.pass_context
def command(ctx: click.Context, target: str, detach: bool) -> int:
    """Run a schedule now, exactly as its time would: same user, environment, limits, log and history.

    Its output is shown live; the exit status is that of the command, 1 if it did not run (an overlap, a condition
    that says no). Ctrl-C leaves it running. On cron not for plain lines, as setup-cron writes them.
    """
    session = open_session(ctx)
    if schedule := launched_schedule(session, target):
        from shiftboss.cli.run_on_cron import run_on_cron

        return run_on_cron(session, schedule, detach=detach)
    require_native_schedule(session, target)
    with Client(session.site.api_socket) as client:
        if detach:
            ran = client.run(target)
            return tell_detached(session.console, target, ran.outcome, ran.reason, has_begun=bool(ran.run))
        output = _Output(session, target)
        try:
            ran = client.run(target, wait_seconds=MAX_WAIT_SECONDS)
        except KeyboardInterrupt:
            return tell_left(session.console, target)
        if ran.run:
            output.wait_for_end(ran.run)
    words = (
        f"{target}: {(ran.outcome or 'runs on').replace('_', ' ')}{': ' if ran.reason else ''}{ran.reason}"
    )
    session.console.print(words, colour=None if ran.outcome == "ran" else "red")
    if ran.outcome == "ran":
        return 0
    return ran.exit_status or 1


class _Output:
    """Shows what the log gets, in a thread of its own."""

    def __init__(self, session: Session, target: str) -> None:
        self._ended: set[int] = set()
        self._news = threading.Condition()
        self._client = Client(session.site.api_socket)
        self._lines = self._client.stream("logs", Logs(targets=(target,), lines=0, follow=True))
        next(self._lines)  # from here on nothing is missed
        self._is_terminal = sys.stdout.isatty()
        threading.Thread(target=self._show, daemon=True).start()

    def wait_for_end(self, run: int) -> None:
        """Wait until the last line of a run was shown; not for ever."""
        with self._news:
            self._news.wait_for(lambda: run in self._ended, _LAST_WORDS_SECONDS)

    def _show(self) -> None:
        try:
            for item in self._lines:
                for line in item.lines if isinstance(item, LogLines) else ():
                    self._print(line)
        except ShiftbossError:
            return  # the engine ended; what became of the run is told by who waits for it

    def _print(self, line: str) -> None:
        click.echo(harmless(line) if self._is_terminal else line)
        if end := _END.fullmatch(line):
            with self._news:
                self._ended.add(int(end[1]))
                self._news.notify_all()
