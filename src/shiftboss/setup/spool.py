"""What became of the runs that cron started through the launcher."""

from collections.abc import Iterable

from shiftboss.backends.launch_places import spool_directory
from shiftboss.core.facts import SpooledRun
from shiftboss.core.spec import Schedule, Site, Unit
from shiftboss.host.machine import Machine

_MOST_BYTES = 4 * 1024 * 1024


def is_spooled(unit: Unit) -> bool:
    """Tell whether cron starts a unit through the launcher."""
    return isinstance(unit, Schedule) and unit.backend == "cron" and not unit.plain


def spooled_of(units: Iterable[Unit]) -> list[Schedule]:
    """Return those that cron starts through the launcher."""
    return [unit for unit in units if isinstance(unit, Schedule) and is_spooled(unit)]


def was_rewritten(machine: Machine, site: Site, schedule: Schedule, since: float) -> bool:
    """Tell whether cron's file of the project was written after a time: the schedule may have had other times then."""
    from shiftboss.backends.cron_line import crontab_path

    written = machine.files.modified(crontab_path(site, schedule.project.name))
    return written is not None and written > since


def spooled_runs(machine: Machine, site: Site, schedule: Schedule) -> tuple[SpooledRun, ...]:
    """Return the occurrences that are remembered, oldest first; raises HostError if only root may read them."""
    found = _read(machine, site, schedule)
    if all(run.outcome != "unknown" for run in found):
        return found
    # its launcher may have told the end and ended between the look at its lines and that at itself
    return _read(machine, site, schedule)


def _read(machine: Machine, site: Site, schedule: Schedule) -> tuple[SpooledRun, ...]:
    from shiftboss.core.spool import read_spool  # not every status has such a schedule

    path = f"{spool_directory(site)}/{schedule.project.name}/{schedule.name}"
    text = b"".join(machine.files.tail(each, _MOST_BYTES) for each in (f"{path}.1", path))
    return read_spool(text.decode(errors="replace"), schedule, machine.processes.lives)
