"""The demo from its beginning to its end, which leaves nothing behind."""

import contextlib
import time
from collections.abc import Iterator

import click

from shiftboss.demo import scenes
from shiftboss.demo.ending import one_way_out, undisturbed
from shiftboss.demo.running import Server
from shiftboss.demo.stage import Stage, made_stage, require_huey, step_down
from shiftboss.demo.tour import tour

_LOOK_SECONDS = 0.5


def perform(*, once: bool, keep: bool) -> None:
    """Show everything and end (`once`), or stay until Ctrl-C. `keep` leaves the files.

    Raises HostError with the logs if something is not as it should be.
    """
    require_huey()
    step_down()
    one_way_out()
    began = time.monotonic()
    with made_stage(keep=keep) as stage, _server(stage) as server:
        click.echo(f"starting a page, a queue and two workers in {stage.top}")
        scenes.wait_until_it_runs(server)
        click.echo(f"everything runs as {stage.user} after {time.monotonic() - began:.1f} s")
        if once:
            scenes.show(server)
        else:
            _stay(server, keep=keep)
    kept = f"; the files are in {stage.top}" if keep else ", and every file is removed"
    click.echo(f"everything is stopped after {time.monotonic() - began:.1f} s{kept}")


def _stay(server: Server, *, keep: bool) -> None:
    server.news()
    click.echo(tour(server.stage, scenes.pids(server)[0], keep=keep))
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            server.require_alive()
            click.echo(server.news(), nl=False)
            time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def _server(stage: Stage) -> Iterator[Server]:
    server = Server(stage)
    try:
        yield server
    finally:
        with undisturbed():
            click.echo("\nstopping …")
            server.stop()
