"""The tasks inside a Laravel scheduler on the command line."""

import json
from collections.abc import Callable

import pytest
from tests.laravel_samples import sample
from tests.shop import QUEUE, SCHEDULER, Shop

from shiftboss.core.facts import Finished

LIST = sample("list-10.50.3")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def asked() -> list[str]:
    """Give what artisan was asked."""
    return []


@pytest.fixture
def shop(asked: list[str]) -> Shop:
    def artisan(argv: tuple[str, ...]) -> Finished:
        asked.append(argv[2])
        return Finished(0, LIST) if argv[2] == "schedule:list" else Finished(0)

    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    shop.machine.commands.answers["/usr/bin/php"] = artisan
    return shop


def test_only_who_asks_for_tasks_starts_artisan(sh: Run, asked: list[str]) -> None:
    assert sh("next", "shop")[0] == 0
    assert sh("status", "shop")[0] == 0
    assert asked == []


def test_next_puts_the_tasks_into_the_order_of_their_times(sh: Run) -> None:
    _, shown, _ = sh("next", "shop", "--tasks", "-n", "1")
    _, text, _ = sh("next", "shop", "--tasks", "--json", "-n", "1")

    assert "shop/scheduler: app:heartbeat quick" in shown
    assert "* * * * * each 20s" in shown
    rows = json.loads(text)
    assert [row["due"] for row in rows] == sorted(row["due"] for row in rows)
    assert {"target": "shop/scheduler", "due": "2026-11-25T02:15:00+00:00"} | dict.fromkeys(
        ("command", "task"), "app:heartbeat nightly"
    ) in rows
    assert [row for row in rows if "task" not in row and row["target"] == "shop/scheduler"]


def test_status_shows_the_tasks_with_their_locks(sh: Run) -> None:
    code, shown, _ = sh("status", "shop", "-v")
    _, text, _ = sh("status", "shop", "-v", "--json")

    assert code == 0
    assert "TASK INSIDE" in shown
    (line,) = [line for line in shown.splitlines() if "app:heartbeat nightly" in line]
    assert line.split()[-1] == "free"
    inside = json.loads(text)["tasks_inside"]["shop/scheduler"]
    assert len(inside["tasks"]) == 9
    assert "tasks_inside" not in json.loads(sh("status", "shop", "--json")[1])


def test_an_artisan_that_fails_is_told_beside_everything_else(shop: Shop, sh: Run) -> None:
    shop.machine.commands.answers["/usr/bin/php"] = Finished(1, "", "no vendor")

    code, shown, said = sh("status", "shop", "-v")

    assert code == 1
    assert "shop/queue" in shown
    assert "cannot list the tasks inside shop/scheduler: no vendor" in said


def test_a_restart_of_the_project_interrupts_its_scheduler_too(sh: Run, asked: list[str]) -> None:
    assert sh("restart", "shop/queue")[0] == 0
    assert asked == []

    code, _, said = sh("restart", "shop")

    assert code == 0
    assert asked == ["schedule:interrupt"]
    assert "interrupted tasks of shop/scheduler" in said


def test_a_restart_whose_interrupt_fails_has_restarted_all_the_same(shop: Shop, sh: Run) -> None:
    shop.machine.commands.answers["/usr/bin/php"] = Finished(1, "", "Connection refused")

    code, shown, said = sh("restart", "shop")

    assert code == 0
    assert "shop/queue:1: pid" in shown
    assert "cannot interrupt shop/scheduler: Connection refused" in said


def test_plan_names_a_second_scheduler(shop: Shop, sh: Run) -> None:
    shop.machine.cron.crontabs["/etc/crontab"] = (
        "* * * * * root php /infra/projects/shop/current/artisan schedule:run\n"
    )

    assert "/etc/crontab line 1 runs the same scheduler" in sh("plan", "shop")[2]
    assert json.loads(sh("plan", "shop", "--json")[1])["notes"] != []
