"""What a plan for our own engine changes in limits, and what of limits and isolation this machine cannot give."""

from collections.abc import Iterator

from msgspec.structs import replace

from shiftboss.core.isolation import default_level, shortfalls
from shiftboss.core.limits import Ground, Holding, budget_of, holdings, limits_of, within
from shiftboss.core.spec import Limits, Schedule, Site, Unit
from shiftboss.core.wire.entry import Entry
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.core.wire.values import WireError


def bound_notes(
    units: tuple[Unit, ...], entries: tuple[Entry, ...], site: Site, before: str | None, ground: Ground
) -> tuple[str, ...]:
    """Return sentences for the units that are new or change: limits with who holds them, and what is lacking."""
    old = _entries(units, before)
    notes: list[str] = []
    if units:
        was_budget = budget_of(next(iter(old.values()))) if old else Limits()
        project = units[0].project
        notes += _changes(f"{project.name}: budget of", was_budget, project.budget, ground)
    new = {entry.address: entry for entry in entries}
    for unit in units:
        entry = new[unit.address]
        was = old.get(entry.address)
        notes += _limit_notes(unit, was, ground)
        if was is None or was.confinement.steps != entry.confinement.steps:
            lacking = shortfalls(unit, site, default_level(unit), ground)
            notes += [f"{unit.project.name}: {words}" for words in lacking]
    return tuple(dict.fromkeys(notes))


def _entries(units: tuple[Unit, ...], before: str | None) -> dict[str, Entry]:
    if not units or before is None:
        return {}
    try:
        return {e.address: e for e in read_manifest(before.encode(), units[0].project.name)}
    except WireError:
        return {}


def _limit_notes(unit: Unit, old: Entry | None, ground: Ground) -> Iterator[str]:
    was = limits_of(old) if old else Limits()
    wanted = within(unit.limits, unit.project.budget)
    if isinstance(unit, Schedule):
        ground = replace(ground, watched=False)
    yield from _changes(f"{unit.address}:", was, wanted, ground)


def _changes(start: str, was: Limits, wanted: Limits, ground: Ground) -> Iterator[str]:
    if was == wanted:
        return
    values = {holding.limit: holding.value for holding in holdings(was, ground)}
    for holding in holdings(wanted, ground):
        before = values.pop(holding.limit, "")
        if before != holding.value:
            yield f"{start} {holding.limit} {holding.value}{_instead(before)}{_held(holding)}"
    for limit, value in values.items():
        yield f"{start} {limit} {value} is taken away"


def _instead(before: str) -> str:
    return f" instead of {before}" if before else ""


def _held(holding: Holding) -> str:
    by = "is held by nobody" if holding.by == "nobody" else f"held by {holding.by}"
    return f", {by}: {holding.words}" if holding.words else f", {by}"
