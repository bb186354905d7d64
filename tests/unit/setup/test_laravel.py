"""What artisan tells of its schedule and does for it, in the words of several versions of Laravel."""

import json
from pathlib import Path

import pytest
from tests.laravel_samples import sample
from tests.shop import CONFIG, PROJECT_FILE, ROOT, SCHEDULER, Shop, Told, deploy

from shiftboss.core.errors import HostError
from shiftboss.core.facts import Finished, Running
from shiftboss.core.spec import Schedule
from shiftboss.setup.laravel import framework_version, interrupt, scheduled_tasks, tasks_inside

NO_JSON = Finished(1, "", '\n  The "--json" option does not exist.  \n')
GUARDED = "app:heartbeat guarded --sleep=2"


def answering(lists: str, *, json_too: bool = False, **others: Finished) -> object:
    """Give an artisan that prints a list, with `--json` only where its version has it."""

    def artisan(argv: tuple[str, ...]) -> Finished:
        if argv[2] in others:
            return others[argv[2]]
        return NO_JSON if "--json" in argv and not json_too else Finished(0, lists)

    return artisan


def shop_with(artisan: object, version: str = "") -> Shop:
    shop = Shop()
    deploy(shop.machine, "shop", uid=1500)
    if version:
        lock = json.dumps({"packages": [{"name": "laravel/framework", "version": version}]})
        shop.machine.files.write(f"{ROOT}/releases/1/composer.lock", lock, uid=1500, gid=1500)
    shop.set_up(SCHEDULER)
    shop.machine.commands.answers["/usr/bin/php"] = artisan  # type: ignore[assignment]
    shop.machine.commands.ran.clear()
    return shop


def scheduler(shop: Shop) -> Schedule:
    unit = shop.resolved().unit("scheduler")
    assert isinstance(unit, Schedule)
    return unit


@pytest.mark.parametrize(
    ("name", "count"), [("list-8.83.26", 8), ("list-9.52.22", 8), ("list-12.67.0", 9), ("empty-9.52.22", 0)]
)
def test_tasks_are_counted_as_the_users_artisan_lists_them(name: str, count: int) -> None:
    shop = shop_with(answering(sample(name)))

    assert scheduled_tasks(shop.machine, shop.resolved().project) == count
    assert shop.machine.commands.ran == [
        ("/usr/bin/php", "artisan", "schedule:list", "--no-ansi", "--json"),
        ("/usr/bin/php", "artisan", "schedule:list", "--no-ansi", "-v"),
    ]


@pytest.mark.parametrize(
    "ended", [Finished(1, sample("list-9.52.22"), "PDOException"), Finished(124), Finished(0, "hm")]
)
def test_what_is_no_answer_is_not_counted(ended: Finished) -> None:
    shop = shop_with(ended)

    assert scheduled_tasks(shop.machine, shop.resolved().project) is None


def test_without_php_nothing_is_told() -> None:
    shop = Shop()
    shop.write_project("")
    shop.machine.files.delete("/usr/bin/php")

    assert scheduled_tasks(shop.machine, shop.resolved().project) is None
    assert shop.machine.commands.ran == []


@pytest.mark.parametrize(("version", "option"), [("v10.48.2", "-v"), ("v12.67.0", "--json")])
def test_a_known_version_is_asked_once_in_its_own_way(version: str, option: str) -> None:
    listed = sample("json-12.67.0") if option == "--json" else sample("list-10.50.3")
    shop = shop_with(answering(listed, json_too=True), version)

    inside = tasks_inside(shop.machine, scheduler(shop), Told())

    assert shop.machine.commands.ran == [("/usr/bin/php", "artisan", "schedule:list", "--no-ansi", option)]
    assert framework_version(shop.machine, shop.resolved().project) == version.removeprefix("v")
    assert (inside.schedule, len(inside.tasks)) == ("shop/scheduler", 9)


@pytest.mark.parametrize(
    ("version", "says"), [("9.20.0", True), ("10.48.2", False), ("12.67.0", True), ("", False)]
)
def test_versions_that_hide_failures_are_named(version: str, says: bool) -> None:
    shop = shop_with(answering(sample("list-10.50.3")), version)

    notes = tasks_inside(shop.machine, scheduler(shop), Told()).notes

    assert (
        any(f"Laravel {version} does not say by itself which task failed" in note for note in notes) is says
    )


