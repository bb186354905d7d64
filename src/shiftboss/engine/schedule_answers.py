"""What api clients may know of schedules, put together when it is asked for."""

from collections.abc import Iterable

from shiftboss.api import calls
from shiftboss.core.occurrence import Occurrence, Row, Stage, open_row
from shiftboss.core.schedule_policy import planned_start
from shiftboss.core.timing import next_due, timing_text
from shiftboss.engine.occurrences import Detail
from shiftboss.engine.schedules import Schedules


def schedules_status(schedules: Schedules, addresses: Iterable[str], now: float) -> calls.Schedules:
    """Return the status of these schedules; `now` in seconds since the epoch."""
    return calls.Schedules(schedules=tuple(_status(schedules, address, now) for address in addresses))


def _status(schedules: Schedules, address: str, now: float) -> calls.ScheduleStatus:
    entry, terms = schedules.entry(address), schedules.terms(address)
    track = schedules.agenda.track(address) if schedules.agenda else None
    opens = track.opens if track else ()
    last = schedules.last.get(address)
    due = next_due(terms.timing, now)
    return calls.ScheduleStatus(
        address=address,
        user=entry.user,
        command=entry.argv,
        preset=entry.policy.preset,
        log=entry.policy.log_path,
        when=timing_text(terms.timing),
        next=None if due is None else int(planned_start(terms, due)),
        running=tuple(_open(address, o) for o in opens if o.is_busy),
        waiting=sum(o.stage is Stage.WAITING for o in opens),
        background=tuple(o.run for o in opens if o.stage is Stage.DETACHED),
        paused=track.paused if track else "",
        halted=track.halted if track else "",
        error=schedules.errors.get(address, ""),
        last=as_occurrence(last, None) if last else None,
    )


def _open(address: str, occurrence: Occurrence) -> calls.Occurrence:
    return as_occurrence(open_row(address, occurrence), None)


def as_occurrence(row: Row, detail: Detail | None) -> calls.Occurrence:
    """Return what clients see of a row."""
    return calls.Occurrence(
        target=row.address,
        number=row.number,
        due=row.due,
        last=row.last,
        times=row.times,
        stage=row.stage,
        outcome=row.outcome,
        reason=row.reason,
        exit_status=row.exit_status,
        run=row.run,
        attempt=row.attempt,
        began=row.began,
        ended=row.ended,
        lateness=row.lateness,
        cause=row.cause,
        memory_bytes=detail.memory_bytes if detail else None,
        excerpt=detail.excerpt if detail and detail.excerpt else None,
    )
