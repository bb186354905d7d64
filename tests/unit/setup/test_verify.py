"""Proof that what was set up runs, and an honest word where it does not."""

import pytest
from msgspec.structs import replace
from tests.shop import CRON_FILE, LOGS, QUEUE, SCHEDULER, Shop

from shiftboss.core.errors import HostError
from shiftboss.core.facts import Listener
from shiftboss.host.fake_supervisor import Script
from shiftboss.setup.selection import whole
from shiftboss.setup.verify import mark_logs, verify_schedules, verify_workers

LOG = f"{LOGS}/queue.log"


def failing(shop: Shop) -> HostError:
    """Set the queue up and return why it does not stay up."""
    with pytest.raises(HostError) as error:
        shop.set_up(QUEUE)
    return error.value


def shop_with(script: Script) -> Shop:
    shop = Shop()
    shop.machine.supervisord.scripts["shop_queue"] = script
    return shop


def test_a_worker_is_proven_after_its_start_seconds_and_its_pid_is_told() -> None:
    shop = Shop()
    begun = shop.machine.clock.monotonic()

    shop.set_up(QUEUE)

    assert 3 <= shop.machine.clock.monotonic() - begun < 4, "startsecs of the preset"
    assert shop.told.steps == ["shop/queue runs: pid 1001"]
    assert set(shop.told.waits) == {"waiting until shop/queue stays up"}


def test_every_process_counts() -> None:
    shop = Shop()
    shop.machine.supervisord.scripts["shop_queue:shop_queue_01"] = Script(ends="BACKOFF", after_seconds=0.5)

    with pytest.raises(HostError, match=r"^shop/queue:2 does not stay up \(BACKOFF\)"):
        shop.set_up(replace(QUEUE, processes=2))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (Script(ends="FATAL", spawn_error="can't find command '/usr/bin/php'"),
         "shop/queue:1 does not stay up (FATAL): /usr/bin/php: command not found"),
        (Script(ends="BACKOFF", output="Could not open input file: artisan\n"),
         "shop/queue:1 does not stay up (BACKOFF): artisan is missing in the release"),
        (Script(ends="EXITED", exit_status=2),
         "shop/queue:1 does not stay up (EXITED): ended with exit status 2"),
        (Script(ends="BACKOFF", spawn_error="Exited too quickly (process log may have details)"),
         "shop/queue:1 does not stay up (BACKOFF): ended within 3 seconds of its start"),
    ],
)  # fmt: skip
def test_a_worker_that_fails_is_told_with_its_cause(script: Script, message: str) -> None:
    error = failing(shop_with(script))

    assert error.message == message
    assert f"Log: {LOG}" in error.hint
    after = "shiftboss start shop/queue" if script.ends == "FATAL" else "shiftboss remove shop/queue"
    assert after in error.hint


def test_its_own_last_words_are_quoted_and_cannot_control_a_terminal() -> None:
    error = failing(shop_with(Script(ends="BACKOFF", output="one\n\x1b[31mtwo\x1b[2J\x07\n" + "x" * 500)))

    assert "\n    one\n    two\n    xxx" in error.hint
    assert "\x1b" not in error.hint
    assert "x" * 201 not in error.hint


def test_only_what_was_written_since_the_start_is_quoted() -> None:
    """Also where a program says the same at every start: the marks of old words were once sought in new ones."""
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.files.write(LOG, "an old error\n" + "the same\n" * 200)
    shop.machine.supervisord.scripts["shop_queue"] = Script(ends="BACKOFF", output="the same\n" * 2)

    with pytest.raises(HostError) as error:
        shop.set_up(replace(QUEUE, processes=2))

    assert error.value.hint.count("    the same") == 4, "two starts with two lines"
    assert "an old error" not in error.value.hint


def test_a_log_that_was_rotated_meanwhile_is_new_as_a_whole() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    worker = shop.resolved().units[0]
    shop.machine.files.write(LOG, "x" * 100)
    marks = mark_logs(shop.machine, [worker])  # type: ignore[list-item]  # it is the worker
    shop.machine.files.write(LOG, "new\n")
    shop.machine.supervisord.end("shop_queue:shop_queue", "BACKOFF")

    with pytest.raises(HostError) as error:
        verify_workers(shop.machine, shop.prepared_apply().site, [whole(worker)], marks, shop.told)  # type: ignore[arg-type]

    assert "    new" in error.value.hint


def test_who_holds_the_port_is_named() -> None:
    shop = shop_with(
        Script(ends="BACKOFF", output="Error: listen EADDRINUSE: address already in use :::3000\n")
    )
    shop.machine.processes.listeners[3000] = Listener(4711, "ann", "node other.js")

    assert failing(shop).message.endswith("port 3000 is taken by pid 4711 of ann (node other.js)")


def test_a_worker_that_never_comes_up_ends_the_waiting() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    worker = replace(shop.resolved().units[0], name="other")

    with pytest.raises(HostError, match=r"^shop/other does not come up: shop/other:1 unknown$") as error:
        verify_workers(shop.machine, shop.prepared_apply().site, [whole(worker)], {}, shop.told)  # type: ignore[arg-type]
    assert "shiftboss logs shop/other" in error.value.hint


def test_only_what_was_asked_for_or_restarts_is_proven() -> None:
    """Somebody else's broken worker does not fail my change."""
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.supervisord.end("shop_queue:shop_queue", "BACKOFF")

    shop.set_up(SCHEDULER)


def test_a_worker_stopped_by_hand_is_started_by_who_sets_it_up() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.supervisord.stop_process("shop_queue:shop_queue")

    shop.apply()
    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "STOPPED"}, "apply keeps the wish"
    shop.set_up(QUEUE)
    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}


def test_a_schedule_needs_a_cron_that_reads_it() -> None:
    shop = Shop()
    shop.machine.cron.pid = None

    with pytest.raises(HostError, match=r"no running cron daemon reads /etc/cron\.d") as error:
        shop.set_up(SCHEDULER)

    assert "systemctl enable --now cron" in error.value.hint
    assert " shop/scheduler\n" in shop.machine.files.text(CRON_FILE), "it is written, and that is said"


def test_a_schedule_is_read_back() -> None:
    shop = Shop()
    shop.set_up(SCHEDULER)
    (schedule,) = shop.resolved().units
    shop.machine.files.delete(CRON_FILE)

    with pytest.raises(HostError, match=rf"^cannot find {CRON_FILE} after writing it$"):
        verify_schedules(shop.machine, shop.site, [schedule])  # type: ignore[list-item]  # it is the schedule
