"""Workers at our own engine, as they are right now."""

from collections.abc import Iterable, Mapping

from shiftboss.backends.native_live import live
from shiftboss.core.errors import HostError
from shiftboss.core.facts import EngineUnit
from shiftboss.core.limits import Ground, ground_of
from shiftboss.core.names import address
from shiftboss.core.spec import Site, Worker
from shiftboss.core.status import ProcessStatus
from shiftboss.host.machine import Machine
from shiftboss.setup.live import START_HINT


class NativeLive:
    """`LiveWorkers` of our own engine."""

    def __init__(self, machine: Machine, site: Site) -> None:
        self._engine = machine.engines.connect(site.api_socket)
        self._socket = site.api_socket
        self._troubles: tuple[str, ...] = ()
        self._controllers: Mapping[str, str] | None = None

    def statuses(
        self, workers: Iterable[Worker], *, usage: bool = False
    ) -> Mapping[str, tuple[ProcessStatus, ...]]:
        """Ask for everything in one call."""
        facts = self._engine.facts(usage=usage)
        if facts is None:
            raise HostError(f"shiftboss is not running: nobody answers at {self._socket}", hint=START_HINT)
        self._controllers = facts.controllers
        units = {unit.address: unit for unit in facts.units}
        chosen = list(workers)
        logs = [f"{w.address}: {units[w.address].trouble}" for w in chosen if _is_troubled(units, w)]
        scaled = [words for w in chosen if (words := _scaled(units, w))]
        self._troubles = (*facts.troubles, *logs, *scaled)
        return {worker.address: live(worker, units.get(worker.address)) for worker in chosen}

    def start(self, worker: Worker, process: int) -> None:
        """Start a process; one that runs already is no error."""
        self._engine.start(address(worker.project.name, worker.name, process))

    def stop(self, worker: Worker, process: int, *, keep: bool = False) -> None:
        """Stop a process; one that is stopped already is no error."""
        self._engine.stop(address(worker.project.name, worker.name, process), keep=keep)

    def restart(self, worker: Worker, process: int) -> bool:
        """Replace a process."""
        self._engine.restart(address(worker.project.name, worker.name, process))
        return True

    def end_left(self, worker: Worker, processes: Iterable[int]) -> tuple[int, ...]:
        """Keeper and engine do that themselves."""
        return ()

    def troubles(self) -> tuple[str, ...]:
        """Return what the engine and the logs of the workers suffer from, as of the last `statuses`."""
        return self._troubles

    def ground(self, found: Ground) -> Ground:
        """Return what the keeper has."""
        return ground_of(found, self._controllers)


def _scaled(units: Mapping[str, EngineUnit], worker: Worker) -> str:
    unit = units.get(worker.address)
    if unit is None or unit.override is None or unit.override == worker.processes:
        return ""
    return f"{worker.address} was scaled to {unit.override} without root; its file says {worker.processes}"


def _is_troubled(units: Mapping[str, EngineUnit], worker: Worker) -> bool:
    unit = units.get(worker.address)
    return unit is not None and unit.trouble is not None
