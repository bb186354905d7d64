"""The `Engine` port: our own engine, asked over its socket."""

from collections.abc import Mapping

from shiftboss.api import calls
from shiftboss.api.client import Client, NotRunningError
from shiftboss.core.facts import EngineFacts, EngineProcess, EngineSchedule, EngineUnit, ProcessUse


class NativeEngine:
    """The engine behind one socket. Every call connects anew: it may have been started again in between."""

    def __init__(self, socket: str) -> None:
        self._path = socket

    def facts(self, *, usage: bool = False) -> EngineFacts | None:
        """Return everything it runs; None if nobody listens."""
        try:
            with Client(self._path) as client:
                status = client.status(usage=usage)
        except NotRunningError:
            return None
        units = tuple(_unit(unit) for project in status.projects for unit in project.units)
        return EngineFacts(status.version, units, status.troubles, status.controllers)

    def schedules(self) -> tuple[EngineSchedule, ...]:
        """Return its schedules; none if nobody listens."""
        try:
            with Client(self._path) as client:
                return tuple(map(_schedule, client.schedules().schedules))
        except NotRunningError:
            return ()

    def reload(self) -> Mapping[str, str]:
        """Have the manifest read again; return what is wrong with files of it, by their names."""
        with Client(self._path) as client:
            return client.reload().errors

    def start(self, target: str) -> None:
        """Have processes run."""
        with Client(self._path) as client:
            client.start(target)

    def stop(self, target: str, *, keep: bool = False) -> None:
        """Have processes not run."""
        with Client(self._path) as client:
            client.stop(target, keep=keep)

    def restart(self, target: str) -> None:
        """Have processes replaced."""
        with Client(self._path) as client:
            client.restart(target)

    def scale(self, target: str, processes: int) -> None:
        """Have so many processes of a worker."""
        with Client(self._path) as client:
            client.scale(target, processes)


def _schedule(found: calls.ScheduleStatus) -> EngineSchedule:
    last = found.last
    return EngineSchedule(
        address=found.address,
        when=found.when,
        command=found.command,
        next=found.next,
        running=len(found.running),
        paused=found.paused,
        trouble=found.error or found.halted,
        due=last.due if last else None,
        began=last.began if last else None,
        ended=last.ended if last else None,
        outcome=last.outcome if last else None,
        exit_status=last.exit_status if last else None,
        reason=last.reason if last else "",
    )


def _unit(unit: calls.UnitStatus) -> EngineUnit:
    return EngineUnit(
        address=unit.address,
        fingerprint=unit.fingerprint,
        revision=unit.revision,
        processes=tuple(_process(process) for process in unit.processes),
        override=unit.override,
        trouble=unit.log_trouble,
    )


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


def _process(process: calls.ProcessStatus) -> EngineProcess:
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
