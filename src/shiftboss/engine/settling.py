"""Waiting, without blocking, until the processes that a request is about are where it wants them, or have failed."""

from collections.abc import Callable, Iterable

from shiftboss.api.calls import Changed, ProcessChange
from shiftboss.core.lifecycle import State
from shiftboss.engine.fleet import Slot
from shiftboss.engine.shell_port import Shell


class Settling:
    """Calls `done` once: when all are settled, or when the wait is over."""

    def __init__(
        self,
        shell: Shell,
        slots: Iterable[Slot],
        before: dict[tuple[str, int], int | None],
        wait_seconds: float,
        done: Callable[[Changed], None],
    ) -> None:
        self._slots, self._before, self._done = list(slots), before, done
        self._open = {slot.key for slot in self._slots if not slot.is_settled()}
        self._is_over = False
        self._stop_waiting: Callable[[], None] | None = None
        if not self._open or wait_seconds <= 0:
            self._finish()
            return
        for slot in self._slots:
            if slot.key in self._open:
                slot.waiters = [*(slot.waiters or ()), self._look]
        self._stop_waiting = shell.after(wait_seconds, self._finish)

    def _look(self, slot: Slot) -> None:
        if slot.is_settled():
            self._open.discard(slot.key)
            if not self._open:
                self._finish()

    def _finish(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._stop_waiting:
            self._stop_waiting()
        for slot in self._slots:
            if slot.waiters:
                slot.waiters = [waiter for waiter in slot.waiters if waiter != self._look] or None
        changes = tuple(map(self._change, self._slots))
        self._done(Changed(processes=changes, complete=not self._open))

    def _change(self, slot: Slot) -> ProcessChange:
        state = slot.process.state
        return ProcessChange(
            target=slot.address,
            state=state.value,
            old_pid=self._before.get(slot.key),
            new_pid=slot.pid,
            settled=slot.key not in self._open,
            reason=slot.reason or None if state not in (State.RUNNING, State.STOPPED) else None,
        )


def pids(slots: Iterable[Slot]) -> dict[tuple[str, int], int | None]:
    """Return the pid of each process, as it is now."""
    return {slot.key: slot.pid for slot in slots}
