"""Which processes of which workers a command means, and how they are."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from shiftboss.core.errors import UserError
from shiftboss.core.names import Target
from shiftboss.core.spec import Site, Worker
from shiftboss.core.status import ProcessStatus
from shiftboss.host.machine import Machine
from shiftboss.setup.live import live_workers
from shiftboss.setup.units import Resolved


class Selection(Struct, frozen=True):
    """A worker, and which of its processes (numbered from 1) are meant."""

    worker: Worker
    processes: tuple[int, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of the worker, or those of its processes if only some of them are meant."""
        if len(self.processes) == self.worker.processes:
            return (self.worker.address,)
        return tuple(f"{self.worker.address}:{process}" for process in self.processes)


def select(resolved: Resolved, target: Target) -> tuple[Selection, ...]:
    """Return the workers and processes that a target means; raise UserError if there are none."""
    if target.unit is None:
        workers = [unit for unit in resolved.units if isinstance(unit, Worker)]
        if not workers:
            raise UserError(f"{target} has no worker", hint=f"Add one: shiftboss setup {target.project}")
        return tuple(Selection(worker, _all(worker)) for worker in workers)
    unit = resolved.unit(target.unit)
    if not isinstance(unit, Worker):
        raise UserError(
            f"{target} is a schedule: it starts when it is due",
            hint=f"Run it now with: shiftboss run {target}; end what runs with: shiftboss stop {target}",
        )
    return (Selection(unit, _all(unit) if target.process is None else (_one(unit, target.process),)),)


def _all(worker: Worker) -> tuple[int, ...]:
    return tuple(range(1, worker.processes + 1))


def _one(worker: Worker, process: int) -> int:
    if process > worker.processes:
        raise UserError(
            f"{worker.address} has no process {process}", hint=f"It has {worker.processes}, numbered from 1."
        )
    return process


def whole(worker: Worker) -> Selection:
    """Return a worker with all its processes."""
    return Selection(worker, _all(worker))


def combined(selections: Sequence[Selection]) -> tuple[Selection, ...]:
    """Return one selection for each worker, whatever was named twice or process by process."""
    workers = {selection.worker.address: selection.worker for selection in selections}
    chosen: dict[str, set[int]] = {name: set() for name in workers}
    for selection in selections:
        chosen[selection.worker.address].update(selection.processes)
    return tuple(Selection(worker, tuple(sorted(chosen[name]))) for name, worker in workers.items())


def by_backend(selections: Iterable[Selection]) -> dict[str, list[Selection]]:
    """Return selections grouped by the backend that runs them."""
    groups: dict[str, list[Selection]] = {}
    for selection in selections:
        groups.setdefault(selection.worker.backend, []).append(selection)
    return groups


def statuses(
    machine: Machine, site: Site, selections: Iterable[Selection]
) -> Mapping[str, tuple[ProcessStatus, ...]]:
    """Return the chosen processes of each worker by its address, live; HostError if a backend is down."""
    found: dict[str, tuple[ProcessStatus, ...]] = {}
    for backend, group in by_backend(selections).items():
        seen = live_workers(machine, site, backend).statuses(selection.worker for selection in group)
        for selection in group:
            processes = seen[selection.worker.address]
            found[selection.worker.address] = tuple(p for p in processes if p.process in selection.processes)
    return found


def revive(machine: Machine, site: Site, selections: Iterable[Selection]) -> None:
    """Start the processes that were stopped by hand: who sets a worker up wants it to run."""
    chosen = {selection.worker.address: selection.worker for selection in selections}
    for name, processes in statuses(machine, site, [whole(worker) for worker in chosen.values()]).items():
        for process in processes:
            if process.state == "STOPPED":
                live_workers(machine, site, chosen[name].backend).start(chosen[name], process.process)
