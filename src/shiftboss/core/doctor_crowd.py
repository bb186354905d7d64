"""Schedules of many projects that are due in the same second, though nothing says they have to be."""

from collections.abc import Iterable, Iterator, Mapping

from shiftboss.core.doctor import Finding
from shiftboss.core.tables import ScheduleTable

_MANY_SCHEDULES, _MANY_PROJECTS = 10, 3


def crowd_findings(schedules: Mapping[str, Iterable[ScheduleTable]]) -> Iterator[Finding]:
    """Yield the times at which many schedules of our own engine start at once; `schedules` of each project.

    Those of a preset are left alone: Laravel's scheduler started late would lose tasks that repeat within the minute.
    """
    due: dict[str, list[str]] = {}
    for project, tables in schedules.items():
        for table in tables:
            if (
                table.cron
                and len(table.cron.split()) == 5
                and not (table.preset or table.spread or table.jitter)
            ):
                due.setdefault(" ".join(table.cron.split()), []).append(project)
    for cron, projects in sorted(due.items()):
        count = len(set(projects))
        if len(projects) >= _MANY_SCHEDULES and count >= _MANY_PROJECTS:
            words = (
                f"{len(projects)} schedules of {count} projects start in the same second ({cron}); with spread = true in "
                "their tables each project has a second of the minute of its own"
            )
            yield Finding("note", "schedules", "shiftboss", words)
