"""What our own engine says of a worker, as every backend says it."""

from shiftboss.core.facts import EngineUnit
from shiftboss.core.spec import Worker
from shiftboss.core.status import ProcessStatus, status_of


def live(worker: Worker, unit: EngineUnit | None) -> tuple[ProcessStatus, ...]:
    """Return the processes of a worker as the engine tells them; state None for one that it does not have."""
    found = {process.number: process for process in (unit.processes if unit else ())}
    count = worker.processes if unit is None or unit.override is None else unit.override
    numbers = sorted({*range(1, count + 1), *found})
    return tuple(
        status_of(found[number]) if number in found else ProcessStatus(number, None) for number in numbers
    )
