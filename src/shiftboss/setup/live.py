"""Workers as they are right now, asked of the backend that runs them: never from memory."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from shiftboss.backends import supervisor as supervisor_backend
from shiftboss.core.spec import Site, Worker
from shiftboss.core.status import ProcessStatus
from shiftboss.host.machine import Machine


class LiveWorkers(Protocol):
    """A running backend. Processes are numbered from 1; nothing here waits for a state."""

    def statuses(self, workers: Iterable[Worker]) -> Mapping[str, tuple[ProcessStatus, ...]]:
        """Return the processes of each worker, by its address; raises HostError if the backend is down."""
        ...

    def start(self, worker: Worker, process: int) -> None:
        """Ask for a process to be started."""
        ...

    def stop(self, worker: Worker, process: int) -> None:
        """Ask for a process to be stopped."""
        ...


class SupervisorLive:
    """Workers at a real Supervisor."""

    def __init__(self, machine: Machine, site: Site) -> None:
        self._supervisor = machine.supervisors.connect(machine.supervisors.locate(site.supervisor))

    def statuses(self, workers: Iterable[Worker]) -> Mapping[str, tuple[ProcessStatus, ...]]:
        """Ask for all processes in one call, whatever the number of workers."""
        facts = self._supervisor.facts()
        return {worker.address: supervisor_backend.live(worker, facts) for worker in workers}

    def start(self, worker: Worker, process: int) -> None:
        """Start a process; one that runs already is no error."""
        self._supervisor.start_process(supervisor_backend.process_name(worker, process))

    def stop(self, worker: Worker, process: int) -> None:
        """Stop a process; one that is stopped already is no error."""
        self._supervisor.stop_process(supervisor_backend.process_name(worker, process))


_LIVE: Mapping[str, Callable[[Machine, Site], LiveWorkers]] = {"supervisor": SupervisorLive}


@lru_cache(maxsize=16)  # it is asked many times a second while something is waited for
def live_workers(machine: Machine, site: Site, backend: str) -> LiveWorkers:
    """Return the running backend of this name."""
    return _LIVE[backend](machine, site)
