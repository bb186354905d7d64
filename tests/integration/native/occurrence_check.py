"""What must hold of a schedule that is due each second, whatever was killed: in the manner of Jepsen's test of Chronos.

Each run writes its name (SHIFTBOSS_RUN) down as the first thing it does. The history must fit to these names.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from shiftboss.api.calls import Occurrence

STARTED = frozenset({"ran", "failed", "timed_out"})
NOT_STARTED = frozenset({"skipped", "missed"})


def faults(rows: Sequence[Occurrence], names: Sequence[str]) -> list[str]:
    """Return in words what is doubled or unaccounted in the rows of one schedule (oldest first), by these names of runs."""
    runs = [int(name.rpartition("/")[2]) for name in names]
    return [*faults_of_seconds(rows), *_of_runs(rows, runs)]


def faults_of_seconds(rows: Sequence[Occurrence]) -> list[str]:
    """Return in words which seconds between the first and the last are told more than once, or not at all."""
    counted = Counter(_seconds(rows))
    if not counted:
        return ["no second is accounted for"]
    doubled = [f"second {second} is told {count} times" for second, count in counted.items() if count > 1]
    between = range(min(counted), max(counted))
    return [*doubled, *(f"second {second} is unaccounted" for second in between if second not in counted)]


def share_that_ran(rows: Sequence[Occurrence]) -> float:
    """Return for which part of the seconds from the first to the last there was a run that ended as its program did."""
    seconds = _seconds(rows)
    ran = sum(row.outcome in STARTED for row in rows if not row.cause)
    return ran / len(seconds) if seconds else 0.0


def _seconds(rows: Sequence[Occurrence]) -> list[int]:
    return [second for row in rows if not row.cause for second in range(row.due, row.last + 1)]


def _of_runs(rows: Sequence[Occurrence], runs: Sequence[int]) -> Iterator[str]:
    yield from (f"run {run} was started {count} times" for run, count in Counter(runs).items() if count > 1)
    told = Counter(row.run for row in rows if row.run)
    yield from (f"run {run} is told {count} times" for run, count in told.items() if count > 1)
    yield from (f"run {run} is not in the history" for run in runs if run not in told)
    for row in rows:
        if row.outcome is None:
            yield f"occurrence {row.number} has no outcome"
        elif row.outcome in STARTED and row.run not in runs:
            yield f"run {row.run} is told as {row.outcome} and was not started"
        elif row.outcome in NOT_STARTED and row.run in runs:
            yield f"run {row.run} is told as {row.outcome} and was started"
