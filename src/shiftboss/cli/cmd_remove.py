"""The command `shiftboss remove`."""

import sys

import click

from shiftboss.cli.making import (
    adopt_option,
    dry_run_option,
    force_option,
    json_option,
    make,
    override,
    show_plan,
    yes_option,
)
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_target
from shiftboss.core.errors import UserError
from shiftboss.core.names import parse_target
from shiftboss.setup.change import prepare_removal


@click.command("remove", epilog="shiftboss remove myapp/queue")
@click.argument("target", metavar="PROJECT[/UNIT]", shell_complete=complete_target)
@force_option
@adopt_option
@dry_run_option
@json_option
@yes_option
@click.pass_context
def command(
    ctx: click.Context, target: str, force: bool, adopt: bool, dry_run: bool, as_json: bool, yes: bool
) -> None:
    """Remove a worker or schedule, or a project with all of them: files, processes, cron lines.

    A worker gets its full time to finish the job in hand. Logs are kept.
    """
    session = open_session(ctx, json=as_json)
    parsed = parse_target(target)
    if parsed.process is not None:
        raise UserError(
            f"cannot remove one process: {target}",
            hint=f"Change their number: shiftboss scale {parsed.project}/{parsed.unit} N",
        )
    with session.changing():
        change = prepare_removal(
            session.machine,
            session.site,
            session.catalog,
            parsed.project,
            parsed.unit,
            override(force=force, adopt=adopt),
        )
        if not (yes or dry_run) and sys.stdin.isatty():
            show_plan(session.console, change.plan, diffs=False)
            click.confirm(f"Remove {target}?", abort=True)
        make(session, change, dry_run=dry_run, as_json=as_json)
