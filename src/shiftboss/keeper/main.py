"""The keeper: `python -I -m shiftboss.keeper.main --manifest DIR --state DIR --run DIR -- ENGINE ARGUMENT…`.

It owns the children, their pipes and exit statuses, and api.sock; it starts what the engine asks for and the
manifest holds. The engine's command gets `--keeper-fd N` appended. Options:

    --manifest DIR    one JSON file a project; owned by root or us, not writable by others
    --state DIR       `instance`: the name of this installation, made once
    --run DIR         keeper.lock, keeper.pid, engine.pid, api.sock, started (the journal); starting: what it waits for
    --cgroups KIND    auto (default), v2, v1 or none

TERM, INT: stop everything and end (a second one: KILL). HUP: read the manifest again. Exit status 1: it could not
start, for the reason on standard error; 2: wrong usage.
"""

import gc
import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial

from shiftboss.confine import cgroup, journal, kernel, startup
from shiftboss.confine.birth import Nursery
from shiftboss.confine.groups import settle
from shiftboss.confine.leftovers import Leftovers
from shiftboss.confine.loop import HANDLED, Loop, say
from shiftboss.confine.releases import Place, Releases
from shiftboss.confine.resident import Resident
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import VERSION, without_secrets
from shiftboss.keeper import manifest
from shiftboss.keeper.link import Link, Told
from shiftboss.keeper.runs import Runs

_SAY_SECONDS = 1.0  # between two counts
_STRAYS_SECONDS = 5.0
_REMOVED_MOST = 1000  # their addresses go into one message


