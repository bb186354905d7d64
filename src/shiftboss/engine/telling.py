"""What is told about processes: to the history, to those who listen and wait, to the keeper that may forget.

Telling is put off until every message at hand has had its effect: restarts come first. About one process
everything is told in the order in which it happened, also when the reason of an end takes a moment to be found.
An end is counted (`ended_run`) in the same transaction that stores it, so that it is counted once, whatever dies.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from shiftboss.api.calls import Event
from shiftboss.core import exit_reason
from shiftboss.core.lifecycle import RESTING, State
from shiftboss.core.wire import messages
from shiftboss.engine.fleet import Slot
from shiftboss.engine.shell_port import Shell

Run = tuple[str, int, int]
_STORED, _READ = "stored", "read"
_TAIL_LINES = 40
_AT_ONCE = 64  # of the work that was put off, before messages get their turn again


class End(NamedTuple):
    """The end of a main program. `started`: monotonic; `asked`: somebody wanted it; `starved`: memory ran out."""

    report: messages.Exited
    started: float
    asked: bool
    starved: exit_reason.Starved | None = None


class _Debt:
    """What must be done before the keeper may forget a run: its end stored, its output read."""

    __slots__ = ("is_reading", "left", "slot")

    def __init__(self, slot: Slot, *left: str) -> None:
        self.slot, self.left, self.is_reading = slot, set(left), False


class Telling:
    """Tells; decides nothing. `told_change` and `idle` are called back: a change was told, all was told.

    `told_change` gets the process with the state and run that were told: by now it may have others.
    """

    def __init__(
        self, shell: Shell, told_change: Callable[[Slot, State, int], None], idle: Callable[[], None]
    ) -> None:
        self._shell, self._told_change, self._idle = shell, told_change, idle
        self._later: deque[Callable[[], None]] = deque()
        self._owed: dict[Run, _Debt] = {}

    def put_off(self, work: Callable[[], None]) -> None:
        """Do this when the messages at hand have been taken, in order."""
        if not self._later:
            self._shell.soon(self._do_later)
        self._later.append(work)

    def is_told(self, run: Run) -> bool:
        """Tell whether the end of a run is known and still being told."""
        return run in self._owed

    def wall_of(self, monotonic: float) -> float:
        """Return the wall time of a monotonic time of this boot."""
        return self._shell.wall() - (self._shell.now() - monotonic)

    # ---- what is told

    def change(self, slot: Slot) -> None:
        """Tell that the process has changed its state."""
        self.in_order(slot, partial(self._change, slot, slot.process.state, slot.process.run))

    def start(self, report: messages.Spawned) -> None:
        """Tell that a run lives."""
        event = Event(
            at=self.wall_of(report.started),
            kind="start",
            target=report.entry,
            process=report.process,
            run=report.run,
            pid=report.pid,
            reason="; ".join(report.notes) or None,
        )
        self.put_off(partial(self.event, event))

    def failure(self, slot: Slot, report: messages.SpawnFailed) -> None:
        """Tell that a start failed. Something missing is told once, however often it is looked for."""
        run: Run = (*slot.key, report.run)
        self._owed[run] = _Debt(slot, _STORED)
        self.in_order(slot, partial(self._failure, slot, report, self._shell.wall()))

    def exit(self, slot: Slot, end: End) -> None:
        """Tell that a main program has ended."""
        report = end.report
        run: Run = (report.entry, report.process, report.run)
        self._owed[run] = _Debt(slot, _STORED, _READ)
        if report.gone:
            self.gone(run)
        self.in_order(slot, partial(self._exit, slot, end))

    def gone(self, run: Run) -> None:
        """Read what is left of the output of a run of which nothing lives; once, however often it is said."""
        debt = self._owed.get(run)
        if debt and not debt.is_reading:
            debt.is_reading = True
            entry, number = debt.slot.unit.entry, debt.slot.number
            self.put_off(partial(self._shell.finish, entry, number, run[2], partial(self._paid, run, _READ)))

    def event(self, event: Event) -> None:
        """Put an event into the history and tell those who listen."""
        self._shell.record(event)
        self._shell.publish(event)

    # ---- in order

    def _do_later(self) -> None:
        for _ in range(min(len(self._later), _AT_ONCE)):
            self._later[0]()  # stays in the queue while it runs: what it puts off needs no new call
            self._later.popleft()
        if self._later:
            self._shell.soon(self._do_later)
        else:
            self._shell.flush()
            self._idle()

    def in_order(self, slot: Slot, work: Callable[[], None]) -> None:
        """Do this when all that happened to the process before has been told."""
        self.put_off(partial(self._when_told, slot, work))

    def _when_told(self, slot: Slot, work: Callable[[], None]) -> None:
        if slot.is_telling:
            slot.untold = slot.untold or deque()
            slot.untold.append(work)
        else:
            work()

    def _tell_the_rest(self, slot: Slot) -> None:
        slot.is_telling = False
        while slot.untold and not slot.is_telling:
            slot.untold.popleft()()
        if not slot.untold:
            slot.untold = None
        self._shell.flush()

    # ---- telling

    def _change(self, slot: Slot, state: State, run: int) -> None:
        shows_reason = state in RESTING and state is not State.STOPPED
        entry, number = slot.key
        self._shell.publish(
            Event(
                at=self._shell.wall(),
                kind="state",
                target=entry,
                process=number,
                run=run,
                pid=slot.pid,
                state=state.value,
                reason=(slot.reason or None) if shows_reason else None,
            )
        )
        for waiter in slot.waiters or ():
            waiter(slot)
        self._told_change(slot, state, run)

    def _failure(self, slot: Slot, report: messages.SpawnFailed, at: float) -> None:
        reason = exit_reason.spawn_reason(report.step, report.errno, report.words)
        is_news = reason != slot.reason or not exit_reason.is_missing(report.step, report.errno)
        slot.reason, slot.ended_run = reason, report.run
        if not is_news:
            self._paid((*slot.key, report.run), _STORED)
            return
        event = Event(
            at=at,
            kind="failure",
            target=report.entry,
            process=report.process,
            run=report.run,
            outcome="failed",
            reason=reason,
        )
        self._store_end(slot, event)

    def _exit(self, slot: Slot, end: End) -> None:
        report = end.report
        if report.run <= slot.ended_run:  # counted by the engine before us
            self._paid((report.entry, report.process, report.run), _STORED)
        elif end.asked or report.exit.code == 0:  # the log says nothing that matters
            self._count(slot, end, [], "")
        else:
            slot.is_telling = True
            found = partial(self._found_lines, slot, end)
            self._shell.tail(slot.unit.address, _TAIL_LINES, found)

    def _found_lines(self, slot: Slot, end: End, lines: list[str]) -> None:
        found = partial(self._found_all, slot, end, lines)
        port = exit_reason.port_taken(lines)
        if port is None:
            found("")
        else:
            self._shell.listener(port, found)

    def _found_all(self, slot: Slot, end: End, lines: list[str], listener: str) -> None:
        self._count(slot, end, lines, listener)
        self._tell_the_rest(slot)

    def _count(self, slot: Slot, end: End, lines: list[str], listener: str) -> None:
        report, asked = end.report, end.asked
        slot.reason = _reason(slot, end, lines, listener)
        slot.ended_run = report.run
        slot.restarts += not asked
        event = Event(
            at=self.wall_of(report.exit.at),
            kind="exit",
            target=report.entry,
            process=report.process,
            run=report.run,
            started=self.wall_of(end.started),
            code=report.exit.code,
            outcome=exit_reason.outcome(report.exit.code, asked=asked),
            reason=slot.reason,
        )
        self._store_end(slot, event)

    def _store_end(self, slot: Slot, event: Event) -> None:
        self._shell.remember(slot.key, slot.memory())
        self._shell.record(event, partial(self._paid, (*slot.key, event.run), _STORED))
        self._shell.publish(event)

    def _paid(self, run: Run, what: str) -> None:
        debt = self._owed.get(run)
        if debt is None:
            return
        debt.left.discard(what)
        if not debt.left:
            del self._owed[run]
            self._shell.send(messages.Forget(*run))


def _reason(slot: Slot, end: End, lines: list[str], listener: str) -> str:
    ended = end.report.exit
    ending = exit_reason.Ending(
        code=ended.code,
        sent=ended.sent,
        asked=end.asked,
        core_dumped=ended.core_dumped,
        lines=lines,
        listener=listener,
        starved=end.starved,
    )
    return exit_reason.exit_reason(ending, slot.unit.entry.policy.exit_meanings)
