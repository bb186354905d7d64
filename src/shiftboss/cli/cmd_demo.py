"""The command `shiftboss demo`."""

import sys

import click


@click.command("demo", epilog="shiftboss demo --once")
@click.option(
    "--once/--stay", default=None, help="Show everything and end, or stay (default: stay on a terminal)."
)
@click.option("--keep", is_flag=True, help="Leave the files in their directory at the end.")
def command(once: bool | None, keep: bool) -> None:
    """Run a small example on the native backend: a web page, a queue and its workers.

    Everything is in one temporary directory, without root and beside whatever else runs. On a terminal it stays
    until Ctrl-C and says what to try; elsewhere it presses the button, kills a worker, deploys a new release
    and ends. Nothing is left behind.
    """
    from shiftboss.demo.performance import perform

    ends_by_itself = not (sys.stdin.isatty() and sys.stdout.isatty()) if once is None else once
    perform(once=ends_by_itself, keep=keep)
