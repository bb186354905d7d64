"""The command `shiftboss restart`."""

import click

from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_target, resolve_target, selections
from shiftboss.core.errors import HostError
from shiftboss.core.names import parse_target
from shiftboss.core.spec import Schedule
from shiftboss.setup import control
from shiftboss.setup.laravel import has_tasks_inside, interrupt


@click.command("restart", epilog="shiftboss restart myapp")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target)
@click.pass_context
def command(ctx: click.Context, targets: tuple[str, ...]) -> None:
    """Restart the workers of a project, one worker or one process: after a deploy, they run the new release.

    Each finishes the job in hand first. Prints the old and the new pid once the new process stays up. A whole project's
    Laravel scheduler is told, too: tasks that repeat within the minute go on with the new release.
    """
    session = open_session(ctx)
    if session.is_guest:
        from shiftboss.cli import guest

        guest.restart(session, targets)
        return
    restarted = control.restart(session.machine, session.site, selections(session, targets), session.console)
    for process in restarted:
        session.console.print(f"{process.address}: pid {process.old_pid or '-'} -> {process.new_pid}")
    for schedule in _schedulers(session, targets):
        try:
            if interrupt(session.machine, schedule):
                session.console.step(f"interrupted tasks of {schedule.address} that repeat within the minute")
        except (
            HostError
        ) as error:  # the workers are restarted, and the next minute begins with the new release
            session.console.warn_of(error)


def _schedulers(session: Session, targets: tuple[str, ...]) -> list[Schedule]:
    """Return the Laravel schedulers of the projects that are meant as a whole."""
    wholes = {target.project: target for text in targets if (target := parse_target(text)).unit is None}
    units = (unit for target in wholes.values() for unit in resolve_target(session, target).units)
    return [unit for unit in units if isinstance(unit, Schedule) and has_tasks_inside(unit)]
