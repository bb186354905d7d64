"""Planning a second time what was performed: nothing is left to do, and nobody is restarted."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.shop import CONF_FILE, CONFIG, CRON_FILE, PROJECT_FILE, QUEUE, SCHEDULER, Shop, deploy, kinds

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.plan import UpdateGroup, WriteFile
from shiftboss.setup.requests import Request, ScheduleRequest, WorkerRequest

THUMBS = WorkerRequest("thumbs", command="php artisan thumbs:work --queue 'a b;c%d' \"e\"")
BACKUP = ScheduleRequest("backup", cron="0 2 * * *", command=["pg_dump", "-f", "100% backup.sql", "shop"])


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.machine.commands.install("/usr/bin/pg_dump")
    return shop


@pytest.mark.parametrize(
    "requests",
    [
        (QUEUE,),
        (replace(QUEUE, processes=4),),
        (THUMBS,),
        (replace(THUMBS, shell=True, command="php a | php b > /tmp/x"),),
        (SCHEDULER,),
        (BACKUP,),
        (QUEUE, THUMBS, SCHEDULER, BACKUP),
    ],
)
def test_a_plan_after_its_performance_is_empty(shop: Shop, requests: tuple[Request, ...]) -> None:
    shop.set_up(*requests)
    pids, files = shop.machine.supervisord.pids(), shop.machine.files.snapshot()

    again = shop.set_up(*requests)

    assert again.plan.actions == ()
    assert again.plan.conflicts == ()
    assert shop.prepared_apply().plan.actions == ()
    assert shop.machine.supervisord.pids() == pids
    assert shop.machine.files.snapshot() == files


def test_scaling_restarts_that_worker_and_nobody_else(shop: Shop) -> None:
    shop.set_up(QUEUE, THUMBS, SCHEDULER)
    before = shop.machine.supervisord.pids()

    change = shop.set_up(WorkerRequest("queue", processes=3, named=True))

    assert change.plan.restarts == ("shop/queue:1",)
    after = shop.machine.supervisord.pids()
    assert after["shop_thumbs:shop_thumbs"] == before["shop_thumbs:shop_thumbs"]
    assert sorted(after) == ["shop_queue:shop_queue_00", "shop_queue:shop_queue_01", "shop_queue:shop_queue_02",
                             "shop_thumbs:shop_thumbs"]  # fmt: skip
    assert shop.prepared_apply().plan.actions == ()
    assert "processes = 3" in shop.machine.files.text(PROJECT_FILE)


def test_removing_a_unit_leaves_the_others_alone(shop: Shop) -> None:
    shop.set_up(QUEUE, THUMBS, SCHEDULER, BACKUP)
    before = shop.machine.supervisord.pids()

    shop.remove("thumbs")
    shop.remove("backup")

    assert shop.machine.supervisord.pids() == {
        name: pid for name, pid in before.items() if "thumbs" not in name
    }
    assert "backup" not in shop.machine.files.text(CRON_FILE)
    assert " shop/scheduler\n" in shop.machine.files.text(CRON_FILE)
    assert shop.prepared_apply().plan.actions == ()


def test_removing_a_project_leaves_logs_and_nothing_else(shop: Shop) -> None:
    before = {path for path, node in shop.machine.files.snapshot().items() if node.type == "file"}
    shop.set_up(replace(QUEUE, processes=2), THUMBS, SCHEDULER, BACKUP)

    shop.remove()

    after = {path for path, node in shop.machine.files.snapshot().items() if node.type == "file"}
    assert {path for path in after - before if "/logs/" not in path} == {"/etc/shiftboss/config.toml"}
    assert shop.machine.supervisord.states() == {}
    with pytest.raises(UserError, match="unknown project"):
        shop.remove()


def test_a_project_is_removed_when_its_user_and_release_are_gone(shop: Shop) -> None:
    shop.set_up(QUEUE, SCHEDULER)
    del shop.machine.accounts.users["shop_user"]
    shop.machine.files.delete("/infra/projects/shop")

    shop.remove()

    assert shop.machine.files.node(CONF_FILE) is None
    assert shop.machine.files.node(CRON_FILE) is None


def test_adding_a_project_touches_no_other(shop: Shop) -> None:
    shop.set_up(QUEUE, SCHEDULER)
    before, files = shop.machine.supervisord.pids(), shop.machine.files.snapshot()
    deploy(shop.machine, "blog", uid=1600)

    change = shop.set_up(QUEUE, SCHEDULER, project="blog")

    assert change.plan.restarts == ()
    assert before.items() <= shop.machine.supervisord.pids().items()
    changed = {path for path, node in files.items() if shop.machine.files.node(path) and
               shop.machine.files.snapshot()[path] != node}  # fmt: skip
    assert changed == set()


def test_a_hand_edit_of_the_project_file_is_applied(shop: Shop) -> None:
    shop.set_up(QUEUE)
    text = shop.machine.files.text(PROJECT_FILE)
    shop.write_project(text + "processes = 2\n[workers.thumbs]\ncommand = 'php artisan thumbs:work'\n")

    plan = shop.apply().plan

    assert next(a.path for a in plan.actions if isinstance(a, WriteFile)) == CONF_FILE
    assert [(a.group, a.change) for a in plan.actions if isinstance(a, UpdateGroup)] == [
        ("shop_queue", "change"),
        ("shop_thumbs", "add"),
    ]
    assert shop.prepared_apply().plan.actions == ()


def test_a_unit_deleted_from_the_file_is_removed_by_apply(shop: Shop) -> None:
    shop.set_up(QUEUE, SCHEDULER)
    shop.write_project('[project]\nuser = "shop_user"\n')

    plan = shop.apply().plan

    assert set(kinds(plan)) == {"remove-file", "update-group"}
    assert shop.machine.supervisord.states() == {}
    assert shop.machine.files.node(CRON_FILE) is None


def test_a_daemon_that_forgot_a_group_is_told_again(shop: Shop) -> None:
    """As after a restart of Supervisor without our file, or an interruption between reread and update."""
    shop.set_up(QUEUE)
    shop.machine.supervisord.stop_group("shop_queue")
    shop.machine.supervisord.remove_group("shop_queue")

    assert kinds(shop.apply().plan) == ["update-group"]
    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}


def stopped(shop: Shop) -> None:
    shop.machine.supervisord.down = True


def uninstalled(shop: Shop) -> None:
    shop.machine.supervisors.installed = False


@pytest.mark.parametrize(
    ("fault", "message"), [(stopped, "not running"), (uninstalled, "cannot find Supervisor")]
)
def test_without_supervisor_workers_are_refused_and_nothing_is_changed(
    shop: Shop, fault: Callable[[Shop], None], message: str
) -> None:
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "supervisor"\n')
    fault(shop)
    before = shop.machine.files.snapshot()

    with pytest.raises(HostError, match=message) as error:
        shop.set_up(QUEUE)

    assert error.value.hint
    assert shop.machine.files.snapshot() == before


@pytest.mark.parametrize("fault", [stopped, uninstalled])
def test_without_supervisor_schedules_go_on(shop: Shop, fault: Callable[[Shop], None]) -> None:
    fault(shop)

    shop.set_up(SCHEDULER)
    shop.set_up(BACKUP)
    assert shop.prepared_apply().plan.actions == ()
    shop.remove("backup")
    shop.remove()
    assert shop.machine.files.node(CRON_FILE) is None


def test_a_server_without_cron_runs_schedules_on_our_own_engine(shop: Shop) -> None:
    shop.machine.files.delete("/etc/cron.d")
    shop.machine.files.delete("/etc/logrotate.d")

    shop.set_up(QUEUE)
    shop.set_up(SCHEDULER)
    assert [unit.address for unit in shop.machine.engines.connect("").schedules()] == ["shop/scheduler"]
    shop.remove()


def test_what_is_the_same_for_all_projects_is_asked_once(shop: Shop) -> None:
    for number in range(5):
        deploy(shop.machine, f"p{number}", uid=1600 + number)
        shop.set_up(QUEUE, project=f"p{number}")
    before = len(shop.machine.faults.calls)

    shop.prepared_apply()

    asked = [name for name, _ in shop.machine.faults.calls[before:]]
    assert asked.count("supervisor.facts") == 1
    assert asked.count("supervisors.locate") <= 2
