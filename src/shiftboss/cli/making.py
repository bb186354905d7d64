"""The common end of every command that changes something: show the plan, do it, prove it, show the result."""

import click

from shiftboss.cli.output import Console, print_json
from shiftboss.cli.session import Session
from shiftboss.cli.status_table import document, print_status
from shiftboss.core.plan import Override, Plan, file_diff
from shiftboss.core.plan_text import plan_as_json, plan_lines
from shiftboss.setup.change import Change, commit
from shiftboss.setup.closing import closing_lines
from shiftboss.setup.report import report

force_option = click.option("--force", is_flag=True, help="Overwrite files of ours that were edited by hand.")
adopt_option = click.option(
    "--adopt", is_flag=True, help="Take over files of that name that we did not write."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show the exact differences and change nothing."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def override(*, force: bool, adopt: bool) -> Override:
    """Return what the user allowed on the command line."""
    return Override(force=force, adopt=adopt)


def show_plan(console: Console, plan: Plan, *, diffs: bool) -> None:
    """Print a plan: a line for each thing that happens, with exact differences if asked, and what stands in the way."""
    for line in plan_lines(plan):
        console.print(line)
    if diffs:
        for action in plan.actions:
            if text := file_diff(action):
                console.print(text.rstrip("\n"))
    for conflict in (
        plan.conflicts if diffs else ()
    ):  # without them it is made, and then refused with an error
        console.warn(f"{conflict.target}: {conflict.reason}. {conflict.hint}")
    for note in plan.notes:
        console.warn(note)


def make(session: Session, change: Change, *, dry_run: bool, as_json: bool) -> None:
    """Show a change, make it unless it is a dry run, prove it and print the status of what it is about."""
    if dry_run:
        print_json(plan_as_json(change.plan)) if as_json else show_plan(
            session.console, change.plan, diffs=True
        )
        return
    if not as_json:
        show_plan(session.console, change.plan, diffs=False)
    commit(session.machine, change, session.console)
    found = report(session.machine, change.site, change.projects)
    if as_json:
        print_json(document(found))
        return
    if any(project.workers or project.schedules for project in found.projects):
        session.console.print()
        print_status(session.console, found)
    for line in closing_lines(session.machine, change):
        session.console.print(line)
