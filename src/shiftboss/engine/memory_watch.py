"""Asks processes that use more than their `memory_soft` to start afresh, before the kernel ends them in mid-work."""

from shiftboss.api.calls import Event
from shiftboss.core import lifecycle
from shiftboss.core.lifecycle import State
from shiftboss.core.sizes import rough_text, size_text
from shiftboss.engine.fleet import Slot
from shiftboss.engine.lives import Lives

LOOK_SECONDS = 2.0
# one that needs so much from its start on would do nothing else than start
LEAST_SECONDS = 10.0


class MemoryWatch:
    """Looks at every process with a soft limit, and not at all while there is none."""

    def __init__(self, lives: Lives) -> None:
        self._lives, self._shell = lives, lives.shell
        self._is_due = False

    def begin(self) -> None:
        """Look from now on, if anything has a soft limit; to be called when the manifest has changed."""
        if self._is_due or self._lives.is_closing or not any(map(_limit, self._lives.fleet.slots())):
            return
        self._is_due = True
        self._shell.after(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._is_due = False
        for slot in list(self._lives.fleet.slots()):
            if _limit(slot) and slot.process.state is State.RUNNING and slot.pid is not None:
                self._weigh(slot, slot.pid)
        self.begin()

    def _weigh(self, slot: Slot, pid: int) -> None:
        if self._shell.now() - slot.started < LEAST_SECONDS:
            return
        used = self._shell.usage(pid, slot.cgroup, slot.groups).working_bytes
        if used is not None and used > _limit(slot):
            self._lives.telling.event(self._event(slot, used))
            self._lives.apply(slot, lifecycle.Restart())

    def _event(self, slot: Slot, used: int) -> Event:
        words = f"it uses {rough_text(used)} of memory, more than memory_soft {size_text(_limit(slot))}"
        entry, number = slot.key
        return Event(
            at=self._shell.wall(),
            kind="recycle",
            target=entry,
            process=number,
            run=slot.process.run,
            pid=slot.pid,
            reason=words,
        )


def _limit(slot: Slot) -> int:
    return slot.unit.entry.policy.memory_soft_bytes
