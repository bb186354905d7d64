"""The command `shiftboss cron`."""

import click

from shiftboss.cli.cmd_setup import set_up
from shiftboss.cli.making import adopt_option, dry_run_option, force_option, json_option
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.names import check_name
from shiftboss.setup.proposals import schedule_request

_EPILOG = """\b
shiftboss cron myapp                                               the Laravel scheduler, every minute
shiftboss cron myapp backup "0 2 * * *" -- pg_dump -f backup.sql shop
shiftboss cron myapp backup "30 3 * * *"                           another time for it
"""


@click.command("cron", epilog=_EPILOG)
@click.argument("project", shell_complete=complete_project)
@click.argument("name", required=False)
@click.argument("expression", required=False, metavar='"EXPR"')
@click.argument("words", nargs=-1, metavar="[-- COMMAND...]")
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
    request = schedule_request(
        session.machine, session.site, session.catalog, project, name, expression, words, shell=shell
    )
    set_up(session, project, [request], force=force, adopt=adopt, dry_run=dry_run, as_json=as_json)
