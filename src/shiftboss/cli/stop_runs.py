"""Ends the runs of schedules, and waits until nothing of them lives."""

import time
from collections.abc import Iterable, Sequence

from shiftboss.api.calls import ScheduleStatus
from shiftboss.api.client import Client
from shiftboss.cli.session import Session
from shiftboss.cli.targets import require_native_schedule, resolve_target
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.names import parse_target
from shiftboss.core.spec import Schedule

_LOOK_SECONDS = 0.1
# the engine ends what does not hear; who waits may interrupt it
_WAIT_SECONDS = 3600.0


def schedules_among(session: Session, targets: Sequence[str]) -> list[str]:
    """Return the targets that are schedules; raise UserError for what cannot be stopped as one."""
    if session.is_guest:
        with Client(session.site.api_socket) as client:
            known = {each.address for each in client.schedules().schedules}
        found = [text for text in targets if text.partition(":")[0] in known]
    else:
        found = [text for text in targets if _is_schedule(session, text)]
    for text in found:
        if ":" in text:
            raise UserError(
                f"{text} is no process: a schedule has runs",
                hint=f"Stop all of them: {text.partition(':')[0]}",
            )
        require_native_schedule(session, text)
    return found


def _is_schedule(session: Session, text: str) -> bool:
    target = parse_target(text)
    return target.unit is not None and isinstance(resolve_target(session, target).unit(target.unit), Schedule)


def stop_runs(session: Session, targets: Sequence[str]) -> None:
    """End what runs of schedules now, with what ended runs left in the background; tell what that was."""
    with Client(session.site.api_socket) as client:
        before = client.schedules(*targets).schedules
        client.stop_runs(*targets)
        for schedule in before:
            _wait_until_gone(session, client, schedule)
            session.console.step(_told(schedule))
    if any(map(_runs, before)):
        it = f"{targets[0]} runs" if len(targets) == 1 else "they run"
        session.console.print(f"{it} again when due; to prevent that: shiftboss pause {' '.join(targets)}")


def _runs(schedule: ScheduleStatus) -> list[int]:
    return sorted({*(each.run for each in schedule.running), *schedule.background})


def _told(schedule: ScheduleStatus) -> str:
    runs, waited = _runs(schedule), schedule.waiting
    if not (runs or waited):
        return f"nothing of {schedule.address} runs"
    parts = [f"run {_listed(runs)}"] if runs else []
    parts += [f"{waited} that waited"] if waited else []
    return f"stopped {schedule.address}: {' and '.join(parts)}"


def _listed(runs: Iterable[int]) -> str:
    return ", ".join(map(str, runs))


def _wait_until_gone(session: Session, client: Client, schedule: ScheduleStatus) -> None:
    """Wait until none of the runs lives that lived before; raise HostError if one does for very long."""
    asked, address = set(_runs(schedule)), schedule.address
    deadline = time.monotonic() + _WAIT_SECONDS
    while asked:
        now = client.schedules(address).schedules
        asked &= {run for each in now for run in _runs(each)}
        if asked and time.monotonic() > deadline:
            raise HostError(
                f"cannot stop run {_listed(sorted(asked))} of {address}: it is still there",
                hint="See what it does (ps, strace).",
            )
        if asked:
            session.console.waiting(f"waiting for run {_listed(sorted(asked))} of {address} to end")
            time.sleep(_LOOK_SECONDS)
