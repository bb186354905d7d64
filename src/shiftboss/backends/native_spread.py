"""Which schedulers with tasks inside may start later in the minute: only those whose tasks do not repeat within it."""

from collections.abc import Iterable

from msgspec.structs import replace

from shiftboss.core.facts import Answers, FindRepeats
from shiftboss.core.spec import Schedule, Unit


def spread_queries(units: Iterable[Unit]) -> tuple[FindRepeats, ...]:
    """Name what must be known of the units before they can be spread."""
    return tuple(FindRepeats(unit) for unit in units if isinstance(unit, Schedule) and _must_be_asked(unit))


def spread_where_it_can(units: Iterable[Unit], answers: Answers) -> tuple[tuple[Unit, ...], tuple[str, ...]]:
    """Return the units as they are to run, and what is to be said of those that start at second 0 all the same."""
    settled: list[Unit] = []
    notes: list[str] = []
    for unit in units:
        why = str(answers[FindRepeats(unit)]) if isinstance(unit, Schedule) and _must_be_asked(unit) else ""
        if why:
            notes.append(f"{unit.address} is not spread: {why}, and a later start would lose earlier ticks")
        settled.append(_unspread(unit) if why else unit)
    return tuple(settled), tuple(notes)


def _must_be_asked(schedule: Schedule) -> bool:
    return schedule.policy.spread and schedule.policy.asks_inside


def _unspread(unit: Unit) -> Unit:
    assert isinstance(unit, Schedule)
    return replace(unit, policy=replace(unit.policy, spread=False))
