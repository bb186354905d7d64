"""What a process does right now, as its backend tells it; `status --json` prints these fields."""

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from shiftboss.core.facts import EngineProcess, ProcessUse


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


def status_of(process: EngineProcess) -> ProcessStatus:
    """Return a process as the native engine tells it."""
    uptime = process.uptime_seconds
    return ProcessStatus(
        process.number,
        process.state,
        pid=process.pid,
        uptime_seconds=None if uptime is None else int(uptime),
        restarts=process.restarts,
        stale=process.stale if process.pid else None,
        deleted=process.deleted if process.pid else None,
        exit_reason=process.reason,
        notes=process.notes,
        **used(process.use, uptime),
    )


def used(use: ProcessUse | None, uptime_seconds: float | None) -> dict[str, Any]:
    """Return the fields of a status that say what a process uses."""
    if use is None:
        return {}
    percent = None
    if use.cpu_seconds is not None and uptime_seconds:
        percent = round(100 * use.cpu_seconds / max(uptime_seconds, 0.01), 1)
    return {**asdict(use), "cpu_percent": percent}
