"""What the running Supervisor says, in our words: processes by number, reasons in plain language."""

import re
from collections.abc import Iterable
from itertools import count

from msgspec.structs import replace

from shiftboss.backends.supervisor_names import supervisor_name
from shiftboss.core.facts import LaunchedFacts, ProcessFacts, SupervisorFacts
from shiftboss.core.names import address
from shiftboss.core.spec import Worker
from shiftboss.core.status import ProcessStatus, used

_REASONED = frozenset({"BACKOFF", "EXITED", "FATAL"})
_TOO_QUICK = "Exited too quickly"
_BAD_EXIT = "Bad exit code"
# Supervisor's own word for an end by a signal, and its exit status where chdir or exec failed
_BY_SIGNAL, _NOT_STARTED = -1, 127


def live(worker: Worker, facts: SupervisorFacts) -> tuple[ProcessStatus, ...]:
    """Return the processes of a worker as Supervisor has them, numbered from 1.

    One that it does not have has the state None; one that it has beyond `worker.processes` is there too. What
    Supervisor cannot tell (restarts, stale, memory, CPU) is None.
    """
    group = supervisor_name(worker.project.name, worker.name)
    present = {number_of(p): p for p in facts.processes if p.group == group}
    numbers = {n for n in present if n is not None} | set(range(1, worker.processes + 1))
    return tuple(_status(worker, number, present.get(number)) for number in sorted(numbers))


def with_launched(status: ProcessStatus, facts: LaunchedFacts | None) -> ProcessStatus:
    """Add what is known of a process that the launcher started."""
    if facts is None:
        return status
    reason = status.exit_reason
    if reason and facts.killed:
        from shiftboss.core.exit_reason import Starved, out_of_memory  # rare, and no small module

        starved = Starved(facts.killed, facts.own_limit, facts.limit_bytes, facts.peak_bytes)
        reason = out_of_memory(starved)
    return replace(
        status, exit_reason=reason, **(used(facts.use, status.uptime_seconds) if status.pid else {})
    )


def number_of(process: ProcessFacts) -> int | None:
    """Return our number of a process from its name at Supervisor, None if the name is not one of ours."""
    if process.name == process.group:
        return 1
    found = re.fullmatch(r"_(\d{2,6})", process.name.removeprefix(process.group), re.ASCII)
    return int(found[1]) + 1 if found else None


def addresses(project: str, worker: str, processes: Iterable[ProcessFacts]) -> tuple[str, ...]:
    """Return addresses of the processes that are alive; foreign names are numbered as they come."""
    alive = [p for p in processes if p.pid > 0]
    numbers = [number_of(p) for p in alive]
    known = [n for n in numbers if n is not None]
    chosen: Iterable[int] = known if len(known) == len(alive) else count(1)
    return tuple(address(project, worker, n) for n, _ in zip(chosen, alive, strict=False))


def _status(worker: Worker, number: int, process: ProcessFacts | None) -> ProcessStatus:
    if process is None:
        return ProcessStatus(number, None)
    return ProcessStatus(
        number,
        process.state,
        pid=process.pid or None,
        uptime_seconds=max(0, process.now - process.started) if process.pid else None,
        exit_reason=_exit_reason(worker, process) if process.state in _REASONED else None,
    )


def _exit_reason(worker: Worker, process: ProcessFacts) -> str:
    error = process.spawn_error
    if error.startswith(_TOO_QUICK):  # the exit status of such a run is not kept by Supervisor
        return f"ended within {_seconds(worker.start_seconds)} of its start"
    if error and not error.startswith(_BAD_EXIT):
        return error
    return _ended(worker, process.exit_status)


def _ended(worker: Worker, status: int) -> str:
    meaning = dict(worker.exit_meanings).get(status)
    if meaning:
        return f"{meaning} (exit status {status})"
    if status == _BY_SIGNAL:
        return "killed by a signal"
    if status == _NOT_STARTED:
        return "could not be started, its log says why (exit status 127)"
    return f"ended with exit status {status}"


def _seconds(seconds: int) -> str:
    return "1 second" if seconds == 1 else f"{seconds} seconds"
