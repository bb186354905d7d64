"""The command `shiftboss up`."""

import os
import sys
from typing import NoReturn

import click

from shiftboss.api.client import Client
from shiftboss.cli.making import adopt_option, force_option, override, show_plan
from shiftboss.cli.session import Session, open_session
from shiftboss.cli.targets import usable_projects
from shiftboss.core.errors import HostError, ShiftbossError
from shiftboss.core.plan import Override
from shiftboss.setup.change import commit
from shiftboss.setup.keeper_command import keeper_command, own_python
from shiftboss.setup.up import make_places, prepare_up, runs_something


@click.command("up", epilog="shiftboss up --logs")
@click.option("--logs", is_flag=True, help="Show the output of the workers too.")
@click.option("--quiet", is_flag=True, help="Say only what is wrong.")
@click.option("--no-apply", is_flag=True, help="Run what was applied last; read and change no project file.")
@force_option
@adopt_option
@click.pass_context
def command(ctx: click.Context, logs: bool, quiet: bool, no_apply: bool, force: bool, adopt: bool) -> None:
    """Apply everything, then run the native backend in the foreground: in a terminal, or as a container's command.

    Ctrl-C (or TERM) stops every worker in its own way and leaves nothing running; a second Ctrl-C kills what is left.
    """
    session = open_session(ctx, json=quiet)
    session.refuse_guest()
    python = own_python(session.site)
    refuse_second(session)
    if note := zone_note(session.machine.clock.zone().key, os.environ.get("TZ", "")):
        session.console.warn(note)
    if not no_apply:
        _apply(session, override(force=force, adopt=adopt))
    run_keeper(session, python, logs=logs, quiet=quiet)


def _apply(session: Session, allowed: Override) -> None:
    """Bring the server to what the project files say; one project that cannot be had does not stop the others."""
    with session.changing():
        names, errors = usable_projects(session, None)
        change = prepare_up(session.machine, session.site, session.catalog, names, allowed)
        if change.plan.actions or change.plan.conflicts:
            show_plan(session.console, change.plan, diffs=False)
        commit(session.machine, change, session.console)
    for error in (*errors, *change.errors):
        session.console.warn_of(error)
    if not runs_something(change):
        session.console.warn(
            "nothing is on the native backend yet: in another terminal, add something with shiftboss setup PROJECT"
        )


def zone_note(own: str, asked: str) -> str:
    """Return what is to be said of a TZ that was set for us (a container's), "" for nothing: the machine's zone counts."""
    wanted = asked.removeprefix(":")
    if wanted in ("", own) or (wanted.endswith("UTC") and own.endswith("UTC")):
        return ""
    return (
        f"TZ={asked} changes no schedule: they go by the time zone of this machine, {own} (/etc/localtime); link that to"
        f" /usr/share/zoneinfo/{wanted}, or give schedules a timezone"
    )


def refuse_second(session: Session) -> None:
    """Raise HostError if a keeper runs here already."""
    try:
        with Client(f"{session.site.run}/api.sock", timeout=2) as client:
            pid = client.version().keeper_pid
    except ShiftbossError:
        return
    if not pid:  # an engine whose keeper was killed: the new keeper ends it
        return
    raise HostError(
        f"cannot start: shiftboss runs already, as process {pid}",
        hint="Use it as it is (shiftboss status), or end it first: systemctl stop shiftboss, or Ctrl-C where it runs.",
    )


def run_keeper(session: Session, python: str, *, logs: bool, quiet: bool) -> NoReturn:
    """Become the keeper: process 1 of a container must be the one that reaps. A narrator goes beside it."""
    make_places(session.machine, session.site)
    argv = keeper_command(session.site, python)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if not quiet:
            _narrate(session, python, logs=logs)
        os.execv(python, argv)  # noqa: S606 -- our own interpreter
    except OSError as error:
        raise HostError(
            f"cannot run {python}: {(error.strerror or str(error)).lower()}",
            hint="Install shiftboss again: its Python is missing or broken.",
        ) from error


def _narrate(session: Session, python: str, *, logs: bool) -> None:
    """Start the narrator; it ends with this process, whatever that becomes."""
    since = session.machine.clock.now().timestamp()
    words = [f"{session.site.run}/api.sock", str(os.getpid()), str(since), *(["logs"] if logs else [])]
    argv = [python, "-I", "-m", "shiftboss.cli.narrator", *words]
    if os.fork() == 0:
        try:
            os.execv(python, argv)  # noqa: S606 -- our own interpreter
        finally:
            os._exit(127)
