"""What artisan tells of its schedule, in the words of several versions of Laravel."""

import pytest
from tests.shop import Shop, deploy

from shiftboss.core.facts import Finished
from shiftboss.setup.laravel import scheduled_tasks

ELEVEN = """
  * * * * *  php artisan inspire ........................ Next Due: 32 seconds from now
  0   2 * * *  php artisan backup:run --only-db ............. Next Due: 10 hours from now
  */5 8-18 * * 1-5  Closure at: routes/console.php:12 ..... Next Due: 1 minute from now
"""
EIGHT = """
+----------------------+------------+-----------------------+
| Command              | Interval   | Next Due              |
+----------------------+------------+-----------------------+
| php artisan inspire  | * * * * *  | 2026-11-23 12:00:00   |
| php artisan backup   | 0 2 * * *  | 2026-11-24 02:00:00   |
+----------------------+------------+-----------------------+
"""


@pytest.mark.parametrize(
    ("ended", "count"),
    [
        (Finished(0, ELEVEN), 3),
        (Finished(0, EIGHT), 2),
        (Finished(0, "\n  INFO  No scheduled tasks have been defined.\n"), 0),
        (Finished(1, ELEVEN, "PDOException"), None),
        (Finished(124, ELEVEN), None),
    ],
)
def test_tasks_are_counted_as_the_users_artisan_lists_them(ended: Finished, count: int | None) -> None:
    shop = Shop()
    deploy(shop.machine, "shop", uid=1500)
    shop.write_project('[project]\nuser = "shop_user"\n')
    shop.machine.commands.answers["/usr/bin/php"] = ended

    assert scheduled_tasks(shop.machine, shop.resolved().project) == count
    assert shop.machine.commands.ran == [("/usr/bin/php", "artisan", "schedule:list", "--no-ansi")]


def test_without_php_nothing_is_told() -> None:
    shop = Shop()
    shop.write_project("")
    shop.machine.files.delete("/usr/bin/php")

    assert scheduled_tasks(shop.machine, shop.resolved().project) is None
    assert shop.machine.commands.ran == []
