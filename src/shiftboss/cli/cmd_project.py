"""The command `shiftboss project`."""

import sys

import click

from shiftboss.cli.making import dry_run_option, json_option, show_plan, yes_option
from shiftboss.cli.output import print_json, table
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.plan import CreateUser
from shiftboss.core.resolve import project_user
from shiftboss.setup.apply import perform
from shiftboss.setup.catalog import Entry
from shiftboss.setup.registry import Registration, forget, left_of, next_step, register


@click.group("project")
def command() -> None:
    """Register, list and forget projects. `setup` registers a project by itself when the layout tells all."""


@command.command("add", epilog="shiftboss project add shop --create-user")
@click.argument("name")
@click.option(
    "--root", metavar="DIR", help="Directory that holds `current` (default: as layout.projects says)."
)
@click.option(
    "--user", metavar="USER", help="Unix user that everything runs as (default: as layout.user says)."
)
@click.option(
    "--create-user",
    is_flag=True,
    help="Create that user (a system account without a login), its group and the project's directories.",
)
@dry_run_option
@yes_option
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    root: str | None,
    user: str | None,
    create_user: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Register a project that does not follow the layout, or change where it lives.

    With --create-user also make what it needs: the user and its group, the project's directory with `releases`
    (root's, the group may read) and `shared` (the user's to write), and its log directory. What is there
    already stays as it is.
    """
    session = open_session(ctx)
    with session.changing():
        wanted = Registration(name, root, user, create_user)
        plan = register(session.machine, session.site, session.catalog, wanted)
        show_plan(session.console, plan, diffs=dry_run)
        if dry_run:
            return
        creates = any(isinstance(action, CreateUser) for action in plan.actions)
        if creates and not yes and sys.stdin.isatty():
            click.confirm("Create them?", default=True, abort=True)
        perform(session.machine, session.site, plan, session.console)
    session.console.print(
        f"project {name} is registered; next: {next_step(session.machine, session.site, name)}"
    )


@command.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> int:
    """List all projects."""
    session = open_session(ctx, json=as_json)
    rows = [_row(session, name, entry) for name, entry in sorted(session.catalog.entries.items())]
    if as_json:
        print_json({"projects": rows})
    elif rows:
        cells = [(r["project"], r["user"], r["release"] or "no release", str(r["units"])) for r in rows]
        session.console.print(
            table(("PROJECT", "USER", "RELEASE", "UNITS"), [tuple(map(str, c)) for c in cells])
        )
    else:
        session.console.print("No project is registered yet. Start with: shiftboss setup PROJECT")
    for error in session.catalog.errors.values():
        session.console.warn_of(error)
    return 2 if session.catalog.errors else 0


def _row(session: Session, name: str, entry: Entry) -> dict[str, object]:
    tables = entry.tables
    root = tables.project.root or f"{session.site.projects}/{name}"
    return {
        "project": name,
        "user": project_user(session.site, name, tables.project),
        "root": root,
        "release": session.machine.files.real_path(f"{root}/current"),
        "units": len(tables.workers) + len(tables.schedules),
        "file": entry.path,
    }


@command.command("remove")
@click.argument("name", shell_complete=complete_project)
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget a project that runs nothing any more. Its user, directories and logs stay."""
    session = open_session(ctx)
    with session.changing():
        plan = forget(session.machine, session.site, session.catalog, name)
        left = left_of(session.machine, session.site, session.catalog, name)
        show_plan(session.console, plan, diffs=False)
        perform(session.machine, session.site, plan, session.console)
    if text := str(left):
        session.console.print(f"left as they are: {text}")
