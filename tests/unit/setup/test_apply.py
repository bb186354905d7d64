"""Performing a plan: all files or none, whatever happens on the way."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from msgspec.structs import replace
from tests.shop import (
    ADOPT,
    CONF_FILE,
    CONFIG,
    CRON_FILE,
    FORCE,
    LOGS,
    PROJECT_FILE,
    QUEUE,
    SCHEDULER,
    Shop,
    deploy,
)

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.plan import Plan, RemoveFile, UpdateGroup, WriteFile
from shiftboss.core.spec import Site
from shiftboss.host.fake_files import Node, disk_full
from shiftboss.host.fake_supervisor import Script
from shiftboss.setup.apply import perform
from shiftboss.setup.requests import WorkerRequest
from shiftboss.setup.unfinished import remembered

OURS = (CONFIG, PROJECT_FILE, CONF_FILE, CRON_FILE)
FOUR = replace(QUEUE, processes=4)


def texts(shop: Shop) -> dict[str, str | None]:
    """Return our four files as they are."""
    return {path: node.data.decode() if (node := shop.machine.files.node(path)) else None for path in OURS}


def files(shop: Shop) -> dict[str, Node]:
    """Return every file of the server, with owner and mode; logs and the lock are nobody's business here."""
    return {
        path: node
        for path, node in shop.machine.files.snapshot().items()
        if node.type == "file" and not path.startswith((LOGS, "/run/"))
    }


