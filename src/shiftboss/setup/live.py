"""Workers as they are right now, asked of the backend that runs them: never from memory."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from msgspec.structs import replace

from shiftboss.core.limits import Ground
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


START_HINT = "Start it: shiftboss service install (at boot too), or here and now: shiftboss up"


@lru_cache(maxsize=16)  # it is asked many times a second while something is waited for
def live_workers(machine: Machine, site: Site, backend: str) -> LiveWorkers:
    """Return the running backend of this name; the others are not imported."""
    if backend == "supervisor":
        from shiftboss.setup.live_supervisor import SupervisorLive

        return SupervisorLive(machine, site)
    if backend == "native":
        from shiftboss.setup.live_native import NativeLive

        return NativeLive(machine, site)
    raise KeyError(backend)
