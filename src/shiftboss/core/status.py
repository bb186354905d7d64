"""What a process does right now, as its backend tells it; `status --json` prints these fields."""

from msgspec import Struct


class ProcessStatus(Struct, frozen=True):
    """One process of a worker. `process` counts from 1; None stands for what the backend cannot tell.

    `state` is one of Supervisor's words (STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN), None
    if the backend does not have the process at all. `exit_reason` says in plain words why it does not run.
    `stale`: it runs an older release than `current`; `deleted`: that release is no longer there.
    `cpu_percent` is of one core, since the start of the process. What follows `deleted` counts the process and all that
    it started, where a backend can tell; `notes`: what of its limits and isolation this machine cannot give.
    """

    process: int
    state: str | None
    pid: int | None = None
    uptime_seconds: int | None = None
    restarts: int | None = None
    stale: bool | None = None
    exit_reason: str | None = None
    memory_bytes: int | None = None
    cpu_percent: float | None = None
    deleted: bool | None = None
    memory_peak_bytes: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    tasks: int | None = None
    notes: tuple[str, ...] = ()
