"""A manifest that arrives while everything runs: what differs is changed, the rest is not touched."""

from dataclasses import dataclass, field

from shiftboss.core import lifecycle
from shiftboss.core.lifecycle import State
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.fleet import Slot, Unit, is_wanted_up
from shiftboss.engine.lives import Lives


@dataclass
class Difference:
    """What a manifest changed: addresses of units, and the processes concerned."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    untouched: int = 0
    slots: list[Slot] = field(default_factory=list)


class Offers:
    """Collects the entries of a manifest that is being sent."""

    def __init__(self) -> None:
        self._serial = self._complete = -1
        self._entries: dict[str, Entry] = {}
        self._before: dict[str, Entry] = {}  # the manifest of the serial `_complete`

    def add(self, offer: messages.Offer) -> None:
        """Take an entry; a new serial begins a new collection."""
        if offer.serial != self._serial:
            self._serial, self._entries = offer.serial, {}
        self._entries[offer.entry.address] = offer.entry

    def complete(self, manifest: messages.Manifest) -> dict[str, Entry] | None:
        """Return all entries of the manifest, None if some were missed."""
        entries = self._entries if self._serial == manifest.serial else {}
        if manifest.base == self._complete:
            gone = set(manifest.removed)
            entries = {a: entry for a, entry in self._before.items() if a not in gone} | entries
        if len(entries) != manifest.total or manifest.base not in (0, self._complete):
            return None
        self._serial, self._entries = -1, {}
        self._complete, self._before = manifest.serial, entries
        return entries


def take(lives: Lives, entries: dict[str, Entry]) -> Difference:
    """Make everything as the manifest has it now; return what that changed."""
    difference = Difference()
    for unit in list(lives.fleet.units.values()):
        if unit.address not in entries and not unit.is_ghost:
            _remove(lives, unit, difference)
    for address, entry in entries.items():
        found = lives.fleet.units.get(address)
        if found is None or found.is_ghost:
            _add(lives, entry, found, difference)
        elif found.entry == entry:
            difference.untouched += 1
        else:
            _change(lives, found, entry, difference)
    return difference


def _remove(lives: Lives, unit: Unit, difference: Difference) -> None:
    difference.removed.append(unit.address)
    unit.is_ghost = True
    lives.shell.remember_scale(unit.address, None)
    difference.slots += lives.resize(unit)
    if not unit.slots:
        del lives.fleet.units[unit.address]


def _add(lives: Lives, entry: Entry, unit: Unit | None, difference: Difference) -> None:
    """Start a unit; one that is still being stopped starts again when that is done."""
    difference.added.append(entry.address)
    if unit is None:
        unit = lives.fleet.units[entry.address] = Unit(entry)
    unit.is_ghost, unit.scale = False, None
    unit.become(entry)
    difference.slots += lives.resize(unit)


def _change(lives: Lives, unit: Unit, entry: Entry, difference: Difference) -> None:
    needs_restart = unit.is_worker and unit.entry.revision != entry.revision
    unit.become(entry)
    if unit.scale and unit.scale.instead_of != entry.policy.processes:  # the file has said something new
        unit.scale = None
        lives.shell.remember_scale(unit.address, None)
    resized = lives.resize(unit)
    restarted = _restart(lives, unit, resized) if needs_restart else []
    if resized:
        difference.resized.append(unit.address)
    if needs_restart:
        difference.restarted.append(unit.address)
    if not (resized or needs_restart):
        difference.untouched += 1
    difference.slots += resized + restarted


def _restart(lives: Lives, unit: Unit, new: list[Slot]) -> list[Slot]:
    """Give every process that should run a run of the new kind; what rests because it failed tries anew."""
    fresh = {slot.number for slot in new}
    concerned = [slot for slot in unit.slots.values() if is_wanted_up(slot) and slot.number not in fresh]
    for slot in concerned:
        if slot.process.state is State.EXITED:
            continue
        lives.apply(slot, lifecycle.Restart())
    return concerned
