"""Pausing schedules that cron starts through the launcher: written down beside their orders, respected by it."""

from collections.abc import Iterable

from shiftboss.backends.launch_places import paused_path
from shiftboss.backends.paused_file import read_paused
from shiftboss.core.spec import Schedule, Site
from shiftboss.host.machine import Machine
from shiftboss.setup.progress import Progress
from shiftboss.setup.spool import is_spooled


def paused_by(machine: Machine, site: Site, schedule: Schedule) -> str:
    """Return who paused a schedule, "" if nobody did; raises HostError or UserError if that cannot be told."""
    path = paused_path(site, schedule.project.name)
    return read_paused(machine.files.read(path), path).get(schedule.name, "")


def paused_schedules(machine: Machine, site: Site, schedules: Iterable[Schedule]) -> dict[str, str]:
    """Return by whom schedules are paused, by their addresses, on cron and on our own engine.

    Raises HostError or UserError where that cannot be told.
    """
    chosen = list(schedules)
    found = {each.address: paused_by(machine, site, each) for each in chosen if is_spooled(each)}
    if any(each.backend == "native" for each in chosen):
        known = {each.address for each in chosen}
        engine = machine.engines.connect(site.api_socket).schedules()
        found |= {each.address: each.paused for each in engine if each.address in known}
    return {address: who for address, who in found.items() if who}


def pause(
    machine: Machine, site: Site, schedules: Iterable[Schedule], progress: Progress, *, wanted: bool
) -> None:
    """Pause schedules, or let them run again; to be called while nothing else changes this server."""
    from shiftboss.backends.launch_pauses import changed  # to tell who paused what is asked by each status
    from shiftboss.core.plan import Plan
    from shiftboss.setup.apply import perform

    who = machine.accounts.own().name
    for schedule in schedules:
        name, path = schedule.project.name, paused_path(site, schedule.project.name)
        before = machine.files.read(path)
        paused = read_paused(before, path)
        others = {unit: by for unit, by in paused.items() if unit != schedule.name}
        now = {**others, schedule.name: who} if wanted else others
        if now != paused:
            perform(machine, site, Plan(actions=(changed(name, path, before, now),)), progress)
