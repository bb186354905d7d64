"""Requests of the command line as edits of the project file."""

import tomllib

import pytest

from shiftboss.core.config import project_file
from shiftboss.core.errors import UserError
from shiftboss.setup.requests import Request, ScheduleRequest, WorkerRequest, edited

TEXT = """\
[workers.queue]
preset = "laravel-queue"
processes = 2

[workers.thumbs]
command = "php artisan thumbs:work"

[schedules.backup]
cron = "0 2 * * *"
command = "pg_dump shop"
"""


def after(request: Request, text: str = TEXT) -> dict[str, object]:
    """Return the unit of a request as the file has it afterwards."""
    data = tomllib.loads(edited(text, project_file(text, "/x"), "shop", request))
    section = "workers" if isinstance(request, WorkerRequest) else "schedules"
    unit: dict[str, object] = data[section][request.name]
    return unit


def refusal(request: Request) -> UserError:
    with pytest.raises(UserError) as error:
        after(request)
    assert error.value.hint
    return error.value


def test_what_is_given_is_written_and_the_rest_stays() -> None:
    assert after(WorkerRequest("queue", processes=4)) == {"preset": "laravel-queue", "processes": 4}
    assert after(WorkerRequest("queue", backend="supervisor"))["backend"] == "supervisor"
    assert after(ScheduleRequest("backup", cron="0 3 * * *")) == {
        "cron": "0 3 * * *",
        "command": "pg_dump shop",
    }
    assert after(WorkerRequest("node", preset="node"), "") == {"preset": "node"}
    assert after(WorkerRequest("x", command=["a", "b c"], shell=True), "") == {
        "command": ["a", "b c"],
        "shell": True,
    }


def test_the_second_time_nothing_changes() -> None:
    for request in (
        WorkerRequest("queue", preset="laravel-queue"),
        WorkerRequest("thumbs", preset="custom", command="php artisan thumbs:work"),
        ScheduleRequest("backup", cron="0 2 * * *", command="pg_dump shop"),
    ):
        assert edited(TEXT, project_file(TEXT, "/x"), "shop", request) == TEXT


def test_custom_is_only_a_name_for_a_command() -> None:
    assert after(WorkerRequest("custom", preset="custom", command="php x"), "") == {"command": "php x"}


def test_a_unit_is_not_turned_into_another_kind() -> None:
    worker = refusal(WorkerRequest("backup", preset="node"))
    assert worker.message == "shop/backup is a schedule already"
    assert "--name NAME" in worker.hint

    schedule = refusal(ScheduleRequest("queue", cron="* * * * *", command="x"))
    assert schedule.message == "shop/queue is a worker already"
    assert "shiftboss cron shop NAME" in schedule.hint, "cron has no option --name"


def test_a_unit_is_not_turned_into_another_preset() -> None:
    assert refusal(WorkerRequest("queue", preset="node")).message == (
        "shop/queue is made from the preset laravel-queue, not from node"
    )
    error = refusal(WorkerRequest("thumbs", preset="node"))
    assert error.message == "shop/thumbs is made from the preset custom, not from node"
    assert "shiftboss remove shop/thumbs" in error.hint


def test_another_command_needs_the_name_to_be_said() -> None:
    error = refusal(WorkerRequest("thumbs", preset="custom", command="php other"))
    assert error.message == "shop/thumbs runs another command already: php artisan thumbs:work"
    assert "--name thumbs" in error.hint

    assert after(WorkerRequest("thumbs", command="php other", named=True)) == {"command": "php other"}


@pytest.mark.parametrize("name", ["", "../x", "a b", "x:y", "a" * 300])
def test_names_are_checked_before_they_reach_the_file(name: str) -> None:
    refusal(WorkerRequest(name, command="x"))
    refusal(ScheduleRequest(name, cron="* * * * *", command="x"))
