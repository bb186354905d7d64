"""Answers of the engine as facts of core: the one place where a process of the api becomes one of ours."""

from shiftboss.api import calls
from shiftboss.core.facts import EngineProcess, ProcessUse


def _use(told: calls.ProcessUse | None) -> ProcessUse | None:
    if told is None:
        return None
    return ProcessUse(
        memory_bytes=told.memory_bytes,
        memory_peak_bytes=told.peak_bytes,
        cpu_seconds=told.cpu_seconds,
        throttled_seconds=told.throttled_seconds,
        read_bytes=told.read_bytes,
        written_bytes=told.written_bytes,
        tasks=told.tasks,
    )


def engine_process(process: calls.ProcessStatus) -> EngineProcess:
    """Return a process as core knows it."""
    return EngineProcess(
        number=process.process,
        state=process.state,
        up=process.wish == "up",
        pid=process.pid,
        uptime_seconds=process.uptime_seconds,
        restarts=process.restarts,
        stale=process.stale,
        deleted=process.deleted,
        reason=process.reason,
        notes=process.notes,
        use=_use(process.use),
    )