def interrupted() -> None:
    """Do what Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


@contextmanager
def refused(match: str) -> Iterator[None]:
    with pytest.raises(HostError, match=match) as error:
        yield
    assert error.value.hint


Made = Callable[[], tuple[Shop, Callable[[], object]]]


# A server in a state, and a change of it: the first set-up, another number of processes, two removals.
def fresh() -> tuple[Shop, Callable[[], object]]:
    shop = Shop()
    return shop, lambda: shop.set_up(QUEUE, SCHEDULER)


def scaled() -> tuple[Shop, Callable[[], object]]:
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    shop.machine.files.write(PROJECT_FILE, shop.machine.files.text(PROJECT_FILE), mode=0o600)
    return shop, lambda: shop.set_up(FOUR)


def worker_removed() -> tuple[Shop, Callable[[], object]]:
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    return shop, lambda: shop.remove("queue")


def removed() -> tuple[Shop, Callable[[], object]]:
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    return shop, shop.remove


CHANGES = pytest.mark.parametrize(
    "made", [fresh, scaled, worker_removed, removed], ids=lambda made: made.__name__
)


def calls_of(made: Made) -> list[str]:
    """Return the names of the calls that a change makes, in their order."""
    shop, change = made()
    before = len(shop.machine.faults.calls)
    change()
    return [name for name, _ in shop.machine.faults.calls[before:]]


LOOKS = {
    "clock.sleep",
    "supervisor.facts",
    "files.read",
    "files.read_as",
    "files.stat",
    "files.real_path",
    "files.size",
}


def points_of(calls: list[str]) -> list[int]:
    """Return the numbers of the calls to try: of those that only look, the first and the last in a row."""
    changes = [number for number, name in enumerate(calls, 1) if name not in LOOKS]
    beside = {number + step for number in changes for step in (-1, 0, 1)}
    return sorted(beside & set(range(1, len(calls) + 1)))


@CHANGES
@pytest.mark.parametrize("call", ["files.stage", "files.commit", "files.make_directory", "files.create_file"])
def test_a_full_disk_changes_nothing_wherever_it_is_met(made: Made, call: str) -> None:
    for at in range(1, calls_of(made).count(call) + 1):
        shop, change = made()
        before, states = files(shop), shop.machine.supervisord.states()
        shop.machine.faults.plant(call, disk_full(), at=at)

        with refused(r"^cannot (write|create) /.*: no space left on device$"):
            change()

        assert files(shop) == before, f"{call} number {at}"
        assert shop.machine.supervisord.states() == states
        change()
        assert not shop.prepared_apply().plan.actions


@CHANGES
def test_ctrl_c_leaves_all_or_nothing_and_the_next_run_finishes(made: Made) -> None:
    done, change = made()
    before = texts(done)
    change()
    after, states, calls = texts(done), done.machine.supervisord.states(), calls_of(made)

    for at in points_of(calls):
        shop, change = made()
        shop.machine.faults.plant("", interrupted, at=at)
        with pytest.raises(KeyboardInterrupt):
            change()

        where = f"call {at}: {calls[at - 1]}"
        assert texts(shop) in (before, after), where
        assert not [path for path in files(shop) if path.endswith("~")], where
        with suppress(UserError):  # what is removed already is unknown
            change()
        assert texts(shop) == after, where
        assert shop.machine.supervisord.states() == states, where
        assert shop.machine.files.node("/var/lib/shiftboss/unfinished.json") is None, where


def test_a_file_that_was_changed_since_the_plan_was_made_is_left_alone() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    change = shop.prepared(FOUR)
    for path in (PROJECT_FILE, CONF_FILE):
        theirs = shop.machine.files.text(path) + "# theirs\n"
        shop.machine.files.write(path, theirs)
        before = files(shop)

        with refused(f"^cannot change {path}: somebody else changed it just now$"):
            perform(shop.machine, change.site, change.plan, shop.told)

        assert files(shop) == before
        shop.machine.files.write(path, theirs.removesuffix("# theirs\n"))


def test_a_conflict_stops_everything_and_names_the_others() -> None:
    shop = Shop()
    shop.set_up(QUEUE, SCHEDULER)
    for path in (CONF_FILE, CRON_FILE):
        shop.machine.files.write(path, shop.machine.files.text(path) + "# by hand\n")
    before = files(shop)

    with refused(r"^cannot change shop/queue: .* was changed by hand .* \(1 more: shiftboss plan\)$"):
        shop.set_up(FOUR)

    assert files(shop) == before
    shop.set_up(FOUR, override=FORCE)
    assert not shop.prepared_apply().plan.actions


def test_a_foreign_file_is_taken_over_only_when_told_and_a_copy_is_kept() -> None:
    shop = Shop()
    shop.machine.files.write(CONF_FILE, "[program:shop_queue]\ncommand=/bin/theirs\n")
    before = files(shop)
    with refused("exists and was not written by shiftboss"):
        shop.set_up(QUEUE)
    assert files(shop) == before

    shop.set_up(QUEUE, override=ADOPT)

    copy = shop.machine.files.node("/var/lib/shiftboss/adopted/shop_queue.conf")
    assert copy is not None
    assert (copy.data, copy.mode) == (b"[program:shop_queue]\ncommand=/bin/theirs\n", 0o600)
    assert "Managed by shiftboss" in shop.machine.files.text(CONF_FILE)


def test_what_cron_refuses_is_never_written() -> None:
    shop = Shop()
    shop.machine.cron.complaint = "bad minute"
    before = files(shop)

    with refused(f"^cannot write {CRON_FILE}: cron refuses it: bad minute$"):
        shop.set_up(SCHEDULER)

    assert files(shop) == before


def broken_file_of_another(shop: Shop) -> None:
    shop.machine.files.write("/etc/supervisor/conf.d/theirs.conf", "[program:theirs]\n")


def not_included(shop: Shop) -> None:
    shop.machine.supervisord.reads_our_files = False


def stopped_after_the_plan(shop: Shop) -> None:
    shop.machine.faults.plant("supervisor.reread", lambda: setattr(shop.machine.supervisord, "down", True))


@pytest.mark.parametrize(
    ("obstacle", "message"),
    [
        (broken_file_of_another, "cannot let Supervisor read its files again: .*theirs.conf"),
        (not_included, "Supervisor does not read its file"),
        (stopped_after_the_plan, "cannot talk to Supervisor"),
    ],
)
def test_when_supervisor_does_not_take_its_files_the_old_ones_come_back(
    obstacle: Callable[[Shop], None], message: str
) -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.files.write(PROJECT_FILE, shop.machine.files.text(PROJECT_FILE), mode=0o600)
    states, pids = shop.machine.supervisord.states(), shop.machine.supervisord.pids()
    obstacle(shop)
    before = files(shop)

    with refused(message):
        shop.set_up(WorkerRequest("thumbs", command="php artisan thumbs:work"), SCHEDULER)

    assert files(shop) == before, "with their owners and modes"
    shop.machine.supervisord.down = False
    assert shop.machine.supervisord.states() == states
    assert shop.machine.supervisord.pids() == pids


def test_secrets_stay_hidden_when_a_file_is_put_back() -> None:
    """A file of 0600 once came back as 0644, for everybody to read."""
    shop = Shop()
    shop.write_project(
        '[project]\nenvironment = { TOKEN = "hush" }\n[workers.queue]\npreset = "laravel-queue"\n'
    )
    shop.apply()
    node = shop.machine.files.node(CONF_FILE)
    assert node is not None
    assert node.mode == 0o600
    broken_file_of_another(shop)

    with refused("cannot let Supervisor read its files again"):
        shop.remove()

    back = shop.machine.files.node(CONF_FILE)
    assert back is not None
    assert (back.mode, back.data) == (0o600, node.data)


def test_files_that_cannot_be_put_back_are_named() -> None:
    shop = Shop()
    broken_file_of_another(shop)
    shop.machine.faults.plant("files.remove", disk_full(), at=1)

    with pytest.raises(
        HostError, match=r"cannot let Supervisor read.*; then these files could not be put back: /"
    ) as e:
        shop.set_up(WorkerRequest("thumbs", command="php artisan thumbs:work"))
    assert e.value.hint.endswith("Afterwards see what is different: shiftboss plan")


def test_a_program_that_does_not_end_stays_on_record_until_it_does() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.supervisord.script("shop_queue", Script(unkillable=True))

    with refused(r"^cannot stop shop/queue: shop_queue did not end in 73 s$"):
        shop.set_up(FOUR)

    shop.machine.supervisord.script("shop_queue", Script())
    assert [action.kind for action in shop.prepared_apply().plan.actions] == ["update-group"]
    shop.apply()
    assert len(shop.machine.supervisord.pids()) == 4
    assert not shop.prepared_apply().plan.actions


def test_what_another_project_left_unfinished_stays_on_record() -> None:
    """The record was once overwritten by the next run, whatever project it was about."""
    shop = Shop()
    deploy(shop.machine, "blog", uid=1600)
    shop.set_up(QUEUE)
    shop.set_up(QUEUE, project="blog")
    shop.machine.faults.plant("supervisor.remove_group", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shop.set_up(FOUR)

    shop.set_up(FOUR, project="blog")

    assert [group.group for group in remembered(shop.machine.files, shop.site)] == ["shop_queue"]
    shop.apply()
    assert len(shop.machine.supervisord.pids()) == 8
    assert remembered(shop.machine.files, shop.site) == ()


def test_all_groups_get_their_time_to_stop_side_by_side() -> None:
    shop = Shop()
    shop.machine.supervisord.scripts = {"shop_a": Script(stop_seconds=20), "shop_b": Script(stop_seconds=20)}
    shop.set_up(WorkerRequest("a", command="php a"), WorkerRequest("b", command="php b"))
    begun = shop.machine.clock.monotonic()

    shop.remove()

    assert 20 <= shop.machine.clock.monotonic() - begun < 22
    assert shop.told.steps[-2:] == ["stopped shop/a", "stopped shop/b"]
    assert any("waiting for shop/a to finish its work" in text for text in shop.told.waits)


def test_a_process_that_supervisor_gave_up_is_started_again() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.supervisord.end("shop_queue:shop_queue", "FATAL")

    shop.apply()

    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}
    assert "started shop/queue:1" in shop.told.steps


def test_an_unknown_record_counts_as_none() -> None:
    shop = Shop()
    for text in ("", "{", "[1]", '[{"group": 5}]', "\0"):
        shop.machine.files.write("/var/lib/shiftboss/unfinished.json", text)
        assert remembered(shop.machine.files, shop.site) == ()
        shop.set_up(QUEUE)


def test_a_plan_without_actions_touches_nothing() -> None:
    shop = Shop()
    before = len(shop.machine.faults.calls)

    perform(shop.machine, shop.site, Plan(), shop.told)

    assert {name for name, _ in shop.machine.faults.calls[before:]} <= {"files.read"}


def test_a_removed_group_that_supervisor_never_had_is_no_error() -> None:
    shop = Shop()
    plan = Plan((UpdateGroup("shop/x", "shop_x", "remove"),))

    perform(shop.machine, prepared_site(shop), plan, shop.told)

    assert shop.told.steps == []


def prepared_site(shop: Shop) -> Site:
    return shop.prepared_apply().site


def test_files_are_performed_in_a_directory_that_must_be_there() -> None:
    shop = Shop()
    action = WriteFile("shop", "/etc/absent.d/x", "text", None)

    with refused("^cannot write /etc/absent.d/x: no such file or directory$"):
        perform(shop.machine, shop.site, Plan((action,)), shop.told)
    assert shop.machine.files.node("/etc/absent.d") is None
    with refused("somebody else changed it"):
        perform(shop.machine, shop.site, Plan((RemoveFile("shop", "/etc/absent", "text"),)), shop.told)


def test_cron_is_told_of_crontabs_that_were_written_or_removed_and_of_nothing_else() -> None:
    shop = Shop()
    announced = shop.machine.faults.subjects
    shop.set_up(QUEUE)
    assert announced("cron.announce") == []
    shop.set_up(SCHEDULER)
    assert announced("cron.announce") == [CRON_FILE]
    shop.set_up(SCHEDULER)
    shop.remove("scheduler")
    assert announced("cron.announce") == [CRON_FILE, CRON_FILE]


def test_cron_is_told_of_crontabs_that_were_put_back() -> None:
    """It may have looked in between."""
    shop = Shop()
    broken_file_of_another(shop)
    with refused("cannot let Supervisor read its files again"):
        shop.set_up(WorkerRequest("thumbs", command="php artisan thumbs:work"), SCHEDULER)
    assert shop.machine.faults.subjects("cron.announce") == [CRON_FILE]
    assert shop.machine.files.node(CRON_FILE) is None
