"""The runs: started, signalled, stopped, reaped, and held until the engine forgets them."""

import errno
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from resource import struct_rusage

from shiftboss.confine.birth import Child, NoRoomError, Nursery, Slot
from shiftboss.confine.groups import Bounds
from shiftboss.confine.journal import Terms
from shiftboss.confine.loop import Loop, say
from shiftboss.confine.program import Program, read_result
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Confinement, Entry
from shiftboss.core.wire.values import WireError
from shiftboss.keeper.link import Build, Told
from shiftboss.keeper.manifest import EMPTY, check_signal

Key = tuple[str, int, int]
Post = Callable[[tuple[object, ...], Build], None]
_KILL_AGAIN_SECONDS, _KILL_AGAIN_MOST = 0.01, 0.5
_LOOK_AGAIN_SECONDS, _LOOK_AGAIN_MOST = 0.005, 1.0
_CGROUP_REST_SECONDS = 1.0
_MAX_RESULT = 64 * 1024


class Run:
    """One start of one process; `child` None: it could not even be forked."""

    def __init__(
        self, key: Key, entry: Entry, child: Child | None, failure: messages.SpawnFailed | None
    ) -> None:
        self.key, self.child, self.failure = key, child, failure
        self.revision, self.terms = entry.revision, entry.stop
        self.started = time.monotonic()
        self.told, self.release, self.sent = b"", "", ""
        self.notes: tuple[str, ...] = ()
        self.exit: messages.Exit | None = None
        self.starting = child is not None  # between fork and exec
        self.gone = child is None
        self.patience = (
            0  # the timer of its stop: a day perhaps, and a run that is gone must not be held so long
        )
        self.stopping = self.killing = self.forgotten = self.dropped = False

    def spawned(self) -> Told:
        """Return the message about its start; nothing if it is forgotten (its descriptor is another's by now)."""
        return (
            None if self.dropped or not self.child else (messages.Spawned(*self._known()), self.child.output)
        )

    def held(self) -> Told:
        """Return all that the engine must know of this run; nothing while it is between fork and exec."""
        if self.failure:
            return (self.failure, -1) if self.gone else None
        if self.starting or self.dropped or not self.child:
            return None
        return messages.Held(*self._known(), self.stopping, self.exit, self.gone), self.child.output

    def _known(self) -> tuple[str, int, int, int, float, str, str, str, tuple[str, ...], tuple[str, ...]]:
        assert self.child
        path = self.child.scope.path
        counted = self.child.leaf.counted
        return (
            *self.key,
            self.child.pid,
            self.started,
            self.release,
            self.revision,
            path,
            self.notes,
            counted,
        )


