"""The command `shiftboss apply`."""

import click

from shiftboss.cli.making import adopt_option, dry_run_option, force_option, json_option, make, override
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project, usable_projects
from shiftboss.setup.change import prepare_apply


@click.command("apply", epilog="shiftboss apply myapp")
@click.argument("project", required=False, shell_complete=complete_project)
@force_option
@adopt_option
@dry_run_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, project: str | None, force: bool, adopt: bool, dry_run: bool, as_json: bool
) -> int:
    """Bring the server to what the project files say, and prove it. Only what differs is touched.

    Use it after editing a project file by hand.
    """
    session = open_session(ctx, json=as_json)
    with session.changing():
        names, errors = usable_projects(session, project)
        change = prepare_apply(
            session.machine, session.site, session.catalog, names, override(force=force, adopt=adopt)
        )
        make(session, change, dry_run=dry_run, as_json=as_json)
    errors += change.errors
    for error in errors:
        session.console.warn_of(error)
    return errors[0].exit_code if errors else 0
