"""The session of a command line, with the console that it prints to."""

import os

import click

from shiftboss.cli.output import Console
from shiftboss.setup import session as setup_session


class Session(setup_session.Session):
    """A session whose progress is shown on a console."""

    @property
    def console(self) -> Console:
        """The console of this command."""
        assert isinstance(self.progress, Console)
        return self.progress


def open_session(ctx: click.Context, *, json: bool = False) -> Session:
    """Return the session of a command; raises UserError if config.toml is wrong."""
    root = ctx.find_root()
    config = root.obj or root.params.get("config")  # while a shell completes, no command has set obj
    return Session(setup_session.this_machine(), Console(quiet=json), config, os.environ)