def test_an_application_with_the_lines_of_the_guide_is_not_reminded() -> None:
    shop = shop_with(answering(sample("list-10.50.3")), "12.67.0")
    guide = (Path(__file__).parents[3] / "docs" / "how-to" / "laravel.md").read_text()
    shop.machine.files.write(
        f"{ROOT}/releases/1/app/Providers/AppServiceProvider.php", guide, uid=1500, gid=1500
    )

    assert tasks_inside(shop.machine, scheduler(shop), Told()).notes == ()


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (
            Finished(1, "", "\n\nIn Connection.php line 712:\n\n  SQLSTATE[HY000] \x1b[31mno such table\n"),
            "In Connection.php line 712: SQLSTATE[HY000] no such table",
        ),
        (Finished(124), "artisan did not answer within 10 s"),
        (Finished(255), "artisan ended with exit status 255"),
    ],
)
def test_an_artisan_that_does_not_answer_is_an_error_with_its_words(ended: Finished, words: str) -> None:
    shop = shop_with(ended)

    with pytest.raises(HostError, match="cannot list the tasks inside shop/scheduler") as caught:
        tasks_inside(shop.machine, scheduler(shop), Told())

    assert caught.value.message.endswith(words)
    assert caught.value.hint == f"Run it as shop_user in {ROOT}/current: /usr/bin/php artisan schedule:list"


def test_a_lock_that_no_process_holds_is_reported_with_the_command_that_frees_it() -> None:
    shop = shop_with(answering(sample("locked-9.52.22")))
    told = Told()

    (note,) = tasks_inside(shop.machine, scheduler(shop), told).notes

    assert GUARDED in note
    assert f"as shop_user in {ROOT}/current: /usr/bin/php artisan schedule:clear-cache" in note
    assert told.waits == [f"looking again at the lock of {GUARDED}"]


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/bin/php8.2", "artisan", "app:heartbeat", "guarded", "--sleep=2"),
        (
            "sh",
            "-c",
            "('/usr/bin/php8.2' 'artisan' app:heartbeat guarded --sleep=2 > '/dev/null' 2>&1 ; x) &",
        ),
    ],
)
def test_a_lock_whose_task_runs_is_no_news(argv: tuple[str, ...]) -> None:
    shop = shop_with(answering(sample("locked-9.52.22")))
    shop.machine.processes.others.append(Running(7, 1, 1500, argv))

    assert tasks_inside(shop.machine, scheduler(shop), Told()).notes == ()


def test_a_process_of_somebody_else_holds_no_lock() -> None:
    shop = shop_with(answering(sample("locked-9.52.22")))
    shop.machine.processes.others.append(Running(7, 1, 1600, ("php", "artisan", *GUARDED.split())))

    assert len(tasks_inside(shop.machine, scheduler(shop), Told()).notes) == 1


def test_a_lock_that_is_free_at_the_second_look_is_no_news() -> None:
    lists = iter([sample("locked-9.52.22"), sample("list-9.52.22")])
    shop = shop_with(lambda argv: NO_JSON if "--json" in argv else Finished(0, next(lists)))

    assert tasks_inside(shop.machine, scheduler(shop), Told()).notes == ()


def test_a_scheduler_is_interrupted_where_its_version_can() -> None:
    new = shop_with(Finished(0, "INFO  Broadcasting schedule interrupt signal."), "11.1.0")
    old = shop_with(Finished(0), "10.14.0")
    unknown = shop_with(Finished(1, "", 'Command "schedule:interrupt" is not defined.'))

    assert interrupt(new.machine, scheduler(new))
    assert new.machine.commands.ran == [("/usr/bin/php", "artisan", "schedule:interrupt", "--no-ansi")]
    assert not interrupt(old.machine, scheduler(old))
    assert old.machine.commands.ran == []
    assert not interrupt(unknown.machine, scheduler(unknown))


def test_an_interrupt_that_fails_says_why() -> None:
    shop = shop_with(Finished(1, "", "Connection refused"), "11.1.0")

    with pytest.raises(HostError, match="cannot interrupt shop/scheduler: Connection refused"):
        interrupt(shop.machine, scheduler(shop))


@pytest.mark.parametrize("wish", ["", "spread = true\n"])
def test_a_task_that_came_after_the_wish_to_spread_is_told(wish: str) -> None:
    shop = shop_with(answering(sample("list-10.50.3")), "10.50.3")
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "native"\nschedules = "native"\n')
    table = f'[schedules.scheduler]\npreset = "laravel-scheduler"\n{wish}'
    shop.machine.files.write(PROJECT_FILE, f'[project]\nuser = "shop_user"\n\n{table}')

    notes = tasks_inside(shop.machine, scheduler(shop), Told()).notes

    words = "app:heartbeat quick repeats within the minute, so it must not be spread: shiftboss apply shop sees to that"
    assert (words in notes) is bool(wish)
