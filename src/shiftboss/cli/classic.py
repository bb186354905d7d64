"""The two classic scripts, setup-supervisor and setup-cron: always Supervisor and cron, in their plain form."""

import sys

import click
from msgspec.structs import replace

from shiftboss.cli.cmd_setup import count, set_up
from shiftboss.cli.main import run
from shiftboss.cli.making import adopt_option, dry_run_option, force_option
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.names import check_name
from shiftboss.setup.proposals import schedule_request, worker_request
from shiftboss.version import VERSION

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_config_option = click.option(
    "--config",
    metavar="FILE",
    help="The config.toml to use (default: $SHIFTBOSS_CONFIG, else the usual one).",
)

_SUPERVISOR_EPILOG = """\b
setup-supervisor myapp queue --workers=4
setup-supervisor myapp node
setup-supervisor myapp custom "php artisan custom:command" --name thumbs
"""


@click.command("setup-supervisor", context_settings=_SETTINGS, epilog=_SUPERVISOR_EPILOG)
@click.version_option(VERSION, message="%(prog)s %(version)s")
@click.argument("project", shell_complete=complete_project)
@click.argument("kind", metavar="queue|node|custom|PRESET")
@click.argument("words", nargs=-1, metavar='["COMMAND"]')
@click.option("--workers", callback=count, metavar="N", help="How many processes run (default 1).")
@click.option("--name", metavar="NAME", help="Name of the worker (default: that of the preset).")
@_config_option
@force_option
@adopt_option
@dry_run_option
@click.pass_context
def setup_supervisor_command(
    ctx: click.Context,
    project: str,
    kind: str,
    words: tuple[str, ...],
    workers: int | None,
    name: str | None,
    config: str | None,
    force: bool,
    adopt: bool,
    dry_run: bool,
) -> None:
    """Set up a background worker of a project on this server's Supervisor, start it and prove that it runs.

    Same as `shiftboss setup`, for Supervisor only; limits and isolation are given there (`--memory`, `--isolation`).
    `shiftboss --help` shows everything else.
    """
    ctx.obj = config
    session = open_session(ctx)
    check_name(project, "project")
    request = worker_request(session.machine, session.site, session.catalog, project, kind, name, words)
    request = replace(request, processes=workers, backend="supervisor")
    set_up(session, project, [request], force=force, adopt=adopt, dry_run=dry_run)


@click.command("setup-cron", context_settings=_SETTINGS, epilog="setup-cron myapp")
@click.version_option(VERSION, message="%(prog)s %(version)s")
@click.argument("project", shell_complete=complete_project)
@_config_option
@force_option
@adopt_option
@dry_run_option
@click.pass_context
def setup_cron_command(
    ctx: click.Context, project: str, config: str | None, force: bool, adopt: bool, dry_run: bool
) -> None:
    """Run the Laravel scheduler of a project every minute by this server's cron, as a plain line.

    With history, timeouts and limits: shiftboss cron PROJECT. Any other schedule: shiftboss cron PROJECT NAME "EXPR"
    -- COMMAND.
    """
    ctx.obj = config
    session = open_session(ctx)
    check_name(project, "project")
    request = schedule_request(session.machine, session.site, session.catalog, project, None, None, ())
    request = replace(request, backend="cron", settings=request.settings | {"plain": True})
    set_up(session, project, [request], force=force, adopt=adopt, dry_run=dry_run)


def setup_supervisor() -> None:
    """Run setup-supervisor and end the process with its exit code."""
    sys.exit(run(setup_supervisor_command, sys.argv[1:], "setup-supervisor"))


def setup_cron() -> None:
    """Run setup-cron and end the process with its exit code."""
    sys.exit(run(setup_cron_command, sys.argv[1:], "setup-cron"))


if __name__ == "__main__":
    {"setup-supervisor": setup_supervisor, "setup-cron": setup_cron}[sys.argv.pop(1)]()
