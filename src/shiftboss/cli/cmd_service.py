"""The command `shiftboss service`."""

import sys
from typing import Any

import click

from shiftboss.api.client import Client
from shiftboss.cli.making import dry_run_option, json_option, yes_option
from shiftboss.cli.output import print_json
from shiftboss.cli.session import Session, open_session
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.plan import RemoveFile, WriteFile, file_diff
from shiftboss.core.service_unit import UNIT
from shiftboss.setup.keeper_command import keeper_digest, own_python
from shiftboss.setup.service import Answering, Seen, Service, Step

_NOT_RUNNING = 3


@click.group("service")
def command() -> None:
    """The native backend at boot: a systemd service of the server, or (as an ordinary user) of your own.

    Without systemd, `shiftboss up` runs the same in the foreground, in a container or under another init system.
    """


@command.command("install", epilog="shiftboss service install")
@dry_run_option
@json_option
@click.pass_context
def install(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Write, enable and start the service, and prove that it answers. Run twice, it does nothing more."""
    session, service = _opened(ctx, as_json)
    with session.changing():
        service.require_systemd()
        steps = service.installing(own_python(session.site), keeper_digest())
        _perform(session, service, steps, dry_run=dry_run, as_json=as_json, ask=None)
    if not dry_run:
        for note in service.notes():
            session.console.warn(note)


@command.command("upgrade", epilog="make install && shiftboss service upgrade")
@dry_run_option
@json_option
@yes_option
@click.pass_context
def upgrade(ctx: click.Context, dry_run: bool, as_json: bool, yes: bool) -> None:
    """Let the installed version run.

    Where the keeper's own code is the same, only the engine is exchanged and no worker restarts. Otherwise the
    service restarts: every worker finishes in its own way and starts again.
    """
    session, service = _opened(ctx, as_json)
    with session.changing():
        service.require_systemd()
        steps = service.upgrading(own_python(session.site), keeper_digest())
        _perform(session, service, steps, dry_run=dry_run, as_json=as_json, ask=None if yes else "Go on?")


@command.command("remove", epilog="shiftboss service remove")
@click.option("--purge", is_flag=True, help="Remove the history and stored wishes too.")
@dry_run_option
@json_option
@yes_option
@click.pass_context
def remove(ctx: click.Context, purge: bool, dry_run: bool, as_json: bool, yes: bool) -> None:
    """Stop the service with all workers, and remove what `install` made. Project files and logs stay."""
    session, service = _opened(ctx, as_json)
    with session.changing():
        steps = service.removing(purge=purge)
        _perform(session, service, steps, dry_run=dry_run, as_json=as_json, ask=None if yes else "Go on?")


@command.command("status", epilog="shiftboss service status")
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Show whether the service is installed, enabled and answers. Exit code 3: it does not run."""
    session, service = _opened(ctx, as_json)
    service.require_systemd()
    seen = service.look()
    if as_json:
        print_json({"service": _document(service, seen)})
    else:
        _show(session, service, seen)
    return 0 if seen.active == "active" and seen.answering else _NOT_RUNNING


def _opened(ctx: click.Context, as_json: bool) -> tuple[Session, Service]:
    session = open_session(ctx, json=as_json)
    socket = f"{session.site.run}/api.sock"

    def answering() -> Answering | None:
        try:
            with Client(socket, timeout=2) as client:
                told = client.version()
        except ShiftbossError:
            return None
        if not told.keeper_pid:  # an engine whose keeper was killed
            return None
        return Answering(told.keeper_pid, told.engine_pid, told.version)

    return session, Service(session.machine, session.site, session.environ, session.console, answering)


def _perform(
    session: Session, service: Service, steps: list[Step], *, dry_run: bool, as_json: bool, ask: str | None
) -> None:
    """Show the steps; do them unless it is a dry run; show what is then. `ask`: a question before, on a terminal."""
    for line in [step.words for step in steps] or ["nothing to change"]:
        session.console.print(line)
    if dry_run:
        for step in steps:
            session.console.print(_diff(step).rstrip("\n")) if _diff(step) else None
    else:
        if steps and ask and sys.stdin.isatty():
            click.confirm(ask, abort=True)
        for step in steps:
            step.do()
        if not as_json:
            _show(session, service, service.look())
    if as_json:
        rows = [{"action": s.words, "path": s.path or None, "diff": _diff(s) or None} for s in steps]
        print_json({"actions": rows, "service": _document(service, service.look())})


def _diff(step: Step) -> str:
    if step.after is not None:
        return file_diff(WriteFile("", step.path, step.after, step.before))
    return file_diff(RemoveFile("", step.path, step.before)) if step.before is not None else ""


def _document(service: Service, seen: Seen) -> dict[str, Any]:
    return {
        "unit": UNIT,
        "path": service.path,
        "installed": seen.text is not None,
        "enabled": seen.enabled,
        "active": seen.active,
        "keeper_pid": seen.answering.keeper_pid if seen.answering else None,
        "engine_pid": seen.answering.engine_pid if seen.answering else None,
        "version": seen.answering.version if seen.answering else None,
    }


def _show(session: Session, service: Service, seen: Seen) -> None:
    if seen.text is None:
        session.console.print(f"{UNIT} is not installed")
        return
    boot = "starts at boot" if seen.enabled else "does not start at boot"
    who = seen.answering
    running = (
        f"keeper {who.keeper_pid}, engine {who.engine_pid}, version {who.version}"
        if who
        else "nobody answers"
    )
    session.console.print(f"{UNIT}: {seen.active}, {boot}; {running}")
