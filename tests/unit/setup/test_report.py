"""What runs, live: the rows of status."""

import pytest
from msgspec.structs import replace
from tests.shop import LOGS, QUEUE, ROOT, SCHEDULER, Shop, deploy

from shiftboss.core.facts import Usage
from shiftboss.setup.report import ProjectReport, Report, report
from shiftboss.setup.requests import ScheduleRequest

BACKUP = ScheduleRequest("backup", cron="30 2 * * *", command="php backup.php")


def seen(shop: Shop) -> tuple[Report, ProjectReport]:
    found = report(shop.machine, shop.prepared_apply().site, [shop.resolved()])
    return found, found.projects[0]


def test_a_worker_is_told_with_all_that_can_be_known() -> None:
    shop = Shop()
    shop.set_up(replace(QUEUE, processes=2))
    shop.machine.clock.pass_by(60)
    pid = shop.machine.supervisord.pids()["shop_queue:shop_queue_00"]
    shop.machine.processes.used = {
        pid: Usage(pid, 1, 20 * 2**20, 1.5),
        4000: Usage(4000, pid, 30 * 2**20, 0),
        4001: Usage(4001, 4000, 5 * 2**20, 0),
    }

    found, project = seen(shop)

    assert found.as_desired
    assert (project.project, project.user, project.release) == ("shop", "shop_user", f"{ROOT}/releases/1")
    (worker,) = project.workers
    assert (worker.name, worker.preset, worker.backend) == ("queue", "laravel-queue", "supervisor")
    assert worker.command.startswith("/usr/bin/php artisan queue:work ")
    first = worker.processes[0]
    assert (first.process, first.state, first.pid, first.stale) == (1, "RUNNING", pid, False)
    assert first.uptime_seconds == 63
    assert (first.memory_bytes, first.cpu_percent) == (55 * 2**20, 1.5), "with everything that it started"


def test_a_process_of_an_older_release_is_stale() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    deploy(shop.machine, "shop", uid=1500, release=2)

    found, project = seen(shop)

    assert project.workers[0].processes[0].stale
    assert found.as_desired, "it runs, as it should"


def test_a_process_is_stale_also_where_the_project_is_reached_through_a_link() -> None:
    """The kernel shows directories without links; the root of the project was once compared as it is written."""
    shop = Shop()
    shop.machine.files.link("/srv", "/infra/projects")
    shop.write_project('[project]\nroot = "/srv/shop"\n')
    shop.set_up(QUEUE)
    deploy(shop.machine, "shop", uid=1500, release=2)

    assert seen(shop)[1].workers[0].processes[0].stale


def test_what_does_not_run_is_not_as_desired_and_says_why() -> None:
    shop = Shop()
    shop.set_up(replace(QUEUE, processes=2))
    shop.machine.supervisord.end("shop_queue:shop_queue_01", "FATAL", 2)

    found, project = seen(shop)

    assert not found.as_desired
    process = project.workers[0].processes[1]
    assert (process.state, process.pid, process.stale) == ("FATAL", None, None)
    assert process.exit_reason == "ended with exit status 2"


def test_a_backend_that_does_not_answer_leaves_its_states_unknown() -> None:
    shop = Shop()
    shop.set_up(replace(QUEUE, processes=2), SCHEDULER)
    site = shop.prepared_apply().site
    shop.machine.supervisord.down = True

    found = report(shop.machine, site, [shop.resolved()])

    assert not found.as_desired
    assert [error.message[:26] for error in found.errors] == ["cannot talk to Supervisor,"]
    (project,) = found.projects
    assert [(p.process, p.state) for p in project.workers[0].processes] == [(1, None), (2, None)]
    assert project.schedules[0].next


def test_a_schedule_tells_next_and_last() -> None:
    shop = Shop()
    shop.set_up(BACKUP)
    assert seen(shop)[1].schedules[0].last is None, "an empty log: it never printed anything"
    shop.machine.files.append(f"{LOGS}/backup.log", b"done\n")

    found, project = seen(shop)

    (schedule,) = project.schedules
    assert (schedule.cron, schedule.timezone, schedule.command) == (
        "30 2 * * *",
        "Europe/Riga",
        "/usr/bin/php backup.php",
    )
    assert schedule.next == "2026-11-24T02:30:00+02:00"
    assert schedule.last is not None
    assert schedule.last.started == "2026-11-23T14:00:00+02:00"
    assert schedule.last.exit_status is None
    assert found.as_desired


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('cron = "99 * * * *"', "cannot tell when shop/backup runs: minute: 99"),
        (
            'cron = "0 2 * * *"\ntimezone = "Mars/Base"',
            "cannot tell when shop/backup runs: unknown time zone",
        ),
    ],
)
def test_a_schedule_that_nobody_understands_is_an_error_and_hides_nothing(line: str, message: str) -> None:
    """Edited by hand and not applied yet; an unknown time zone once ended `status` as a fault of ours."""
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    shop.write_project(shop.catalog.require("shop").text + f'[schedules.backup]\n{line}\ncommand = "php x"\n')
    site = shop.site

    found = report(shop.machine, site, [shop.resolved()])

    assert [error.message.startswith(message) for error in found.errors] == [True]
    assert found.errors[0].hint
    assert found.projects[0].schedules[1].next is None
    assert found.projects[0].workers[0].processes[0].state == "RUNNING"