class Keeper:
    """All parts together: takes the lock, clears up after a dead keeper, and only then starts things."""

    def __init__(self, options: startup.Options) -> None:
        self._options = options
        files = startup.prepare_process()
        self._lock = startup.take_lock(options.run)
        self._instance = startup.read_instance(options.state)
        self._degraded: list[str] = []
        self._manifest = manifest.load(options.manifest, manifest.EMPTY)
        name = f"shiftboss-{self._instance}"
        tree = cgroup.find_tree(name, options.cgroups)
        book = journal.Journal(f"{options.run}/started")
        self._stop_leftovers(book, tree)
        self._api = startup.listen(f"{options.run}/api.sock")
        self._loop = Loop()
        self._nursery = Nursery(HANDLED, settle(name, options.cgroups, tree), book, self._loop.children)
        mark = journal.engine_mark(self._instance)
        pid_file = f"{options.run}/engine.pid"
        self._engine = Resident(self._loop, self._nursery, "engine", options.engine, mark, pid_file)
        self._link = Link(self._loop, self._engine)
        self._runs = Runs(self._loop, self._nursery, self._instance, files, self._link.post)
        self._releases = Releases(self._loop, self._nursery, self._tell_release)
        self._started = time.monotonic()
        self._stopping = self._finishing = False

    def _stop_leftovers(self, book: journal.Journal, tree: cgroup.Tree | None) -> None:
        def known(address: str) -> tuple[int, journal.Terms] | None:
            entry = self._manifest.entries.get(address)
            return (entry.uid, journal.Terms(*entry.stop)) if entry else None

        looked, told = time.monotonic(), 0
        for count in Leftovers(self._instance, book.path, tree, known).stop_all():
            if count != told and time.monotonic() - looked > _SAY_SECONDS:
                looked, told = time.monotonic(), count
                self._say_waiting("1 process" if count == 1 else f"{count} processes")
        if told:
            startup.notify("STATUS=")
        with suppress(OSError):
            os.unlink(f"{self._options.run}/starting")
        with suppress(OSError):
            book.rewrite()

    def _say_waiting(self, what: str) -> None:
        """Tell whoever may ask: nobody answers yet, and this may take as long as a worker's stop."""
        startup.notify(f"STATUS=waiting for {what} of an earlier keeper to end")
        say(f"waiting for {what} of an earlier keeper to end")
        with suppress(OSError):  # api/client.py reads it
            startup.write_file(f"{self._options.run}/starting", f"{os.getpid()} {what}\n")

    def run(self) -> None:
        """Start the engine and serve until everything is stopped."""
        try:
            kernel.become_subreaper()
        except OSError as error:
            self._degrade(str(error))
        if self._nursery.groups.tree is None:
            self._degrade("no cgroups here: a process that hides well is found only when the server stops")
        self._runs.on_gone, self._loop.reaped = self._check_done, self._runs.after_reaping
        self._link.on_request, self._link.on_end = self._on_request, self._finish
        stop, reload = self._stop, self._reload
        self._loop.take_signals({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload})
        self._take_manifest(self._manifest)
        self._engine.start()
        startup.notify("READY=1")
        gc.collect()
        gc.freeze()  # what lives now lives for ever: a collection must not copy its pages after each fork
        self._loop.run()

    def _degrade(self, words: str) -> None:
        self._degraded.append(words)
        say(words)

    # ---- what the engine asks for

    def _on_request(self, request: messages.Request) -> None:
        match request:
            case messages.Sync():
                self._tell_everything()
            case messages.Reload():
                self._reload()
            case messages.Shutdown():
                self._stop()
            case _:
                self._runs.perform(request)

    def _tell_everything(self) -> None:
        post, path = self._link.post, f"{self._options.run}/api.sock"
        known = (tuple(self._degraded), self._started, self._nursery.groups.holders())
        hello = messages.Hello(VERSION, self._instance, os.getpid(), path, *known)
        post(("hello",), lambda: (hello, self._api.fileno()))
        self._tell_manifest()
        for project in self._releases.paths:
            self._tell_release(project)
        for key, run in self._runs.held.items():
            post(("held", *key), run.held)
        if self._stopping:
            post(("stopping",), lambda: (messages.Stopping(), -1))
        post(("synced",), lambda: (messages.Synced(), -1))
        if self._finishing:
            self._link.post_end()

    def _tell_manifest(self, told: manifest.Manifest = manifest.EMPTY) -> None:
        """Offer what differs from what was told before."""
        removed = tuple(told.entries.keys() - self._manifest.entries.keys())
        if len(removed) > _REMOVED_MOST:
            told, removed = manifest.EMPTY, ()
        for address, entry in self._manifest.entries.items():
            if told.entries.get(address) is not entry:
                self._link.post(("offer", address), partial(self._offer, address))
        self._link.post(("manifest",), partial(self._summary, told.serial, removed))

    def _offer(self, address: str) -> Told:
        entry = self._manifest.entries.get(address)
        return (messages.Offer(self._manifest.serial, without_secrets(entry)), -1) if entry else None

    def _summary(self, base: int, removed: tuple[str, ...]) -> Told:
        now = self._manifest
        return messages.Manifest(now.serial, len(now.entries), now.errors, base, removed), -1

    def _tell_release(self, project: str) -> None:
        paths = self._releases.paths
        self._link.post(("release", project), lambda: (messages.Release(project, paths.get(project, "")), -1))

    def _reload(self) -> None:
        before = self._manifest
        self._take_manifest(manifest.load(self._options.manifest, before))
        self._tell_manifest(before)

    def _take_manifest(self, found: manifest.Manifest) -> None:
        self._manifest = self._runs.manifest = found
        # of two units that differ the first one's account looks
        units = reversed(found.entries.values())
        self._releases.follow({e.project: Place(e.current, e.user, e.uid, e.gid, e.groups) for e in units})
        for name, words in found.errors.items():
            say(f"{name}: {words}")

    # ---- the end

    def _stop(self) -> None:
        """Stop everything as its entry says; asked a second time, KILL."""
        startup.notify("STOPPING=1")
        again, self._stopping, self._runs.closed = self._stopping, True, True
        self._link.post(("stopping",), lambda: (messages.Stopping(), -1))
        for run in self._runs.living():
            self._runs.kill(run) if again else self._runs.stop(run)
        self._check_done()

    def _check_done(self) -> None:
        if self._stopping and not self._finishing and not self._runs.living():
            self._finishing = True
            self._link.end()

    def _finish(self) -> None:
        """Nothing of ours lives but what escaped every scope; end that too, and leave nothing behind."""
        deadline = time.monotonic() + _STRAYS_SECONDS
        while time.monotonic() < deadline and self._nursery.orphans.kill():
            time.sleep(0.01)
            self._loop.reap()
        for name in ("api.sock", "engine.pid", "keeper.pid", "started"):
            with suppress(OSError):
                os.unlink(f"{self._options.run}/{name}")
        while time.monotonic() < deadline and not self._nursery.groups.remove():
            time.sleep(0.01)
        self._loop.running = False


def main(arguments: list[str]) -> int:
    """Run a keeper until it is told to stop; return the exit status."""
    try:
        keeper = Keeper(startup.parse_options(arguments))
    except ValueError as error:
        say(str(error))
        return 2
    except startup.CannotStartError as error:
        say(f"cannot start: {error}")
        return 1
    keeper.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
