"""The session of a command line, with the console that it prints to."""

import os

import click

from shiftboss.cli.output import Console
from shiftboss.setup import session as setup_session


class Session(setup_session.Session):
    """A session whose progress is shown on a console."""

    console: Console


def open_session(ctx: click.Context, *, json: bool = False) -> Session:
    """Return the session of a command; raises UserError if config.toml is wrong."""
    console = Console(quiet=json)
    opened = setup_session.open_session(ctx.find_root().obj, os.environ, console)
    session = Session(opened.machine, opened.site, console)
    session.console = console
    return session
