"""Schedules of many projects that are due in the same second, though nothing says they have to be."""

from collections.abc import Iterable, Iterator, Mapping

from shiftboss.core.doctor import Finding
from shiftboss.core.tables import ScheduleTable

_MANY_SCHEDULES, _MANY_PROJECTS = 10, 3
_OF_PRESETS = " (a Laravel scheduler is spread only while none of its tasks repeats within the minute)"


def crowd_findings(schedules: Mapping[str, Iterable[ScheduleTable]]) -> Iterator[Finding]:
    """Yield the times at which many schedules of our own engine start at once; `schedules` of each project.

    Tables with a preset say its times.
    """
    due: dict[str, list[str]] = {}
    of_presets: set[str] = set()
    for project, table in ((project, table) for project, tables in schedules.items() for table in tables):
        if table.cron and len(table.cron.split()) == 5 and not (table.spread or table.jitter):
            cron = " ".join(table.cron.split())
            due.setdefault(cron, []).append(project)
            if table.preset:
                of_presets.add(cron)
    for cron, projects in sorted(due.items()):
        count = len(set(projects))
        if len(projects) >= _MANY_SCHEDULES and count >= _MANY_PROJECTS:
            words = (
                f"{len(projects)} schedules of {count} projects start in the same second ({cron}); with spread = true in "
                f"their tables each project has a second of the minute of its own{_OF_PRESETS if cron in of_presets else ''}"
            )
            yield Finding("note", "schedules", "shiftboss", words)
