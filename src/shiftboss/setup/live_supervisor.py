"""Workers at a real Supervisor, as they are right now."""

from collections.abc import Iterable, Mapping
from functools import partial

from shiftboss.backends.supervisor_live import live, with_launched
from shiftboss.backends.supervisor_names import process_name
from shiftboss.core.errors import UserError
from shiftboss.core.isolation import needs_launcher
from shiftboss.core.limits import Ground, launcher_ground
from shiftboss.core.names import address
from shiftboss.core.spec import Site, Worker
from shiftboss.core.status import ProcessStatus
from shiftboss.host.machine import Machine


class SupervisorLive:
    """`LiveWorkers` of Supervisor."""

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
            worker.address: tuple(map(partial(self._confined, worker), live(worker, facts)))
            for worker in workers
        }

    def _confined(self, worker: Worker, status: ProcessStatus) -> ProcessStatus:
        if not needs_launcher(worker):
            return status
        name = (worker.project.name, worker.name, status.process)
        return with_launched(status, self._processes.launched(*name, status.pid or 0))

    def start(self, worker: Worker, process: int) -> None:
        """Start a process; one that runs already is no error."""
        self._supervisor.start_process(process_name(worker, process))

    def stop(self, worker: Worker, process: int, *, keep: bool = False) -> None:
        """Stop a process; one that is stopped already is no error."""
        if keep:
            raise UserError(
                f"cannot keep {worker.address} stopped over a reboot: Supervisor starts everything then",
                hint=f"Stop it without --keep, or take it out: shiftboss remove {worker.address}",
            )
        self._supervisor.stop_process(process_name(worker, process))

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
