"""Start, stop and restart workers, and wait until it is true."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from shiftboss.core.errors import HostError
from shiftboss.core.spec import Site, Worker
from shiftboss.host.machine import Machine
from shiftboss.setup.live import LiveWorkers, live_workers
from shiftboss.setup.progress import Progress
from shiftboss.setup.selection import Selection, statuses
from shiftboss.setup.verify import mark_logs, verify_workers

_POLL_SECONDS = 0.1
_STOP_MARGIN_SECONDS = 15
# npm ends before the node that it started: the port may be free only at the second try
_PATIENCE_SECONDS = 8
_AT_REST = frozenset({"STOPPED", "EXITED", "FATAL", None})


class Restarted(Struct, frozen=True):
    """A process that was restarted; `old_pid` is None if it did not run."""

    address: str
    old_pid: int | None
    new_pid: int


def start(
    machine: Machine,
    site: Site,
    selections: Iterable[Selection],
    progress: Progress,
    *,
    patience_seconds: float = 0,
) -> None:
    """Start processes and wait until they stay up. Raises HostError with the program's own words."""
    chosen = tuple(selections)
    marks = mark_logs(machine, (selection.worker for selection in chosen))
    _each(machine, site, chosen, lambda live, worker, process: live.start(worker, process))
    verify_workers(machine, site, chosen, marks, progress, patience_seconds=patience_seconds)


def stop(
    machine: Machine,
    site: Site,
    selections: Iterable[Selection],
    progress: Progress,
    *,
    keep: bool = False,
) -> None:
    """Stop processes and wait until they are gone, each up to the stop wait of its worker.

    With `keep` they stay stopped after a boot; UserError if a backend cannot do that.
    """
    chosen = tuple(selections)
    _each(machine, site, chosen, lambda live, worker, process: live.stop(worker, process, keep=keep))
    _wait_until_gone(machine, site, chosen, progress)
    for selection in chosen:
        progress.step(f"stopped {', '.join(selection.addresses)}")
    for selection in chosen:
        live = live_workers(machine, site, selection.worker.backend)
        tell_ended(progress, selection.worker.address, live.end_left(selection.worker, selection.processes))


def tell_ended(progress: Progress, whose: str, pids: tuple[int, ...]) -> None:
    """Say what had outlived its worker and was ended."""
    if pids:
        progress.step(f"ended what {whose} had left running (pid {', '.join(map(str, pids))})")


def restart(
    machine: Machine, site: Site, selections: Iterable[Selection], progress: Progress
) -> tuple[Restarted, ...]:
    """Stop and start processes; return their old and new pids, verified to stay up."""
    chosen = tuple(selections)
    before = _pids(machine, site, chosen)
    marks = mark_logs(machine, (selection.worker for selection in chosen))
    left = tuple(selection for selection in chosen if not _replace(machine, site, selection))
    if left:
        _each(machine, site, left, lambda live, worker, process: live.stop(worker, process))
        _wait_until_gone(machine, site, left, progress)
        _each(machine, site, left, lambda live, worker, process: live.start(worker, process))
    _wait_until_replaced(machine, site, [s for s in chosen if s not in left], before, progress)
    verify_workers(machine, site, chosen, marks, progress, patience_seconds=_PATIENCE_SECONDS)
    after = _pids(machine, site, chosen)
    return tuple(Restarted(name, before.get(name), pid) for name, pid in after.items())


def _replace(machine: Machine, site: Site, selection: Selection) -> bool:
    """Ask the backend to replace processes, which it then does even if we are interrupted; False if it cannot."""
    live = live_workers(machine, site, selection.worker.backend)
    answers = [live.restart(selection.worker, process) for process in selection.processes]
    return all(answers)


def _wait_until_replaced(
    machine: Machine,
    site: Site,
    selections: list[Selection],
    before: Mapping[str, int],
    progress: Progress,
) -> None:
    wait = max((selection.worker.stop.wait_seconds for selection in selections), default=0)
    deadline = machine.clock.monotonic() + wait + _STOP_MARGIN_SECONDS
    while selections:
        now = _pids(machine, site, selections)
        left = [name for name, pid in now.items() if before.get(name) == pid]
        if not left:
            return
        if machine.clock.monotonic() > deadline:
            raise HostError(
                f"cannot restart {', '.join(left)}: the old process is still there after {wait} s",
                hint="See what it does (ps, strace).",
            )
        progress.waiting(f"waiting for {', '.join(left)} to finish its work (up to {wait} s)")
        machine.clock.sleep(_POLL_SECONDS)


def _each(
    machine: Machine,
    site: Site,
    selections: Iterable[Selection],
    act: Callable[[LiveWorkers, Worker, int], None],
) -> None:
    live: dict[str, LiveWorkers] = {}
    for selection in selections:
        backend = selection.worker.backend
        if backend not in live:
            live[backend] = live_workers(machine, site, backend)
        for process in selection.processes:
            act(live[backend], selection.worker, process)


def _wait_until_gone(
    machine: Machine, site: Site, selections: tuple[Selection, ...], progress: Progress
) -> None:
    wait = max(selection.worker.stop.wait_seconds for selection in selections)
    deadline = machine.clock.monotonic() + wait + _STOP_MARGIN_SECONDS
    while left := _not_at_rest(machine, site, selections):
        if machine.clock.monotonic() > deadline:
            raise HostError(
                f"cannot stop {', '.join(left)}: still there after {wait} s",
                hint="See what it does (ps, strace).",
            )
        progress.waiting(f"waiting for {', '.join(left)} to finish its work (up to {wait} s)")
        machine.clock.sleep(_POLL_SECONDS)


def _not_at_rest(machine: Machine, site: Site, selections: Iterable[Selection]) -> list[str]:
    return [
        f"{name}:{process.process}"
        for name, processes in statuses(machine, site, selections).items()
        for process in processes
        if process.state not in _AT_REST
    ]


def _pids(machine: Machine, site: Site, selections: Iterable[Selection]) -> dict[str, int]:
    return {
        f"{name}:{process.process}": process.pid
        for name, processes in statuses(machine, site, selections).items()
        for process in processes
        if process.pid
    }
