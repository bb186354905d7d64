"""What api clients may have changed: start, stop, restart, scale, reload, shutdown. Each is one message of the loop."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from shiftboss.api import calls
from shiftboss.api.calls import Act, Answer, Changed, Event, Reload, Reloaded, Scale
from shiftboss.core import lifecycle
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.wire import messages
from shiftboss.engine.database import ScaleMemory
from shiftboss.engine.fleet import Slot, Unit
from shiftboss.engine.lives import Lives
from shiftboss.engine.manifest import Difference
from shiftboss.engine.settling import Settling, pids

Reply = Callable[[Answer], None]
Then = Callable[[], None]


class Reloading(NamedTuple):
    """A client that waits for the next manifest."""

    request: Reload
    reply: Reply
    who: str
    uid: int | None


class Requests:
    """Carries out requests. Raises UserError or HostError at once; else `reply` is called, now or later.

    `uid` is the user whose request is being carried out, for what is noted of it.
    """

    def __init__(self, lives: Lives) -> None:
        self.uid: int | None = None
        self._lives = lives
        self._reloading: list[Reloading] = []

    def start(self, request: Act, who: str, reply: Reply) -> None:
        """Have processes run."""
        slots = self._chosen(request)
        before = pids(slots)
        for slot in slots:
            self._want(slot, "", lifecycle.Start())
        answer = _Answer(reply)
        self._asked("start", slots, request, who, answer.stored)
        self._settle(slots, before, request.wait_seconds, answer.settled)

    def stop(self, request: Act, who: str, reply: Reply) -> None:
        """Have processes not run until somebody starts them, or until the next boot unless `keep`."""
        slots = self._chosen(request)
        before = pids(slots)
        for slot in slots:
            self._want(slot, "keep" if request.keep else self._lives.boot, lifecycle.Stop())
        answer = _Answer(reply)
        self._asked("stop", slots, request, who, answer.stored)
        self._settle(slots, before, request.wait_seconds, answer.settled)

    def restart(self, request: Act, who: str, reply: Reply) -> None:
        """Have processes run anew."""
        slots = self._chosen(request)
        before = pids(slots)
        for slot in slots:
            self._want(slot, "", lifecycle.Restart())
        answer = _Answer(reply)
        self._asked("restart", slots, request, who, answer.stored)
        self._settle(slots, before, request.wait_seconds, answer.settled)

    def scale(self, request: Scale, who: str, reply: Reply) -> None:
        """Run so many processes of a worker; those that stay are not touched."""
        self._refuse_while_closing()
        unit = self._one_worker(request.target)
        most = unit.entry.processes_max
        if request.processes > most:
            raise UserError(
                f"cannot run {request.processes} processes of {unit.address}: at most {most} are allowed",
                hint=f"Set processes in the project's file, or a number up to {most}.",
            )
        in_file = unit.entry.policy.processes
        unit.scale = None if request.processes == in_file else ScaleMemory(request.processes, in_file)
        self._lives.shell.remember_scale(unit.address, unit.scale)
        concerned = self._lives.resize(unit)
        answer = _Answer(reply)
        self._note("asked", unit.address, f"scale to {request.processes}", who, then=answer.stored)
        self._lives.shell.flush()
        self._settle(concerned, {}, request.wait_seconds, answer.settled)

    def reload(self, request: Reload, who: str, reply: Reply) -> None:
        """Have the manifest read again; the answer comes with it."""
        self._refuse_while_closing()
        self._reloading.append(Reloading(request, reply, who, self.uid))
        self._lives.shell.send(messages.Reload())

    def shutdown(self, who: str, reply: Reply) -> None:
        """Have the keeper stop everything and end."""
        self._note("asked", "", "shutdown", who)
        self._lives.shell.send(messages.Shutdown())
        reply(calls.Done())

    def reloaded(self, difference: Difference, errors: dict[str, str]) -> None:
        """Tell those who wait for it what a manifest changed."""
        waiting, self._reloading = self._reloading, []
        for one in waiting:
            done = partial(_tell_reloaded, difference, errors, one.reply)
            Settling(self._lives.shell, difference.slots, {}, one.request.wait_seconds, done)

    def who_reloads(self) -> tuple[str | None, int | None]:
        """Return name and uid of who asked for the manifest that comes next; None if nobody did (SIGHUP)."""
        first = self._reloading[0] if self._reloading else None
        return (first.who or None, first.uid) if first else (None, None)

    def _chosen(self, request: Act) -> list[Slot]:
        self._refuse_while_closing()
        fleet = self._lives.fleet
        others = [unit for unit in fleet.select_units(request.targets) if not unit.is_worker]
        slots = fleet.select(request.targets)
        if others and not slots:
            raise UserError(
                f"{others[0].address} is a {others[0].entry.policy.kind}, not a worker",
                hint="Only workers are started and stopped.",
            )
        return slots

    def _one_worker(self, target: str) -> Unit:
        units = self._lives.fleet.select_units((target,))
        if len(units) != 1 or "/" not in target:
            raise UserError(
                f"{target} is not one worker",
                hint=f"Name one, such as {units[0].address}.",
            )
        if not units[0].is_worker:
            raise UserError(
                f"{target} is a {units[0].entry.policy.kind}, not a worker", hint="Name a worker."
            )
        return units[0]

    def _refuse_while_closing(self) -> None:
        if self._lives.is_closing:
            raise HostError("everything is being stopped", hint="Start shiftboss again first.")

    def _want(self, slot: Slot, down: str, event: lifecycle.Event) -> None:
        slot.down = down
        self._lives.apply(slot, event)
        self._lives.shell.remember(slot.key, slot.memory())

    def _asked(self, verb: str, slots: list[Slot], request: Act, who: str, stored: Then) -> None:
        """Tell each unit's history who asked, a single process is named; store that with the wishes, then `stored`."""
        named = {target for target in request.targets if ":" in target}
        notes = dict.fromkeys(
            (slot.unit.address, slot.number if slot.address in named else 0) for slot in slots
        )
        for address, number in notes:
            self._note("asked", address, verb, who, number, then=stored)
        self._lives.shell.flush()
        if not notes:
            stored()

    def _note(
        self, kind: str, target: str, words: str, who: str, process: int = 0, then: Then | None = None
    ) -> None:
        event = Event(
            at=self._lives.shell.wall(),
            kind=kind,
            target=target,
            process=process,
            reason=words,
            who=who or None,
            uid=self.uid,
        )
        self._lives.shell.record(event, then)
        self._lives.shell.publish(event)

    def _settle(
        self,
        slots: list[Slot],
        before: dict[tuple[str, int], int | None],
        seconds: float,
        done: Callable[[Changed], None],
    ) -> None:
        Settling(self._lives.shell, slots, before, seconds, done)


class _Answer:
    """Replies when all is settled and what was asked for is stored: a wish that was granted outlives the engine."""

    def __init__(self, reply: Reply) -> None:
        self._reply, self._is_stored = reply, False
        self._changed: Changed | None = None

    def settled(self, changed: Changed) -> None:
        """Note what became of the processes."""
        self._changed = changed
        self._go()

    def stored(self) -> None:
        """Note that the wishes are stored, or cannot be; once is enough."""
        if not self._is_stored:
            self._is_stored = True
            self._go()

    def _go(self) -> None:
        if self._changed and self._is_stored:
            self._reply(self._changed)


def _tell_reloaded(difference: Difference, errors: dict[str, str], reply: Reply, changed: Changed) -> None:
    answer = Reloaded(
        added=tuple(difference.added),
        removed=tuple(difference.removed),
        restarted=tuple(difference.restarted),
        resized=tuple(difference.resized),
        untouched=difference.untouched,
        errors=errors,
        processes=changed.processes,
        complete=changed.complete,
    )
    reply(answer)
