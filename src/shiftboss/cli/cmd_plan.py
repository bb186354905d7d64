"""The command `shiftboss plan`."""

import click

from shiftboss.cli.making import adopt_option, force_option, json_option, override, show_plan
from shiftboss.cli.output import print_json
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project, usable_projects
from shiftboss.core.plan import Plan, merge
from shiftboss.core.plan_text import plan_as_json
from shiftboss.setup.change import prepare_apply
from shiftboss.setup.doubles import SchedulerDoubles

EXIT_DIFFERENT = 3


@click.command("plan", epilog="shiftboss plan myapp --check")
@click.argument("project", required=False, shell_complete=complete_project)
@click.option("--check", is_flag=True, help="Exit with 3 if there is anything to change.")
@force_option
@adopt_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, project: str | None, check: bool, force: bool, adopt: bool, as_json: bool
) -> int:
    """Show the difference between the project files and the server: files, and which processes restart.

    Hand edits and files of others that stand in the way are shown too. Nothing is changed.
    """
    session = open_session(ctx, json=as_json)
    names, errors = usable_projects(session, project)
    change = prepare_apply(
        session.machine, session.site, session.catalog, names, override(force=force, adopt=adopt)
    )
    doubles = SchedulerDoubles(session.machine, change.site)
    doubled = (note for project in change.projects for note in doubles.of(project.units))
    plan = merge((change.plan, Plan(notes=tuple(doubled))))
    if as_json:
        print_json(plan_as_json(plan))
    else:
        show_plan(session.console, plan, diffs=True)
    errors += change.errors
    for error in errors:
        session.console.warn_of(error)
    if errors:
        return errors[0].exit_code
    return EXIT_DIFFERENT if check and (change.plan.actions or change.plan.conflicts) else 0
