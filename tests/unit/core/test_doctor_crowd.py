"""When doctor proposes to spread schedules, and when not."""

import pytest

from shiftboss.core.doctor_crowd import crowd_findings
from shiftboss.core.tables import ScheduleTable

HOURLY = ScheduleTable(cron="0 * * * *", command="true")


def crowd(table: ScheduleTable, projects: int, each: int) -> list[str]:
    found = crowd_findings({f"p{n}": [table] * each for n in range(projects)})
    return [finding.message.partition(";")[0] for finding in found]


def test_many_schedules_of_several_projects_in_one_second_are_told_once() -> None:
    assert crowd(HOURLY, 5, 2) == ["10 schedules of 5 projects start in the same second (0 * * * *)"]


def test_of_laravel_schedulers_it_is_said_when_they_are_not_spread() -> None:
    scheduler = ScheduleTable(preset="laravel-scheduler", cron="* * * * *")
    [finding] = crowd_findings({f"p{n}": [scheduler] for n in range(100)})
    assert finding.message.startswith("100 schedules of 100 projects start in the same second (* * * * *)")
    assert finding.message.endswith(
        "(a Laravel scheduler is spread only while none of its tasks repeats within the minute)"
    )


@pytest.mark.parametrize(
    ("table", "projects", "each"),
    [
        (HOURLY, 3, 3),
        (HOURLY, 2, 20),
        (ScheduleTable(cron="0 * * * *", command="true", spread=True), 5, 2),
        (ScheduleTable(cron="0 * * * *", command="true", jitter="30s"), 5, 2),
        (ScheduleTable(cron="*/10 * * * * *", command="true"), 5, 2),
        (ScheduleTable(every="5m", command="true"), 5, 2),
        (ScheduleTable(preset="laravel-scheduler", cron="* * * * *", spread=True), 5, 2),
    ],
)
def test_nothing_is_proposed_where_it_is_not_needed_or_not_possible(
    table: ScheduleTable, projects: int, each: int
) -> None:
    assert crowd(table, projects, each) == []
