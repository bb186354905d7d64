"""Proof that what was set up runs: processes stay up, the cron file is read and accepted."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from shiftboss.backends.cron_line import crontab_path
from shiftboss.core.cause import last_lines, likely_cause, port_in, telling_lines
from shiftboss.core.errors import HostError
from shiftboss.core.spec import Schedule, Site, Worker
from shiftboss.core.status import ProcessStatus
from shiftboss.host.machine import Machine
from shiftboss.setup.live import START_HINT
from shiftboss.setup.progress import Progress
from shiftboss.setup.selection import Selection, statuses

_POLL_SECONDS = 0.1
_MARGIN_SECONDS = 20
_TAIL_BYTES = 16 * 1024
_LINES_READ = 60
_FAILED = frozenset({"BACKOFF", "FATAL", "EXITED", "WAITING"})


class LogMark(Struct, frozen=True):
    """How large a log was before a start, so that only what came after it is shown."""

    path: str
    size: int


def mark_logs(machine: Machine, workers: Iterable[Worker]) -> dict[str, LogMark]:
    """Remember the sizes of the logs of these workers, by address."""
    return {w.address: LogMark(w.log_path, _size(machine, w.log_path)) for w in workers}


def _size(machine: Machine, path: str) -> int:
    """Return the size of a log, 0 for one that cannot be read: that is no reason not to start a worker."""
    try:
        return machine.files.size(path)
    except HostError:
        return 0


def verify_workers(
    machine: Machine,
    site: Site,
    selections: Iterable[Selection],
    marks: Mapping[str, LogMark],
    progress: Progress,
    *,
    patience_seconds: float = 0,
) -> None:
    """Wait until every chosen process is RUNNING, that is, has outlived its start seconds.

    Raises HostError with the program's own last lines and the likely cause as soon as one fails; a failed try
    that is followed by another one (BACKOFF) counts only after `patience_seconds`.
    """
    patient_until = machine.clock.monotonic() + patience_seconds
    left = {selection.worker.address: selection for selection in selections}
    longest = max((selection.worker.start_seconds for selection in left.values()), default=0)
    deadline = machine.clock.monotonic() + longest + _MARGIN_SECONDS
    while left:
        for address, processes in statuses(machine, site, left.values()).items():
            failed = _FAILED if machine.clock.monotonic() >= patient_until else _FAILED - {"BACKOFF"}
            _refuse_failed(machine, left[address].worker, processes, marks, failed)
            if all(process.state == "RUNNING" for process in processes):
                del left[address]
                progress.step(f"{address} runs: {_pids(processes)}")
            elif machine.clock.monotonic() > deadline:
                raise _too_slow(address, processes)
        if left:
            progress.waiting(f"waiting until {', '.join(left)} stays up")
            machine.clock.sleep(_POLL_SECONDS)


def _pids(processes: Iterable[ProcessStatus]) -> str:
    return "pid " + ", ".join(str(process.pid) for process in processes)


def _refuse_failed(
    machine: Machine,
    worker: Worker,
    processes: Iterable[ProcessStatus],
    marks: Mapping[str, LogMark],
    failed: frozenset[str],
) -> None:
    for process in processes:
        if process.state in failed:
            raise failure(machine, worker, process, marks.get(worker.address))


def failure(machine: Machine, worker: Worker, process: ProcessStatus, mark: LogMark | None) -> HostError:
    """Return the error for a process that did not stay up: its own last words, the log, the likely cause."""
    lines = last_lines(_written(machine, worker.log_path, mark), _LINES_READ)
    texts = (process.exit_reason or "", *lines)
    cause = likely_cause(texts) or process.exit_reason or "it ended at once"
    quoted = "".join(f"\n    {line}" for line in telling_lines(lines))
    return HostError(
        f"{worker.address}:{process.process} does not stay up ({process.state}): {cause}{_port_owner(machine, texts)}",
        hint=f"Log: {worker.log_path}{quoted}\n{_what_next(process, worker)}",
    )


def _written(machine: Machine, path: str, mark: LogMark | None) -> bytes:
    """Return the end of what was written after the mark; a rotated log is new as a whole."""
    size = _size(machine, path)
    new = size - mark.size if mark and size >= mark.size else size
    return machine.files.tail(path, min(new, _TAIL_BYTES)) if new else b""


def _what_next(process: ProcessStatus, worker: Worker) -> str:
    who = "Supervisor" if worker.backend == "supervisor" else "shiftboss"
    if process.state == "FATAL":
        return f"{who} gave it up; once it is mended: shiftboss start {worker.address}"
    if process.state == "EXITED":
        return f"Once it is mended: shiftboss start {worker.address}; to take it out: shiftboss remove {worker.address}"
    return f"{who} keeps trying; take it out with: shiftboss remove {worker.address}"


def _port_owner(machine: Machine, texts: tuple[str, ...]) -> str:
    port = port_in(texts)
    owner = machine.processes.listener(port) if port else None
    return f" by pid {owner.pid} of {owner.user} ({owner.command})" if owner else ""


def _too_slow(address: str, processes: Iterable[ProcessStatus]) -> HostError:
    states = ", ".join(f"{address}:{process.process} {process.state or 'unknown'}" for process in processes)
    return HostError(f"{address} does not come up: {states}", hint=f"See its log: shiftboss logs {address}")


def verify_schedules(machine: Machine, site: Site, schedules: Iterable[Schedule]) -> None:
    """Check that what runs schedules has them: a cron daemon that lives and reads our files, or our own engine.

    Raises HostError with the command that mends it.
    """
    chosen = list(schedules)
    _verify_timed(machine, site, [schedule for schedule in chosen if schedule.backend == "native"])
    projects = {schedule.project.name: schedule for schedule in chosen if schedule.backend == "cron"}
    for name, schedule in projects.items():
        path = crontab_path(site, name)
        if machine.files.read(path) is None:
            raise HostError(f"cannot find {path} after writing it", hint="Run the command again.")
        if machine.cron.reader(site.cron_dir) is None:
            raise HostError(
                f"{schedule.address} is written to {path}, but no running cron daemon reads {site.cron_dir}",
                hint="Start cron: systemctl enable --now cron (or: service cron start).",
            )


def _verify_timed(machine: Machine, site: Site, schedules: Iterable[Schedule]) -> None:
    chosen = list(schedules)
    if not chosen:
        return
    found = {each.address: each for each in machine.engines.connect(site.api_socket).schedules()}
    for schedule in chosen:
        known = found.get(schedule.address)
        if known is None:
            raise HostError(f"{schedule.address} is set up, but shiftboss does not run it", hint=START_HINT)
        if known.trouble:
            raise HostError(
                f"{schedule.address} does not run: {known.trouble}",
                hint=f"Once that is mended: shiftboss resume {schedule.address}",
            )
