"""One occurrence of a schedule: how far it has come, how it ended, and what is kept of it on disk."""

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Literal, NamedTuple

OutcomeName = Literal["ran", "failed", "timed_out", "skipped", "missed", "unknown"]


class Stage(Enum):
    """How far an occurrence has come. It ends from any of these, and then has an outcome."""

    WAITING = "waiting"
    """Nothing was started: it is not its second yet, another run is in its way, there is no room, or a retry waits."""
    CHECKING = "checking"
    """The `only_if` command runs. On disk this is still `waiting`: it can be done again."""
    CLAIMED = "claimed"
    """It is on disk that this run is started; whether it was is not known yet."""
    RUNNING = "running"
    """The run lives."""
    STOPPING = "stopping"
    """The run was asked to end."""
    LEAVING = "leaving"
    """The main program ended; what it left behind is being ended. The outcome follows when all is gone."""
    DETACHED = "detached"
    """The outcome is known and what the run left behind may live on (Laravel's background tasks)."""


BUSY = frozenset({Stage.CHECKING, Stage.CLAIMED, Stage.RUNNING, Stage.STOPPING, Stage.LEAVING})
"""In these stages an occurrence counts for overlap and for the limits of parallel runs."""
HAS_RUN = frozenset({Stage.CLAIMED, Stage.RUNNING, Stage.STOPPING, Stage.LEAVING, Stage.DETACHED})


class Ending(Enum):
    """Why we ask a run to end."""

    TIMED_OUT = "timed out"
    REPLACED = "replaced"
    ASKED = "asked"


class Result(NamedTuple):
    """How one occurrence ended, with the reason in words; `exit_status` is None if nothing ran to an end."""

    outcome: OutcomeName
    reason: str = ""
    exit_status: int | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence that has no outcome yet (or lives on without us: DETACHED).

    `number` is its identity within the schedule: it only grows and is never used again, no matter how the
    clock is set; each start has a number of its own from the same count (`run`). `due`, `start_at` (with
    spread and jitter), `latest` and `began` are seconds since the epoch; `resume` (of a retry), `since` and
    `kill_at` are monotonic. `lane` tells the runs of one schedule apart that live at once; it counts from 1.
    `asked_at` (epoch) is when it was asked to end,
    for the reason `ending`. `cause` says what made it due, if not its time.
    """

    number: int
    due: int
    stage: Stage = Stage.WAITING
    start_at: float = 0.0
    latest: float = inf
    attempt: int = 1
    run: int = 0
    lane: int = 0
    resume: float = 0.0
    since: float | None = None
    began: float | None = None
    kill_at: float | None = None
    ending: Ending | None = None
    ending_reason: str = ""
    asked_at: float = 0.0
    result: Result | None = None
    ended: float | None = None
    cause: str = ""
    keeper: str = ""
    late: str = ""
    told_slow: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether it is being run, or about to be."""
        return self.stage in BUSY


class Row(NamedTuple):
    """What is kept of an occurrence, or (`last` > `due`) of several that share one fate. Key: address, number.

    A later row of the same key takes the place of the earlier one. `outcome` is None as long as there is
    none; `times` is how many they are, 0 where nobody counted. `lateness` is how many seconds after its planned second the run lived.
    """

    address: str
    number: int
    due: int
    last: int
    times: int = 1
    stage: str = ""
    outcome: OutcomeName | None = None
    reason: str = ""
    exit_status: int | None = None
    run: int = 0
    lane: int = 0
    attempt: int = 1
    start_at: float = 0.0
    latest: float = inf
    began: float | None = None
    ended: float | None = None
    lateness: float | None = None
    cause: str = ""
    keeper: str = ""


_ON_DISK = {Stage.CHECKING: Stage.WAITING, Stage.STOPPING: Stage.RUNNING, Stage.LEAVING: Stage.RUNNING}


def open_row(address: str, occurrence: Occurrence) -> Row:
    """Return the row of an occurrence without an outcome."""
    o = occurrence
    return Row(
        address,
        o.number,
        o.due,
        o.due,
        stage=_ON_DISK.get(o.stage, o.stage).value,
        run=o.run,
        lane=o.lane,
        attempt=o.attempt,
        start_at=o.start_at,
        latest=o.latest,
        began=o.began,
        lateness=_lateness(o),
        cause=o.cause,
        keeper=o.keeper,
    )


def ended_row(address: str, occurrence: Occurrence, result: Result, ended: float | None) -> Row:
    """Return the row of an occurrence with its outcome; `ended` is when its run ended (seconds, epoch)."""
    outcome, reason, status = result
    late = occurrence.late if outcome in ("ran", "failed", "timed_out") else ""
    words = "; ".join(part for part in (reason, late) if part)
    row = open_row(address, occurrence)
    return row._replace(stage="", outcome=outcome, reason=words, exit_status=status, ended=ended)


def reopened(row: Row) -> Occurrence:
    """Return the occurrence of a row that had no outcome when the engine ended."""
    has_run = Stage(row.stage) is not Stage.WAITING
    return Occurrence(
        number=row.number,
        due=row.due,
        stage=Stage(row.stage),
        start_at=row.start_at,
        latest=row.latest,
        attempt=row.attempt,
        run=row.run if has_run else 0,
        lane=row.lane if has_run else 0,
        began=row.began if has_run else None,
        cause=row.cause,
        keeper=row.keeper,
    )


def _lateness(occurrence: Occurrence) -> float | None:
    if occurrence.began is None or occurrence.attempt > 1 or occurrence.cause:
        return None
    return max(0.0, occurrence.began - max(occurrence.start_at, occurrence.due))
