"""The command `shiftboss stop`."""

import click

from shiftboss.cli.session import open_session
from shiftboss.cli.stop_runs import schedules_among, stop_runs
from shiftboss.cli.targets import complete_target, selections
from shiftboss.core.errors import UserError
from shiftboss.setup import control


@click.command("stop", epilog="shiftboss stop myapp/queue:2")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.option("--keep", is_flag=True, help="Stay stopped after a reboot, too (backend native).")
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...], keep: bool) -> None:
    """Stop the workers of a project, one worker or one process, and wait until they are gone.

    Each gets its own signal and time to finish the job in hand. At the next boot they start again, unless they
    are to be kept stopped.

    Of a schedule (myapp/scheduler) it ends what runs now, with what ended runs left in the background, and skips
    what waits. It runs again when it is due; `shiftboss pause` prevents that. Backend native only.
    """
    session = open_session(ctx)
    schedules = schedules_among(session, targets)
    if schedules and keep:
        raise UserError(
            f"--keep is for workers, and {schedules[0]} is a schedule",
            hint=f"Keep it from running by itself with: shiftboss pause {schedules[0]}",
        )
    if schedules:
        stop_runs(session, schedules)
    targets = tuple(text for text in targets if text not in schedules)
    if not targets:
        return
    if session.is_guest:
        from shiftboss.cli import guest

        guest.stop(session, targets, keep=keep)
        return
    control.stop(session.machine, session.site, selections(session, targets), session.console, keep=keep)
