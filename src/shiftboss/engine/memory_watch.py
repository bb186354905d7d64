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
    """Looks at every process with a soft limit, and not at all while there is none.

    Also at those whose `memory` no cgroup holds here: the kernel bounds each of their processes by itself only.
    """

    def __init__(self, lives: Lives) -> None:
        self._lives, self._shell = lives, lives.shell
        self._is_due = False

    def begin(self) -> None:
        """Look from now on, if anything has a soft limit; to be called when the manifest has changed."""
        if self._is_due or self._lives.is_closing or not any(map(_watched, self._lives.fleet.slots())):
            return
        self._is_due = True
        self._shell.after(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._is_due = False
        for slot in list(self._lives.fleet.slots()):
            if _watched(slot) and slot.process.state is State.RUNNING and slot.pid is not None:
                self._weigh(slot, slot.pid)
        self.begin()

    def _weigh(self, slot: Slot, pid: int) -> None:
        if self._shell.now() - slot.started < LEAST_SECONDS:
            return
        used = self._shell.usage(pid, slot.cgroup, slot.groups).working_bytes
        name, limit = _limit(slot)
        if used is not None and limit and used > limit:
            self._lives.telling.event(self._event(slot, used, f"{name} {size_text(limit)}"))
            self._lives.apply(slot, lifecycle.Restart())

    def _event(self, slot: Slot, used: int, limit: str) -> Event:
        words = f"it uses {rough_text(used)} of memory, more than {limit}"
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


def _watched(slot: Slot) -> bool:
    return _limit(slot)[1] > 0


def _limit(slot: Slot) -> tuple[str, int]:
    entry = slot.unit.entry
    if entry.policy.memory_soft_bytes:
        return "memory_soft", entry.policy.memory_soft_bytes
    if slot.groups:
        return "", 0
    held = [f.rlimits["DATA"][0] for f in entry.confinement.fallbacks if "DATA" in f.rlimits]
    return "memory", min(held, default=0)
