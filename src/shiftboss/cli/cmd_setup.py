"""The command `shiftboss setup`."""

import sys
from collections.abc import Mapping

import click
from msgspec.structs import replace

from shiftboss.cli.making import (
    adopt_option,
    dry_run_option,
    force_option,
    json_option,
    make,
    override,
    yes_option,
)
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.errors import UserError
from shiftboss.core.names import check_name
from shiftboss.setup.change import prepare_requests
from shiftboss.setup.proposals import Need, needs_of, worker_request
from shiftboss.setup.requests import Request, WorkerRequest

_EPILOG = """\b
shiftboss setup myapp                       what does it need?
shiftboss setup myapp queue --workers 4     its queue worker, four processes
shiftboss setup myapp queue --memory 256M --cpu 50%
shiftboss setup myapp node                  server.js or npm start
shiftboss setup myapp custom --name thumbs -- php artisan thumbs:work
"""


def count(ctx: click.Context, _: click.Parameter, value: str | None) -> int | None:
    """Read a number of processes."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:6]) <= 1000 or len(value) > 6:
        raise UserError(
            f"{value[:20]!r} is not a number of processes",
            hint="Use a whole number from 1 to 1000. To run none for now: shiftboss stop PROJECT/WORKER",
        )
    return int(value)


def tasks(ctx: click.Context, _: click.Parameter, value: str | None) -> int | None:
    """Read a number of tasks."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()) or len(value) > 7 or int(value) < 1:
        raise UserError(
            f"{value[:20]!r} is not a number of tasks",
            hint="Use a whole number, such as --tasks-max 100.",
        )
    return int(value)


@click.command("setup", epilog=_EPILOG)
@click.argument("project", shell_complete=complete_project)
@click.argument("kind", required=False, metavar="[queue|node|custom|PRESET]")
@click.argument("words", nargs=-1, metavar="[-- COMMAND...]")
@click.option("--workers", callback=count, metavar="N", help="How many processes run (default 1).")
@click.option("--name", metavar="NAME", help="Name of the worker (default: that of the preset).")
@click.option("--memory", metavar="SIZE", help="No process of it may use more, such as 256M.")
@click.option("--memory-soft", metavar="SIZE", help="From here on a process is asked to start afresh.")
@click.option("--cpu", metavar="PERCENT", help="Of one core, for each process: 50 is half of one, 200 two.")
@click.option(
    "--tasks-max", callback=tasks, metavar="N", help="How many processes and threads each may have."
)
@click.option(
    "--isolation",
    type=click.Choice(["none", "standard", "strict"]),
    help="How far it is shut in (docs: limits).",
)
@click.option("--shell", is_flag=True, default=None, help="Run the command by sh -c.")
@force_option
@adopt_option
@dry_run_option
@json_option
@yes_option
@click.pass_context
def command(
    ctx: click.Context,
    project: str,
    kind: str | None,
    words: tuple[str, ...],
    workers: int | None,
    name: str | None,
    memory: str | None,
    memory_soft: str | None,
    cpu: str | None,
    tasks_max: int | None,
    isolation: str | None,
    shell: bool | None,
    force: bool,
    adopt: bool,
    dry_run: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Add or change a worker of a project, start it and prove that it runs.

    Without a kind: looks at the project and proposes what it needs. `queue` and `node` pick the preset that
    fits, `custom` runs any command. Without an option a value stays as it is; the second time nothing changes.
    """
    session = open_session(ctx, json=as_json)
    check_name(project, "project")
    request = None
    if kind is not None or name is not None:
        request = replace(
            worker_request(session.machine, session.site, session.catalog, project, kind, name, words),
            processes=workers,
            shell=shell,
            memory=memory,
            memory_soft=memory_soft,
            cpu=cpu,
            tasks_max=tasks_max,
            isolation=isolation,
        )
    else:
        given = {
            "--workers": workers,
            "--shell": shell,
            "--memory": memory,
            "--memory-soft": memory_soft,
            "--cpu": cpu,
            "--tasks-max": tasks_max,
            "--isolation": isolation,
        }
        _refuse_without_worker(project, given)
    requests: list[Request] = [request] if request else _chosen(session, project, yes=yes or dry_run)
    set_up(session, project, requests, force=force, adopt=adopt, dry_run=dry_run, as_json=as_json)


def _refuse_without_worker(project: str, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value is not None:
            shown = "" if value is True else f" {value}"
            raise UserError(
                f"cannot tell which worker of {project} {option} is for",
                hint=f"Name it: shiftboss setup {project} queue {option}{shown}",
            )


def set_up(
    session: Session,
    project: str,
    requests: list[Request],
    *,
    force: bool = False,
    adopt: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Carry out requests for units of a project, under the lock."""
    for note in (
        note for request in requests if isinstance(request, WorkerRequest) for note in request.notes
    ):
        session.console.warn(note)
    with session.changing():
        change = prepare_requests(
            session.machine,
            session.site,
            session.catalog,
            project,
            requests,
            override(force=force, adopt=adopt),
        )
        make(session, change, dry_run=dry_run, as_json=as_json)


def _chosen(session: Session, project: str, *, yes: bool) -> list[Request]:
    """Propose what the project needs, and let the user decide."""
    needs = needs_of(session.machine, session.site, session.catalog, project)
    if not needs and _has_units(session, project):
        session.console.print(f"{project} has everything that it seems to need")
        return []
    if not needs:
        raise UserError(
            f"cannot tell what {project} needs: no preset fits what its release contains",
            hint=f"Name a command: shiftboss setup {project} custom --name NAME -- COMMAND",
        )
    for need in needs:
        _print_need(session, need)
    if not yes and not _agreed(project, needs):
        raise click.Abort
    return [need.request for need in needs]


def _has_units(session: Session, project: str) -> bool:
    entry = session.catalog.entry(project)
    return entry is not None and bool(entry.tables.workers or entry.tables.schedules)


def _print_need(session: Session, need: Need) -> None:
    session.console.print(f"{need.reason}: {need.title}")
    for caution in need.cautions:
        session.console.warn(caution)


def _agreed(project: str, needs: list[Need]) -> bool:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return click.confirm(f"Set up {'these' if len(needs) > 1 else 'this'}?", default=True)
    commands = "\n".join(need.command for need in needs)
    raise UserError(
        f"{project}: say what to set up",
        hint=f"All of it: shiftboss setup {project} --yes\nOr one by one:\n{commands}",
    )
