"""Start, stop and restart, waited for until it is true."""

import pytest
from msgspec.structs import replace
from tests.shop import QUEUE, SCHEDULER, Shop

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.names import parse_target
from shiftboss.host.fake_supervisor import Script
from shiftboss.setup import control
from shiftboss.setup.selection import Selection, combined, select, whole

ONE, TWO = "shop_queue:shop_queue_00", "shop_queue:shop_queue_01"


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.set_up(replace(QUEUE, processes=2), SCHEDULER)
    return shop


def chosen(shop: Shop, *targets: str) -> tuple[Selection, ...]:
    parsed = [parse_target(text) for text in targets]
    return combined([part for target in parsed for part in select(shop.resolved(), target)])


def test_a_target_means_all_processes_or_one(shop: Shop) -> None:
    (queue,) = chosen(shop, "shop")
    assert (queue.worker.address, queue.processes) == ("shop/queue", (1, 2))
    assert chosen(shop, "shop/queue") == (queue,)
    assert chosen(shop, "shop/queue:2") == (replace(queue, processes=(2,)),)


def test_a_worker_is_meant_once_whatever_names_it(shop: Shop) -> None:
    """Two targets of one worker once hid each other: only the last one was waited for."""
    assert chosen(shop, "shop/queue:2", "shop/queue:1", "shop/queue:2") == chosen(shop, "shop")
    assert chosen(shop, "shop/queue:2", "shop") == chosen(shop, "shop")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop/quene", r"^shop has no worker or schedule 'quene' \(did you mean 'queue'\?\)$"),
        ("shop/queue:3", "^shop/queue has no process 3$"),
        ("shop/scheduler", "^shop/scheduler is a schedule: it starts when it is due$"),
    ],
)
def test_a_target_that_means_nothing_is_refused(shop: Shop, target: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        chosen(shop, target)
    assert error.value.hint


def test_a_project_without_workers_cannot_be_started() -> None:
    shop = Shop()
    shop.set_up(SCHEDULER)
    with pytest.raises(UserError, match=r"^shop has no worker$"):
        chosen(shop, "shop")


def test_stop_waits_until_the_work_is_finished(shop: Shop) -> None:
    shop.machine.supervisord.script("shop_queue", Script(stop_seconds=30))
    begun = shop.machine.clock.monotonic()

    control.stop(shop.machine, shop.site, chosen(shop, "shop/queue:1"), shop.told)

    assert 30 <= shop.machine.clock.monotonic() - begun < 31
    assert shop.machine.supervisord.states() == {ONE: "STOPPED", TWO: "RUNNING"}
    assert shop.told.steps[-1] == "stopped shop/queue:1"
    assert "waiting for shop/queue:1 to finish its work (up to 73 s)" in shop.told.waits


def test_stop_of_what_is_stopped_is_no_error(shop: Shop) -> None:
    for _ in range(2):
        control.stop(shop.machine, shop.site, chosen(shop, "shop"), shop.told)
    assert set(shop.machine.supervisord.states().values()) == {"STOPPED"}


def test_stop_gives_up_on_what_cannot_be_killed(shop: Shop) -> None:
    shop.machine.supervisord.script("shop_queue", Script(unkillable=True))

    with pytest.raises(
        HostError, match=r"^cannot stop shop/queue:1, shop/queue:2: still there after 73 s$"
    ) as error:
        control.stop(shop.machine, shop.site, chosen(shop, "shop"), shop.told)
    assert error.value.hint


def test_start_revives_what_supervisor_gave_up(shop: Shop) -> None:
    shop.machine.supervisord.end(ONE, "FATAL")

    control.start(shop.machine, shop.site, chosen(shop, "shop"), shop.told)

    assert set(shop.machine.supervisord.states().values()) == {"RUNNING"}


def test_start_tells_why_it_does_not_stay_up(shop: Shop) -> None:
    control.stop(shop.machine, shop.site, chosen(shop, "shop/queue:2"), shop.told)
    shop.machine.supervisord.script("shop_queue", Script(ends="BACKOFF", output="php: command not found\n"))

    with pytest.raises(
        HostError, match=r"^shop/queue:2 does not stay up \(BACKOFF\): php: command not found$"
    ):
        control.start(shop.machine, shop.site, chosen(shop, "shop/queue:2"), shop.told)


def test_restart_tells_old_and_new_pids(shop: Shop) -> None:
    pids = shop.machine.supervisord.pids()

    restarted = control.restart(
        shop.machine, shop.site, chosen(shop, "shop/queue:1", "shop/queue:2"), shop.told
    )

    new = shop.machine.supervisord.pids()
    assert [(r.address, r.old_pid, r.new_pid) for r in restarted] == [
        ("shop/queue:1", pids[ONE], new[ONE]),
        ("shop/queue:2", pids[TWO], new[TWO]),
    ]
    assert set(pids.values()).isdisjoint(new.values())


def test_restart_of_one_leaves_the_other_alone(shop: Shop) -> None:
    pids = shop.machine.supervisord.pids()
    shop.machine.supervisord.end(ONE)

    (restarted,) = control.restart(shop.machine, shop.site, chosen(shop, "shop/queue:1"), shop.told)

    assert restarted.old_pid is None
    assert shop.machine.supervisord.pids()[TWO] == pids[TWO]


def test_restart_brings_the_new_release(shop: Shop) -> None:
    shop.machine.files.directory("/infra/projects/shop/releases/2")
    shop.machine.files.link("/infra/projects/shop/current", "releases/2", uid=1500)

    (first, _) = control.restart(shop.machine, shop.site, chosen(shop, "shop"), shop.told)

    assert shop.machine.processes.working_directory(first.new_pid) == "/infra/projects/shop/releases/2"


def test_a_supervisor_that_is_down_is_told(shop: Shop) -> None:
    shop.machine.supervisord.down = True
    for act in (control.start, control.stop, control.restart):
        with pytest.raises(HostError, match="cannot talk to Supervisor"):
            act(shop.machine, shop.site, chosen(shop, "shop"), shop.told)


def test_a_worker_that_was_never_applied_says_what_to_do(shop: Shop) -> None:
    shop.write_project(shop.catalog.require("shop").text + '[workers.new]\ncommand = "php new"\n')

    for act in (control.start, control.stop):
        with pytest.raises(HostError, match="cannot find shop_new:shop_new in Supervisor") as error:
            act(shop.machine, shop.site, chosen(shop, "shop/new"), shop.told)
        assert "shiftboss apply" in error.value.hint


def test_whole_is_every_process(shop: Shop) -> None:
    worker = chosen(shop, "shop/queue:1")[0].worker
    assert whole(worker) == chosen(shop, "shop")[0]


def test_what_outlives_its_worker_is_ended_by_stop_and_by_removal_and_told() -> None:
    shop = Shop()
    shop.set_up(replace(QUEUE, memory="256M", processes=2))
    orphans = shop.machine.processes.orphans
    orphans |= {"shop/queue:1": 77, "shop/other:1": 78}
    control.stop(shop.machine, shop.site, chosen(shop, "shop/queue"), shop.told)
    assert shop.told.steps[-1] == "ended what shop/queue had left running (pid 77)"

    orphans["shop/queue:2"] = 79
    shop.remove("queue")
    assert "ended what shop/queue had left running (pid 79)" in shop.told.steps
    assert orphans == {"shop/other:1": 78}, "what belongs to others is left alone"
