"""Workers as they are right now, asked of the backend that runs them: never from memory."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Protocol

from msgspec.structs import replace

from shiftboss.backends import native as native_backend
from shiftboss.backends import supervisor as supervisor_backend
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.facts import EngineUnit
from shiftboss.core.isolation import needs_launcher
from shiftboss.core.limits import Ground, ground_of, launcher_ground
from shiftboss.core.names import address
from shiftboss.core.spec import Site, Unit, Worker
from shiftboss.core.status import ProcessStatus
from shiftboss.host.machine import Machine
from shiftboss.setup.units import Resolved


class LiveWorkers(Protocol):
    """A running backend. Processes are numbered from 1; nothing here waits for a state."""

    def statuses(
        self, workers: Iterable[Worker], *, usage: bool = False
    ) -> Mapping[str, tuple[ProcessStatus, ...]]:
        """Return the processes of each worker, by its address; raises HostError if the backend is down.

        `usage`: with what they use, where the backend knows.
        """
        ...

    def start(self, worker: Worker, process: int) -> None:
        """Ask for a process to be started."""
        ...

    def stop(self, worker: Worker, process: int, *, keep: bool = False) -> None:
        """Ask for a process to be stopped; with `keep` it stays so after a boot (UserError if that cannot be had)."""
        ...

    def restart(self, worker: Worker, process: int) -> bool:
        """Ask for a process to be replaced; False: this backend must be asked to stop it and then to start it."""
        ...

    def end_left(self, worker: Worker, processes: Iterable[int]) -> tuple[int, ...]:
        """End what stopped processes left running, and return the pids; HostError for what does not end."""
        ...

    def troubles(self) -> tuple[str, ...]:
        """Return what is wrong with the backend itself, in sentences."""
        ...

    def ground(self, found: Ground) -> Ground:
        """Return what holds limits there as of the last `statuses`; `found`: what the machine seems to have."""
        ...


class SupervisorLive:
    """Workers at a real Supervisor."""

    def __init__(self, machine: Machine, site: Site) -> None:
        self._processes = machine.processes
        self._supervisor = machine.supervisors.connect(machine.supervisors.locate(site.supervisor))

    def statuses(
        self, workers: Iterable[Worker], *, usage: bool = False
    ) -> Mapping[str, tuple[ProcessStatus, ...]]:
        """Ask for all processes in one call, whatever the number of workers.

        It does not know what they use; the cgroups of those that the launcher started tell.
        """
        facts = self._supervisor.facts()
        return {
            worker.address: tuple(
                map(partial(self._confined, worker), supervisor_backend.live(worker, facts))
            )
            for worker in workers
        }

    def _confined(self, worker: Worker, status: ProcessStatus) -> ProcessStatus:
        if not needs_launcher(worker):
            return status
        name = (worker.project.name, worker.name, status.process)
        return supervisor_backend.with_launched(status, self._processes.launched(*name, status.pid or 0))

    def start(self, worker: Worker, process: int) -> None:
        """Start a process; one that runs already is no error."""
        self._supervisor.start_process(supervisor_backend.process_name(worker, process))

    def stop(self, worker: Worker, process: int, *, keep: bool = False) -> None:
        """Stop a process; one that is stopped already is no error."""
        if keep:
            raise UserError(
                f"cannot keep {worker.address} stopped over a reboot: Supervisor starts everything then",
                hint=f"Stop it without --keep, or take it out: shiftboss remove {worker.address}",
            )
        self._supervisor.stop_process(supervisor_backend.process_name(worker, process))

    def restart(self, worker: Worker, process: int) -> bool:
        """Supervisor knows only stop and start."""
        return False

    def end_left(self, worker: Worker, processes: Iterable[int]) -> tuple[int, ...]:
        """Look into the cgroups of a worker that the launcher started; Supervisor knows of its process group only."""
        if not needs_launcher(worker):
            return ()
        ended = [address(worker.project.name, worker.name, process) for process in processes]
        return self._processes.end_launched(ended, worker.stop.signal, self._supervisor.facts().pid)

    def troubles(self) -> tuple[str, ...]:
        """Supervisor tells none."""
        return ()

    def ground(self, found: Ground) -> Ground:
        """Return what the launcher will find."""
        return launcher_ground(found)


class NativeLive:
    """Workers at our own engine."""

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
        return {worker.address: native_backend.live(worker, units.get(worker.address)) for worker in chosen}

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


def as_scaled(machine: Machine, site: Site, resolved: Resolved) -> Resolved:
    """Return a project with as many processes as its workers have by now, where they were scaled without its file."""
    if not any(isinstance(unit, Worker) and unit.backend == "native" for unit in resolved.units):
        return resolved
    facts = machine.engines.connect(site.api_socket).facts()
    overrides = {unit.address: unit.override for unit in (facts.units if facts else ())}
    return replace(resolved, units=tuple(_with_count(unit, overrides) for unit in resolved.units))


def _with_count(unit: Unit, overrides: Mapping[str, int | None]) -> Unit:
    count = overrides.get(unit.address) if isinstance(unit, Worker) and unit.backend == "native" else None
    return unit if count is None else replace(unit, processes=count)


def _is_troubled(units: Mapping[str, EngineUnit], worker: Worker) -> bool:
    unit = units.get(worker.address)
    return unit is not None and unit.trouble is not None


START_HINT = "Start it: shiftboss service install (at boot too), or here and now: shiftboss up"
_LIVE: Mapping[str, Callable[[Machine, Site], LiveWorkers]] = {
    "supervisor": SupervisorLive,
    "native": NativeLive,
}


@lru_cache(maxsize=16)  # it is asked many times a second while something is waited for
def live_workers(machine: Machine, site: Site, backend: str) -> LiveWorkers:
    """Return the running backend of this name."""
    return _LIVE[backend](machine, site)
