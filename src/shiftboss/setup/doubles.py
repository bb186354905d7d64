"""What else runs the Laravel scheduler of a project: every task would run twice. Only looks; changes nothing."""

from collections.abc import Iterable, Iterator
from functools import cached_property

from shiftboss.core.errors import HostError
from shiftboss.core.facts import Running
from shiftboss.core.spec import Project, Site, Unit
from shiftboss.host.machine import Machine

_SCHEDULERS = frozenset({"schedule:run", "schedule:work"})
_WORK = "schedule:work"
_UNIT_DIRECTORY = "/etc/systemd/system"


def runs_scheduler(unit: Unit) -> bool:
    """Tell whether a unit is a Laravel scheduler."""
    return not _SCHEDULERS.isdisjoint(unit.argv)


class SchedulerDoubles:
    """Finds doubles for several projects; what is the same for all of them is asked only once, when it is needed."""

    def __init__(self, machine: Machine, site: Site) -> None:
        self._machine, self._site = machine, site

    def of(self, units: Iterable[Unit]) -> tuple[str, ...]:
        """Return a note, with what to remove, for everything that runs a scheduler which one of these units runs too.

        `units` are those of one project. Looked at are its own units, crontabs, files of Supervisor and systemd, and
        processes; nothing of theirs but paths, names and numbers is shown. What we may not read is passed over.
        """
        ours = [unit for unit in units if runs_scheduler(unit)]
        if not ours:
            return ()
        has_work = any(_WORK in unit.argv for unit in ours)
        return (*_among(ours), *self._others(ours[0].project, has_work=has_work))

    def _others(self, project: Project, *, has_work: bool) -> tuple[str, ...]:
        # every status asks, and few projects have a scheduler
        from shiftboss.backends.cron_duplicates import artisan_places, duplicates
        from shiftboss.backends.cron_line import crontab_path
        from shiftboss.backends.scheduler_doubles import doubled_programs, doubled_services

        release = self._machine.files.real_path(project.current)
        own = crontab_path(self._site, project.name)
        places = artisan_places(project, release)
        crontabs = {path: text for path, text in self._crontabs.items() if path != own}
        notes = (
            *duplicates(project, crontabs, release),
            *doubled_programs(places, self._programs),
            *doubled_services(places, self._services),
        )
        # a process that one of these starts, or we, is no news
        return notes if notes or has_work else tuple(self._by_hand(project, release))

    def _by_hand(self, project: Project, release: str | None) -> Iterator[str]:
        for process in self._workers:
            ours = process.uid in (project.account.uid, 0) and process.directory in (release, project.current)
            if ours and _WORK in process.argv:
                yield (
                    f"process {process.pid} (schedule:work, started by process {process.parent}) runs the same "
                    f"scheduler: every task runs twice; end it: kill {process.pid}"
                )

    @cached_property
    def _crontabs(self) -> dict[str, str]:
        return self._machine.cron.other_crontabs(
            f"{self._site.cron_dir}/."
        )  # no file of that name is one of cron

    @cached_property
    def _programs(self) -> dict[str, str]:
        from shiftboss.core.managed import read_seal

        try:
            conf_dir = self._machine.supervisors.locate(self._site.supervisor).conf_dir
        except HostError:
            return {}
        files = _matching(self._machine, conf_dir, "*.conf")
        return {path: text for path, text in files.items() if read_seal(text) is None}

    @cached_property
    def _services(self) -> dict[str, str]:
        return _matching(self._machine, _UNIT_DIRECTORY, "*.service")

    @cached_property
    def _workers(self) -> tuple[Running, ...]:
        return self._machine.processes.running(_WORK)


def _among(ours: list[Unit]) -> Iterator[str]:
    first, *more = sorted(ours, key=lambda unit: _WORK in unit.argv)
    for unit in more:
        yield (
            f"{unit.address} runs the same scheduler as {first.address}: every task runs twice; "
            f"remove one of them: shiftboss remove {unit.address}"
        )


def _matching(machine: Machine, directory: str, pattern: str) -> dict[str, str]:
    try:
        if not directory or machine.files.stat(directory) is None:
            return {}
        return machine.files.read_matching(directory, pattern)
    except HostError:
        return {}
