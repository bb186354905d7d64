"""Taking over: a new engine hears from the keeper what may run and what lives, and goes on from there.

Same pids, no second copy, no exit lost and none counted twice: what the keeper holds is the truth, what is
remembered of a process fills in its wish and its tally.
"""

import logging
from dataclasses import replace
from typing import NamedTuple

from shiftboss.core import lifecycle
from shiftboss.core.lifecycle import Held, State, Wish
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.fleet import Slot, Unit, ghost
from shiftboss.engine.lives import Lives, remembered_wish

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A run that the keeper holds, with its output pipe (negative: none)."""

    report: messages.Held | messages.SpawnFailed
    descriptor: int


class Adoption:
    """Collects the answer to the first Sync; `finish` puts every process where it belongs."""

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self._entries: dict[str, Entry] = {}
        self._kept: dict[tuple[str, int], list[Kept]] = {}

    def manifest(self, entries: dict[str, Entry]) -> None:
        """Take note of what may run."""
        self._entries = entries

    def keep(self, report: messages.Held | messages.SpawnFailed, descriptor: int = -1) -> None:
        """Take note of a run that the keeper holds."""
        self._kept.setdefault((report.entry, report.process), []).append(Kept(report, descriptor))

    def finish(self) -> None:
        """Take everything over: first what lives, then what is to be started."""
        fleet, lives = self._lives.fleet, self._lives
        for entry in self._entries.values():
            unit = fleet.units[entry.address] = Unit(entry)
            scale = lives.memory.scales.get(entry.address)
            if scale and scale.instead_of == entry.policy.processes:
                unit.scale = scale
        for (address, number), kept in self._kept.items():
            self._take_over(address, number, kept)
        for unit in list(fleet.units.values()):
            self._start_the_rest(unit)
        self._forget_the_rest()

    def _take_over(self, address: str, number: int, kept: list[Kept]) -> None:
        lives = self._lives
        unit = lives.fleet.units.get(address)
        if unit is None:
            unit = lives.fleet.units[address] = ghost(address)
        slot = lives.slot(unit, number)
        slot.retired = number > unit.wanted
        *past, last = sorted(kept, key=lambda item: item.report.run)
        for item in past:
            self._settle_past(slot, item)
        if isinstance(last.report, messages.Held):
            self._adopt(slot, last.report, last.descriptor)
        else:
            self._adopt_failure(slot, last.report)

    def _adopt(self, slot: Slot, held: messages.Held, descriptor: int) -> None:
        lives = self._lives
        lives.note_life(slot, held, descriptor)
        known = Held(
            held.run, held.started, held.stopping, None if held.exit is None else held.exit.code == 0
        )
        wish = remembered_wish(slot)
        lives.become(slot, *lifecycle.adopt(wish, known, lives.shell.now(), slot.unit.policy, slot.process))
        if held.exit:
            end = messages.Exited(held.entry, held.process, held.run, held.exit, held.gone)
            lives.exited(end, asked=held.stopping)
        elif wish is Wish.UP and held.revision != slot.unit.entry.revision:
            lives.apply(slot, lifecycle.Restart())

    def _adopt_failure(self, slot: Slot, failure: messages.SpawnFailed) -> None:
        """Go on after a start that failed while there was no engine to hear of it."""
        lives, wish = self._lives, remembered_wish(slot)
        slot.process = replace(slot.process, run=failure.run)
        if failure.run <= slot.ended_run:
            self._begin(slot)
        else:
            state = State.STARTING if wish is Wish.UP else State.STOPPING
            slot.process = replace(slot.process, state=state, wish=wish)
        lives.spawn_failed(failure)

    def _settle_past(self, slot: Slot, item: Kept) -> None:
        """Count the end of an earlier run; one that lives beside a later one must not be."""
        match item.report:
            case messages.Held(exit=messages.Exit() as ended) as held:
                self._lives.past(slot, held, ended, item.descriptor)
            case messages.Held() as held:
                log.error(
                    "an earlier run lives beside a later one", extra={"unit": held.entry, "run": held.run}
                )
                self._lives.unknown(held, item.descriptor)
            case failure:
                self._lives.shell.send(messages.Forget(failure.entry, failure.process, failure.run))

    def _start_the_rest(self, unit: Unit) -> None:
        for number in range(1, unit.wanted + 1):
            if number not in unit.slots:
                self._lives.shell.vanished((unit.address, number))
                self._begin(self._lives.slot(unit, number))

    def _begin(self, slot: Slot) -> None:
        policy = slot.unit.policy
        self._lives.become(slot, *lifecycle.adopt(remembered_wish(slot), None, 0.0, policy, slot.process))

    def _forget_the_rest(self) -> None:
        """Forget what is no more; not while a manifest file is broken, for its units may come back."""
        memory, shell = self._lives.memory, self._lives.shell
        if not self._lives.fleet.manifest_errors:
            for key in [key for key in memory.processes if key[0] not in self._lives.fleet.units]:
                shell.remember(key, None)
                del memory.processes[key]
            for address in memory.scales.keys() - self._entries.keys():
                shell.remember_scale(address, None)
