"""The command `shiftboss cron`."""

from typing import get_args

import click

from shiftboss.cli.cmd_setup import set_up
from shiftboss.cli.making import adopt_option, dry_run_option, force_option, json_option
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.names import check_name
from shiftboss.core.run_policy import CatchUp, Overlap
from shiftboss.setup.proposals import schedule_request

_EPILOG = """\b
shiftboss cron myapp                                               the Laravel scheduler, every minute
shiftboss cron myapp backup "0 2 * * *" -- pg_dump -f backup.sql shop
shiftboss cron myapp backup "30 3 * * *"                           another time for it
shiftboss cron myapp beat --every 30s -- php artisan beat          on our own engine: also seconds
shiftboss cron myapp upload --after backup -- ./upload backup.sql  after each backup that went well
"""


@click.command("cron", epilog=_EPILOG)
@click.argument("project", shell_complete=complete_project)
@click.argument("name", required=False)
@click.argument("expression", required=False, metavar='"EXPR"')
@click.argument("words", nargs=-1, metavar="[-- COMMAND...]")
@click.option("--every", metavar="TIME", help='Instead of EXPR: a regular interval such as "90s" or "5m".')
@click.option("--after", metavar="SCHEDULE", help="Instead of EXPR: after each success of this schedule.")
@click.option("--timezone", metavar="ZONE", help="IANA time zone of EXPR, such as Europe/Riga.")
@click.option(
    "--overlap",
    type=click.Choice(get_args(Overlap)),
    help="While an earlier run lives: leave it out, let it wait, end the earlier one, or run both.",
)
@click.option("--timeout", metavar="TIME", help="End a run after this time, such as 10m.")
@click.option(
    "--retries", type=click.IntRange(0, 100), metavar="N", help="How often a failed run is tried again."
)
@click.option("--catch-up", type=click.Choice(get_args(CatchUp)), help="What becomes of missed times.")
@click.option("--backend", type=click.Choice(["cron", "native"]), help="What runs it.")
@click.option("--shell", is_flag=True, default=None, help="Run the command by sh -c.")
@force_option
@adopt_option
@dry_run_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    project: str,
    name: str | None,
    expression: str | None,
    words: tuple[str, ...],
    every: str | None,
    after: str | None,
    timezone: str | None,
    overlap: str | None,
    timeout: str | None,
    retries: int | None,
    catch_up: str | None,
    backend: str | None,
    shell: bool | None,
    force: bool,
    adopt: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add or change a schedule of a project: the Laravel scheduler, or any command with times.

    The line is checked for what the cron of this server would really do with it, written, and read back.
    `shiftboss explain` tells what an expression means.
    """
    session = open_session(ctx, json=as_json)
    check_name(project, "project")
    asked = {
        "every": every,
        "after": after,
        "timezone": timezone,
        "overlap": overlap,
        "timeout": timeout,
        "retries": retries,
        "catch_up": catch_up,
        "backend": backend,
    }
    if (every or after) and expression is not None:  # then it is the first word of the command
        words, expression = (expression, *words), None
    request = schedule_request(
        session.machine,
        session.site,
        session.catalog,
        project,
        name,
        expression,
        words,
        shell=shell,
        settings={key: value for key, value in asked.items() if value is not None},
    )
    set_up(session, project, [request], force=force, adopt=adopt, dry_run=dry_run, as_json=as_json)