class Runs:
    """All runs. Every request may be repeated; nothing here waits or raises for what a project or engine does."""

    def __init__(
        self, loop: Loop, nursery: Nursery, instance: str, files: tuple[int, int], post: Post
    ) -> None:
        """`files`: limit of open files that we were started with: ours is raised, our children's is not."""
        self.manifest = EMPTY
        self.held: dict[Key, Run] = {}
        self.closed = False  # nothing is started any more
        self.on_gone: Callable[[], None] = lambda: None
        self._loop, self._nursery, self._instance = loop, nursery, instance
        self._files, self._post = files, post
        self._slots: dict[tuple[str, int], list[Run]] = {}  # the runs of each process
        self._ended: list[Run] = []
        self._lingering: set[Run] = set()

    def living(self) -> list[Run]:
        """Return the runs of which something lives."""
        return [run for run in self.held.values() if not run.gone]

    def perform(self, request: messages.OfRun) -> None:
        """Do what the engine asks for."""
        key: Key = (request.entry, request.process, request.run)
        run = self.held.get(key)
        if isinstance(request, messages.Spawn):
            self._spawn(key, run)
        elif isinstance(request, messages.Forget):
            self._forget(run)
        elif run is None or run.gone:
            self._post(("gone", *key), lambda: (messages.Gone(*key), -1))
        elif isinstance(request, messages.Signal):
            self._signal(run, request.signal, request.scope)
        else:
            (self.stop if isinstance(request, messages.Stop) else self.kill)(run)

    # ---- start

    def _spawn(self, key: Key, run: Run | None) -> None:
        """Start a run if the manifest holds it and nothing of this process lives."""
        entry = self.manifest.entries.get(key[0])
        refusal = self._refusal(key, entry)
        if run:
            self._post(("held", *key), run.held)
        elif entry is None or refusal:
            failed = messages.SpawnFailed(*key, *(refusal or ("unknown", 0, "")))
            self._post(("refusal", *key), lambda: (failed, -1))
        else:
            self._start(key, entry)

    def _refusal(self, key: Key, entry: Entry | None) -> tuple[messages.Step, int, str] | None:
        address, process, _ = key
        if self.closed:
            return "stopping", 0, "the server is stopping"
        if entry is None:
            return "unknown", errno.ENOENT, f"{address} is not in the manifest"
        if process > entry.processes_max:
            return "unknown", errno.ENOENT, f"{address} has no process {process}"
        earlier = self._slots.get(key[:2], [])
        if any(not run.gone for run in earlier):
            return "busy", errno.EBUSY, f"an earlier run of {address}:{process} has not ended"
        if len(earlier) >= messages.MAX_UNFORGOTTEN:
            return "busy", errno.EBUSY, f"too many runs of {address}:{process} are not forgotten"
        return None

    def _start(self, key: Key, entry: Entry) -> None:
        mark = f"{self._instance}/{key[0]}/{key[1]}/{key[2]}"
        program = program_of(entry, {"NOFILE": self._files})
        try:
            terms, bounds = Terms(*entry.stop), bounds_of(entry.confinement)
            child = self._nursery.start(slot_of(key[:2]), key[2], mark, program, terms, bounds)
        except NoRoomError as error:
            words = f"cannot start {key[0]}:{key[1]}: {error.strerror}"
            failure = messages.SpawnFailed(*key, messages.step_of(error.step), error.errno or 0, words)
            run = self._keep(Run(key, entry, None, failure))
            self._post(("held", *key), run.held)
            return
        run = self._keep(Run(key, entry, child, None))
        self._loop.children[child.pid] = lambda status, usage: self._on_exit(run, child, status, usage)
        self._loop.watch(child.result, lambda _: self._on_result(run, child))

    def _keep(self, run: Run) -> Run:
        self.held[run.key] = run
        self._slots.setdefault(run.key[:2], []).append(run)
        return run

    def _on_result(self, run: Run, child: Child) -> None:
        """Read what is told between fork and exec; at its end exec has succeeded, or the child has failed or died."""
        with suppress(BlockingIOError):
            part = os.read(child.result, _MAX_RESULT)
            run.told += part
            if not part or len(run.told) > _MAX_RESULT:
                self._finish_start(run, child)

    def _finish_start(self, run: Run, child: Child) -> None:
        self._loop.unwatch(child.result)
        os.close(child.result)
        run.starting, result, run.told = False, read_result(run.told), b""
        if result and not result.step:
            run.started, run.release, run.notes = time.monotonic(), result.release, result.words
            self._post(("spawned", *run.key), run.spawned)
        elif result:
            step, words = messages.step_of(result.step), " ".join(result.words)
            run.failure = messages.SpawnFailed(*run.key, step, result.number, words)
        else:
            run.failure = messages.SpawnFailed(*run.key, "stopped", 0, "stopped before it could start")

    # ---- signals

    def _signal(self, run: Run, name: str, scope: str) -> None:
        try:
            check_signal(name)
        except WireError as error:
            refused = messages.Refused(f"{run.key[0]}:{run.key[1]}: {error}")
            self._post(("refused",), lambda: (refused, -1))
        else:
            self._send(run, name, scope)

    def stop(self, run: Run) -> None:
        """Stop a run as its entry says: signal, wait, KILL, until everything it started is gone."""
        if not run.stopping and run.child:
            run.stopping = True
            run.child.scope.note()
            self._send(run, run.terms.signal, run.terms.scope if run.exit is None else "all")
            self._send(run, "CONT", run.terms.scope)  # what is stopped would not see the signal
            run.patience = self._loop.after(run.terms.wait_seconds, lambda: self.kill(run))

    def kill(self, run: Run) -> None:
        """KILL everything a run started, again and again until it is gone."""
        if not run.killing:
            run.stopping = run.killing = True
            self._kill_again(run, _KILL_AGAIN_SECONDS)

    def _kill_again(self, run: Run, wait: float) -> None:
        if not run.gone and run.child:
            self._send(run, "KILL", "main")
            self._nursery.kill(slot_of(run.key[:2]), run.child.scope)
            self._loop.after(wait, lambda: self._kill_again(run, min(2 * wait, _KILL_AGAIN_MOST)))
            self._nursery.orphans.expire()
            self._look(run)

    def _send(self, run: Run, name: str, scope: str) -> None:
        number = signal.Signals[f"SIG{name}"]
        alive = run.exit is None  # not reaped: its pid cannot be another's
        if alive and name != "CONT":
            run.sent = name
        if run.child and scope == "all":
            run.child.scope.send(number)
        elif run.child and alive:
            try:
                (os.killpg if scope == "group" else os.kill)(run.child.pid, number)
            except ProcessLookupError:
                os.kill(run.child.pid, number)  # between fork and setsid there is no such group yet
            except PermissionError as error:
                say(f"cannot signal {run.key[0]}:{run.key[1]}: {error.strerror}")

    # ---- end

    def _on_exit(self, run: Run, child: Child, status: int, usage: struct_rusage) -> None:
        self._nursery.journal.discard(child.pid)
        if run.starting:  # its last words, told before it died
            self._on_result(run, child)
        if run.starting:
            self._finish_start(run, child)
        code, core, memory = os.waitstatus_to_exitcode(status), os.WCOREDUMP(status), usage.ru_maxrss * 1024
        now, sent = time.monotonic(), run.sent
        run.exit = messages.Exit(code, now, sent, core, usage.ru_utime, usage.ru_stime, memory)
        self._ended.append(run)

    def after_reaping(self) -> None:
        """See what the ended processes left; once for all that ended together."""
        self._nursery.orphans.expire()
        ended, self._ended = self._ended, []
        for run in ended:
            self._settle(run)
        for run in [*self._lingering]:
            self._look(run)
        self._nursery.journal.tidy(lambda: any(run.starting for run in self.held.values()))

    def _settle(self, run: Run) -> None:
        if run.failure:  # before exec it can have started nothing
            run.gone = True
            self._post(("held", *run.key), run.held)
        elif run.child and (ended := run.exit):
            run.gone = run.child.scope.is_empty()
            self._post(("exited", *run.key), lambda: (messages.Exited(*run.key, ended, run.gone), -1))
        if run.gone:
            self._finish(run)
            return
        self._lingering.add(run)
        if run.stopping and not run.killing:
            self._send(run, run.terms.signal, "all")
        self._look_again(run, _LOOK_AGAIN_SECONDS)

    def _look_again(self, run: Run, wait: float) -> None:
        """Ask a few times more: the kernel may count a process for a moment after its end was reported."""
        if not run.gone and wait <= _LOOK_AGAIN_MOST:
            self._loop.after(wait, lambda: self._look_again(run, 4 * wait))
            self._look(run)

    def _look(self, run: Run) -> None:
        if run in self._lingering and run.child and run.child.scope.is_empty():
            run.gone = True
            self._post(("gone", *run.key), lambda: (messages.Gone(*run.key), -1))
            self._finish(run)

    def _finish(self, run: Run) -> None:
        self._lingering.discard(run)
        self._loop.cancel(run.patience)
        if run.child:
            run.child.scope.close()
        if run.forgotten:
            self._drop(run)
        self.on_gone()

    def _forget(self, run: Run | None) -> None:
        if run and (run.exit or run.failure):
            run.forgotten = True
            if run.gone:
                self._drop(run)

    def _drop(self, run: Run) -> None:
        run.dropped = True
        slot = run.key[:2]
        del self.held[run.key]
        self._slots[slot].remove(run)
        if not self._slots[slot]:
            del self._slots[slot]
        if run.child:
            os.close(run.child.output)
            # not at once: the next run of this process is often already asked for
            self._loop.after(_CGROUP_REST_SECONDS, lambda: self._clear(slot, run.child))

    def _clear(self, slot: tuple[str, int], child: Child | None) -> None:
        others = [run.child.scope.path for run in self._slots.get(slot, []) if run.child]
        if child and child.scope.path not in others:
            self._nursery.groups.clear(*slot_of(slot), child.leaf)


