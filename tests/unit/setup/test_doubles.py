"""What else runs a project's Laravel scheduler is found, and told with what to remove."""

import pytest
from tests.shop import ROOT, SCHEDULER, Shop

from shiftboss.core.facts import Running
from shiftboss.setup.closing import closing_lines
from shiftboss.setup.doubles import SchedulerDoubles
from shiftboss.setup.report import report
from shiftboss.setup.requests import WorkerRequest


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.set_up(SCHEDULER)
    return shop


def doubles(shop: Shop) -> tuple[str, ...]:
    found = SchedulerDoubles(shop.machine, shop.site).of(shop.resolved().units)
    assert report(shop.machine, shop.site, [shop.resolved()]).troubles == found, "status says the same"
    return found


def test_alone_there_is_none(shop: Shop) -> None:
    assert doubles(shop) == ()


def test_a_worker_of_the_same_project_is_one(shop: Shop) -> None:
    shop.set_up(WorkerRequest("schedule-work", preset="laravel-schedule-work"))

    (note,) = doubles(shop)

    assert note.startswith("shop/schedule-work runs the same scheduler as shop/scheduler")
    assert note.endswith("shiftboss remove shop/schedule-work")


def test_a_line_of_another_crontab_is_one(shop: Shop) -> None:
    shop.machine.cron.crontabs["/var/spool/cron/crontabs/shop_user"] = (
        f"* * * * * cd {ROOT}/current && php artisan schedule:run\n"
    )

    (note,) = doubles(shop)

    assert note.startswith("/var/spool/cron/crontabs/shop_user line 1 runs the same scheduler")


@pytest.mark.parametrize("directory", [f"{ROOT}/current", f"{ROOT}/releases/1"])
def test_a_program_of_supervisor_is_one(shop: Shop, directory: str) -> None:
    text = (
        "[program:other]\ncommand=php artisan queue:work\n[program:laravel-cron]\n"
        f"directory = {directory}\ncommand = /usr/bin/php artisan schedule:work\nuser=www-data\n"
    )
    shop.machine.files.write("/etc/supervisor/conf.d/by-hand.conf", text)

    (note,) = doubles(shop)

    assert note.startswith(
        "/etc/supervisor/conf.d/by-hand.conf [program:laravel-cron] runs the same scheduler"
    )
    assert note.endswith("supervisorctl stop 'laravel-cron'")


def test_a_service_of_systemd_is_one(shop: Shop) -> None:
    text = f"[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/php {ROOT}/current/artisan schedule:work\n"
    shop.machine.files.directory("/etc/systemd/system")
    shop.machine.files.write("/etc/systemd/system/laravel.service", text)

    (note,) = doubles(shop)

    assert note.endswith("systemctl disable --now laravel.service")


@pytest.mark.parametrize(
    ("uid", "directory", "count"),
    [
        (1500, f"{ROOT}/releases/1", 1),
        (0, f"{ROOT}/releases/1", 1),
        (1600, f"{ROOT}/releases/1", 0),
        (1500, f"{ROOT}/releases/0", 0),
        (1500, "", 0),
    ],
)
def test_a_process_started_by_hand_is_one(shop: Shop, uid: int, directory: str, count: int) -> None:
    shop.machine.processes.others.append(
        Running(4711, 99, uid, ("php", "artisan", "schedule:work"), directory)
    )

    found = doubles(shop)

    assert len(found) == count
    assert all(note.endswith("end it: kill 4711") for note in found)


def test_programs_of_other_projects_and_other_commands_are_none(shop: Shop) -> None:
    text = (
        "[program:a]\ndirectory=/infra/projects/blog/current\ncommand=php artisan schedule:work\n"
        f"[program:b]\ndirectory={ROOT}/current\ncommand=php artisan queue:work\n"
        f"[program:c'$(reboot)]\ndirectory={ROOT}/current\ncommand=php artisan schedule:work\n"
        f"; [program:d]\n;directory={ROOT}/current\n;command=php artisan schedule:work\n"
    )
    shop.machine.files.write("/etc/supervisor/conf.d/others.conf", text)

    assert doubles(shop) == ()


def test_who_sets_it_up_is_told() -> None:
    shop = Shop()
    shop.machine.cron.crontabs["/etc/crontab"] = f"* * * * * root php {ROOT}/current/artisan schedule:run\n"

    change = shop.set_up(SCHEDULER)

    assert any(
        line.startswith("note: /etc/crontab line 1 runs") for line in closing_lines(shop.machine, change)
    )
