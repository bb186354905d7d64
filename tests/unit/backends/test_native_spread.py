"""Which Laravel schedulers are spread inside the minute by our own engine: what artisan and its version say."""

import json

import pytest
from tests.laravel_samples import sample
from tests.shop import CONFIG, PROJECT_FILE, ROOT, Shop

from shiftboss.core.facts import Finished
from shiftboss.core.plan import WriteFile
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.setup.change import Change

SCHEDULER = """[project]
user = "shop_user"

[schedules.scheduler]
preset = "laravel-scheduler"
spread = true
"""
MANIFEST = "/var/lib/shiftboss/manifest/shop.json"
LOST = ", and a later start would lose earlier ticks"


def spread_shop(
    version: str, answer: Finished, text: str = SCHEDULER, package: str = "laravel/framework"
) -> Shop:
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "native"\nschedules = "native"\n')
    shop.machine.files.write(PROJECT_FILE, text)
    lock = json.dumps({"packages": [{"name": package, "version": version}]})
    shop.machine.files.write(f"{ROOT}/releases/1/composer.lock", lock, uid=1500, gid=1500)
    shop.machine.commands.answers["/usr/bin/php"] = answer
    return shop


def is_spread(change: Change) -> bool:
    """Tell whether the engine is told to spread the schedule."""
    [manifest] = [a for a in change.plan.actions if isinstance(a, WriteFile) and a.path == MANIFEST]
    [entry] = read_manifest(manifest.content.encode(), "shop")
    return bool(entry.policy.options["policy"]["spread"])


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("v9.52.22", Finished(1)),
        ("10.14.1", Finished(1)),
        ("12.67.0", Finished(0, sample("empty-json-12.67.0"))),
        (
            "11.56.0",
            Finished(0, sample("json-11.56.0").replace('"repeat_seconds":20', '"repeat_seconds":null')),
        ),
    ],
)
def test_a_scheduler_without_tasks_that_repeat_within_the_minute_is_spread(
    version: str, said: Finished
) -> None:
    change = spread_shop(version, said).prepared_apply("shop")
    assert is_spread(change)
    assert not [note for note in change.plan.notes if "spread" in note]


@pytest.mark.parametrize(
    ("version", "said", "why"),
    [
        ("10.50.3", Finished(0, sample("list-10.50.3")), "app:heartbeat quick repeats within the minute"),
        ("12.67.0", Finished(0, sample("json-12.67.0")), "app:heartbeat quick repeats within the minute"),
        (
            "10.15.0",
            Finished(0),
            "whether a task inside repeats within the minute is not known (Laravel 10.15.0)",
        ),
        (
            "12.67.0",
            Finished(1, "", "SQLSTATE[HY000]"),
            "whether a task inside repeats within the minute is not known: SQLSTATE[HY000]",
        ),
    ],
)
def test_one_that_has_them_or_may_have_them_starts_at_second_0_and_the_plan_says_why(
    version: str, said: Finished, why: str
) -> None:
    change = spread_shop(version, said).prepared_apply("shop")
    assert not is_spread(change)
    assert f"shop/scheduler is not spread: {why}{LOST}" in change.plan.notes


@pytest.mark.parametrize(
    ("told", "spread"),
    [("Laravel Framework 8.83.26\n", True), ("Laravel Framework 10.15.0", False), ("hm", False)],
)
def test_artisan_tells_its_version_where_composer_lock_does_not(told: str, spread: bool) -> None:
    shop = spread_shop("1.0", Finished(0, told), package="some/thing")
    assert is_spread(shop.prepared_apply("shop")) is spread


def test_of_lumen_the_version_of_its_console_counts() -> None:
    shop = spread_shop("v9.52.16", Finished(1), package="illuminate/console")
    assert is_spread(shop.prepared_apply("shop"))


@pytest.mark.parametrize(
    "text",
    [
        SCHEDULER.replace("spread = true\n", ""),
        SCHEDULER.replace("preset", 'timezone = "UTC"\npreset').replace("spread = true", "jitter = 5"),
    ],
)
def test_artisan_is_asked_only_if_something_is_to_be_spread(text: str) -> None:
    shop = spread_shop("12.67.0", Finished(0, sample("json-12.67.0")), text)
    assert not is_spread(shop.prepared_apply("shop"))
    assert not shop.machine.commands.ran


def test_other_schedules_are_spread_as_they_wish() -> None:
    text = '[project]\nuser = "shop_user"\n\n[schedules.clean]\ncron = "* * * * *"\ncommand = "node clean.js"\nspread = true\n'
    shop = spread_shop("12.67.0", Finished(0), text)
    assert is_spread(shop.prepared_apply("shop"))
    assert not shop.machine.commands.ran