def slot_of(key: tuple[str, int]) -> Slot:
    """Return project and name of a process that its runs share, fit for a file name and without ambiguity."""
    project, _, unit = key[0].partition("/")
    return project, f"{unit}.{key[1]}"


def bounds_of(confinement: Confinement) -> Bounds:
    """Return the values for the cgroups of an entry and of its project."""
    own, budget = (confinement.v2, confinement.v1), (confinement.budget_v2, confinement.budget_v1)
    return Bounds(own, budget)


def program_of(entry: Entry, rlimits: dict[str, tuple[int, int]]) -> Program:
    """Return the program of an entry; `rlimits` are those it does not set itself."""
    return Program(
        argv=entry.argv,
        user=entry.user,
        uid=entry.uid,
        gid=entry.gid,
        groups=entry.groups,
        directory=entry.directory,
        account={
            "HOME": entry.home,
            "USER": entry.user,
            "LOGNAME": entry.user,
            "SHELL": entry.shell,
            "PATH": entry.path,
            "LANG": entry.lang,
        },
        environment=entry.environment,
        env_file=entry.env_file,
        umask=entry.umask,
        rlimits=rlimits | entry.rlimits,
        fallbacks=entry.confinement.fallbacks,
        nice=entry.confinement.nice,
        steps=entry.confinement.steps,
    )
