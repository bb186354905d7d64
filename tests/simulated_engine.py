"""Our engine's agenda in simulated time: what it would start within a year is known in minutes.

The agenda is the real one, with all that it decides about a start. Clock, disk and keeper are played: what is to be
stored is stored at once, what is started ends well at once, and the clock jumps from one wake-up to the next.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shiftboss.core.agenda import Agenda
from shiftboss.core.agenda_values import (
    Adopted,
    Asked,
    Incoming,
    Limits,
    Outgoing,
    Save,
    Stored,
    Tick,
    WakeAt,
)
from shiftboss.core.clock_gap import Moment
from shiftboss.core.cron import parse
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.schedule_values import Begin, Exited, Spawned
from shiftboss.core.timing import cron_timing


class Simulated(NamedTuple):
    """What the agenda did. `starts`: for each expression how many starts at which second; `outcomes`: of all rows."""

    starts: list[Counter[int]]
    outcomes: Counter[str]


def engine_starts(lines: Sequence[str], zone: str, start: datetime, end: datetime) -> Simulated:
    """Have an agenda run these expressions in the dialect of Debian's cron; `start` and `end` are both excluded."""
    found = Simulated([Counter() for _ in lines], Counter())
    timings = [cron_timing(parse(line, "debian"), ZoneInfo(zone)) for line in lines]
    terms = [Terms(f"p/{number}", timing) for number, timing in enumerate(timings)]
    agenda, begin, until = Agenda(keeper="k", boot="b"), start.timestamp(), end.timestamp()
    wall: float = begin
    agenda.load(terms, (), (), Limits(), _at(begin, begin))
    event: Incoming = Adopted()
    while wall < until:
        wall = _take_all(agenda, event, _at(wall, begin), found)
        event = Tick()
    return found


def _at(wall: float, begin: float) -> Moment:
    return Moment(wall, 1000 + wall - begin, 1000 + wall - begin)


def _take_all(agenda: Agenda, event: Incoming, now: Moment, found: Simulated) -> float:
    """Do at one moment all that is to be done then; return when the agenda wants to be woken."""
    wake, events = float("inf"), [event]
    while events:
        for effect in agenda.take(events.pop(0), now):
            if isinstance(effect, WakeAt):
                wake = min(effect.wall, now.wall + effect.mono - now.mono)
            events += _answers(effect, now, found)
    return wake


def _answers(effect: Outgoing, now: Moment, found: Simulated) -> tuple[Incoming, ...]:
    """Return what disk and keeper say to what is asked for."""
    match effect:
        case Save(batch, rows, _, _):
            found.outcomes.update(row.outcome for row in rows if row.outcome)
            return (Stored(batch),)
        case Begin(address, _, run):
            found.starts[int(address.removeprefix("p/"))][int(now.wall)] += 1
            ended = Exited(run, ok=True, status=0, words="exit 0", ended=now.wall)
            return Asked(address, Spawned(run, now.wall, now.mono)), Asked(address, ended)
        case _:
            return ()
