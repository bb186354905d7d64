"""The `Engine` port: our own engine, asked over its socket."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from shiftboss.api import calls
from shiftboss.api.client import Client, HungUpError, NotRunningError
from shiftboss.api.facts import engine_process
from shiftboss.core.facts import EngineFacts, EngineSchedule, EngineUnit

T = TypeVar("T")


class NativeEngine:
    """The engine behind one socket. Every call connects anew: it may have been started again in between."""

    def __init__(self, socket: str) -> None:
        self._path = socket

    def facts(self, *, usage: bool = False) -> EngineFacts | None:
        """Return everything it runs; None if nobody listens."""
        try:
            status = self._look(lambda client: client.status(usage=usage))
        except NotRunningError:
            return None
        units = tuple(_unit(unit) for project in status.projects for unit in project.units)
        return EngineFacts(status.version, units, status.troubles, status.controllers)

    def schedules(self) -> tuple[EngineSchedule, ...]:
        """Return its schedules; none if nobody listens."""
        try:
            return tuple(map(_schedule, self._look(lambda client: client.schedules()).schedules))
        except NotRunningError:
            return ()

    def _look(self, ask: Callable[[Client], T]) -> T:
        """Ask what changes nothing, once more if the engine ends meanwhile: another one takes over at once."""
        try:
            with Client(self._path) as client:
                return ask(client)
        except HungUpError:
            with Client(self._path) as client:
                return ask(client)

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
        processes=tuple(engine_process(process) for process in unit.processes),
        override=unit.override,
        trouble=unit.log_trouble,
    )
