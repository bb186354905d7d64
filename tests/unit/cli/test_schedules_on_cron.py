"""Schedules that cron starts through the launcher, on the command line: run, pause, resume, why, next, status."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from tests.shop import QUEUE, SCHEDULER, Shop

from shiftboss.core.facts import Finished, Running
from shiftboss.setup.requests import ScheduleRequest

Run = Callable[..., tuple[int, str, str]]
BACKUP = ScheduleRequest("backup", cron="30 2 * * *", command="php backup.php")
PLAIN = ScheduleRequest("plain", cron="30 2 * * *", command="php plain.php", settings={"plain": True})
SPOOL = "/var/lib/shiftboss/spool/shop"
PAUSED = "/var/lib/shiftboss/launch/cron/shop.paused"


@pytest.fixture
def shop() -> Shop:
    made = Shop()
    made.set_up(SCHEDULER, BACKUP, PLAIN)
    return made


def remember(shop: Shop, *rows: object, unit: str = "backup") -> None:
    """Let the spool have these lines."""
    shop.machine.files.write(f"{SPOOL}/{unit}", "".join(f"{json.dumps(row)}\n" for row in rows))


def ran_at(due: datetime, run: int = 1, **end: object) -> tuple[dict[str, object], dict[str, object]]:
    at = due.timestamp()
    start = {"run": run, "due": int(at), "began": at + 0.5, "pid": 4, "since": 5, "boot": "b"}
    return start, {"run": run, "ended": at + 3, "seconds": 2.5, "code": 0, "memory": 4096} | end


def launcher(
    shop: Shop, *lines: str, finished: Finished | None = None, **end: object
) -> list[tuple[str, ...]]:
    """Let the launcher tell these lines and write a run into the spool; return what it will have been called with."""
    called: list[tuple[str, ...]] = []

    def program(argv: tuple[str, ...]) -> Finished:
        called.append(argv)
        start, told = ran_at(shop.machine.clock.now(), run=7, **end)
        remember(shop, start | {"cause": "by root"}, told)
        return finished or Finished(0, "".join(f"{line}\n" for line in lines))

    shop.machine.cron.program = program
    return called


# ---- run


def test_run_starts_the_launcher_with_the_same_order_as_the_line(shop: Shop, sh: Run) -> None:
    called = launcher(shop, "run 7")
    assert sh("run", "shop/backup") == (0, "shop/backup: ran\n", "")
    [argv] = called
    line = shop.machine.files.read("/etc/cron.d/shiftboss-shop") or ""
    assert " ".join(word for word in argv if word not in ("--asked", "root")) in line
    assert argv[-3:] == ("--asked", "root", "shop/backup")


def test_its_exit_status_is_that_of_the_command(shop: Shop, sh: Run) -> None:
    launcher(shop, "waits", "run 7", code=7, output="no space")
    assert sh("run", "shop/backup") == (7, "shop/backup: failed: exit 7; log: no space\n", "")


def test_what_did_not_run_ends_with_1(shop: Shop, sh: Run) -> None:
    def program(_argv: tuple[str, ...]) -> Finished:
        remember(
            shop, {"run": 7, "due": 60, "outcome": "skipped", "reason": "overlap: run 6", "cause": "by root"}
        )
        return Finished(0, "run 7\n")

    shop.machine.cron.program = program
    assert sh("run", "shop/backup") == (1, "shop/backup: skipped: overlap: run 6\n", "")
    assert sh("run", "--detach", "shop/backup") == (1, "shop/backup: skipped: overlap: run 6\n", "")


@pytest.mark.parametrize("line", ["waits", "run 7"])
def test_detached_it_is_only_started(shop: Shop, sh: Run, line: str) -> None:
    launcher(shop, line)
    lot = "waits for its turn" if line == "waits" else "is started"
    words = f"shop/backup {lot}; see: shiftboss why shop/backup\n"
    assert sh("run", "--detach", "shop/backup") == (0, words, "")


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_what_the_launcher_refuses_is_said_in_its_words(
    shop: Shop, sh: Run, options: tuple[str, ...]
) -> None:
    launcher(shop, finished=Finished(125, "", "shiftboss-exec: shop/backup: cannot read x: no\n"))
    code, out, err = sh("run", *options, "shop/backup")
    assert (code, out) == (1, "")
    assert "cannot run shop/backup: cannot read x: no" in err


def test_a_schedule_that_is_declared_and_not_applied_is_not_run(shop: Shop, sh: Run) -> None:
    text = shop.machine.files.read("/etc/shiftboss/projects/shop.toml") or ""
    shop.write_project(f'{text}\n[schedules.new]\ncron = "0 4 * * *"\ncommand = "php new.php"\n')
    called = launcher(shop, "run 7")
    code, _, err = sh("run", "shop/new")
    assert (code, called) == (1, [])
    assert "it is not set up on cron yet" in err
    assert "shiftboss apply shop" in err


@pytest.mark.parametrize("command", ["run", "pause", "resume"])
def test_a_plain_line_is_refused_with_the_way_out(sh: Run, command: str) -> None:
    code, out, err = sh(command, "shop/plain")
    assert (code, out) == (2, "")
    assert "shop/plain is a plain line of cron, which cannot do that" in err
    assert "remove plain = true from [schedules.plain]" in err
    assert "shiftboss apply shop" in err


@pytest.mark.parametrize("command", ["run", "pause", "resume"])
def test_what_is_no_schedule_is_named_also_where_no_engine_runs(shop: Shop, sh: Run, command: str) -> None:
    shop.set_up(QUEUE)
    code, _, err = sh(command, "shop/back")
    assert (code, "shop has no worker or schedule 'back'" in err) == (2, True)
    code, _, err = sh(command, "shop/queue")
    assert (code, "shop/queue is no schedule" in err) == (2, True)


# ---- pause, resume


def test_a_pause_is_roots_alone_is_told_everywhere_and_survives_apply(shop: Shop, sh: Run) -> None:
    assert sh("pause", "shop/backup") == (
        0, "paused shop/backup; again with: shiftboss resume shop/backup\n", "",
    )  # fmt: skip
    facts = shop.machine.files.stat(PAUSED)
    assert facts
    assert (facts.uid, facts.mode) == (0, 0o600)
    words = "shop/backup does not run: paused by root; again with: shiftboss resume shop/backup"

    def is_told() -> bool:
        status, following = sh("status")[1], sh("why", "shop/backup")[1]
        upcoming = json.loads(sh("next", "--json")[1])
        assert words in status
        assert "It is paused by root; again with: shiftboss resume shop/backup" in following
        assert words in sh("next")[2]
        paused = {row["target"]: row.get("paused") for row in upcoming}
        assert paused == {"shop/backup": "root", "shop/scheduler": None, "shop/plain": None}
        return True

    assert is_told()
    shop.set_up(ScheduleRequest("more", cron="0 4 * * *", command="php more.php"))
    shop.apply()
    shop.remove("more")
    assert is_told()
    assert sh("resume", "shop/backup") == (0, "resumed shop/backup\n", "")
    assert shop.machine.files.read(PAUSED) is None
    assert words not in sh("status")[1]


def test_the_name_of_a_project_means_all_that_can_be_paused(shop: Shop, sh: Run) -> None:
    assert sh("pause", "shop")[0] == 0
    text = shop.machine.files.read(PAUSED) or ""
    assert json.loads(text)["paused"] == {"backup": "root", "scheduler": "root"}
    assert sh("resume", "shop/scheduler")[0] == 0
    assert json.loads(shop.machine.files.read(PAUSED) or "")["paused"] == {"backup": "root"}


def test_a_project_of_which_nothing_can_be_paused_is_refused_with_the_way_out(shop: Shop, sh: Run) -> None:
    for name in ("backup", "scheduler"):
        shop.remove(name)
    code, _, err = sh("pause", "shop")
    assert (code, "shop/plain is a plain line of cron" in err) == (2, True)


def test_what_is_removed_is_not_paused_any_more(shop: Shop, sh: Run) -> None:
    sh("pause", "shop/backup", "shop/scheduler")
    shop.remove("backup")
    assert json.loads(shop.machine.files.read(PAUSED) or "")["paused"] == {"scheduler": "root"}
    shop.remove()
    assert shop.machine.files.read(PAUSED) is None


def test_a_target_that_means_nothing_leaves_the_others_as_they_are(shop: Shop, sh: Run) -> None:
    assert sh("pause", "shop/backup", "shop/plain")[0] == 2
    assert shop.machine.files.read(PAUSED) is None


def test_a_file_of_pauses_that_says_nothing_sensible_is_named(shop: Shop, sh: Run) -> None:
    shop.machine.files.write(PAUSED, "{}", mode=0o600)
    code, _, err = sh("pause", "shop/backup")
    assert code == 2
    assert f"cannot tell which schedules are paused: {PAUSED}" in err
    assert "remove the file" in err


# ---- why


def at(shop: Shop, days: int, hour: int = 2, minute: int = 30) -> datetime:
    """Return a time so many days ago."""
    now = shop.machine.clock.now()
    return (now - timedelta(days=days)).replace(hour=hour, minute=minute, second=0, microsecond=0)


def asked(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")


def test_why_tells_of_the_run_of_that_minute(shop: Shop, sh: Run) -> None:
    remember(shop, *ran_at(at(shop, 3)), *ran_at(at(shop, 2), run=2, code=3))
    _, out, _ = sh("why", "shop/backup", asked(at(shop, 3)))
    assert "it ran well" in out
    assert "Run 1 began" in out
    assert "it failed (exit 3" in sh("why", "shop/backup")[1], "without a time: the last one"


def test_why_tells_that_cron_did_not_start_it(shop: Shop, sh: Run) -> None:
    remember(shop, *ran_at(at(shop, 3)), *ran_at(at(shop, 1), run=2))
    _, out, _ = sh("why", "shop/backup", asked(at(shop, 2)))
    assert f"shop/backup was due at {at(shop, 2):%Y-%m-%d %H:%M:%S}: it was missed" in out
    assert "(cron did not start it: the daemon or the server was down, or it had other times then)" in out
    [row] = json.loads(sh("why", "shop/backup", asked(at(shop, 2)), "--json")[1])
    assert (row["outcome"], row["run"]) == ("missed", None)


def test_why_does_not_doubt_the_times_of_a_line_that_was_there_already(shop: Shop, sh: Run) -> None:
    shop.machine.clock.pass_by(5 * 86_400)
    remember(shop, *ran_at(at(shop, 3)), *ran_at(at(shop, 1), run=2))
    _, out, _ = sh("why", "shop/backup", asked(at(shop, 2)))
    assert "(cron did not start it: the daemon or the server was down)" in out


@pytest.mark.parametrize(("days", "minute"), [(2, 31), (4, 30), (-1, 30)])
def test_why_does_not_blame_cron_for_what_was_not_due_not_remembered_or_is_to_come(
    shop: Shop, sh: Run, days: int, minute: int
) -> None:
    remember(shop, *ran_at(at(shop, 3)))
    _, out, _ = sh("why", "shop/backup", asked(at(shop, days, minute=minute)))
    assert ("was not due at" if days > 0 else "is still to come") in out
    assert "missed" not in out


def test_why_finds_a_run_that_somebody_asked_for_within_its_minute(shop: Shop, sh: Run) -> None:
    moment = at(shop, 2, 14, 7) + timedelta(seconds=41)
    start, end = ran_at(moment)
    remember(shop, start | {"cause": "by root"}, end)
    _, out, _ = sh("why", "shop/backup", asked(moment))
    assert f"was made due at {moment:%Y-%m-%d %H:%M:%S} by root: it ran well." in out
    assert "late" not in out


def test_the_end_of_an_output_cannot_control_the_terminal_of_who_asks_why(shop: Shop, sh: Run) -> None:
    due = shop.machine.clock.now() - timedelta(minutes=5)
    remember(shop, *ran_at(due, code=3, output="\x1b]0;x\x07no \x9b2Jspace\x1b[2J\n"))

    code, out, _ = sh("why", "shop/backup")

    assert code == 0
    assert "no 2Jspace[2J" in out
    assert set(out) & set("\x1b\x07\x9b") == set()


def test_history_since_a_time_knows_what_has_ended_since_then(shop: Shop, sh: Run) -> None:
    now = shop.machine.clock.now()
    remember(shop, *ran_at(now - timedelta(hours=3), ended=now.timestamp() - 60, code=4))
    _, out, _ = sh("history", "shop/backup", "--failed", "--since", "1h")
    assert "shop/backup  failed" in out


def test_how_long_it_takes_until_the_next_time_is_real_time_where_the_clock_changes(
    shop: Shop, sh: Run
) -> None:
    """In the night to 28 March 2027 Riga has no hour from 03:00 to 04:00."""
    clock = shop.machine.clock
    clock.pass_by((datetime(2027, 3, 28, 2, 45, tzinfo=clock.zone()) - clock.now()).total_seconds())
    _, out, _ = sh("next", "-n", "1")
    assert next(line for line in out.splitlines() if "shop/backup" in line).split()[4] == "22h"
    _, out, _ = sh("why", "shop/backup")
    assert "in 22h 45m " in out


def test_what_is_about_one_run_wants_one_schedule(shop: Shop, sh: Run) -> None:
    for arguments in (("why", "shop"), ("logs", "shop", "--run", "1")):
        code, _, err = sh(*arguments)
        assert (code, "several" in err) == (2, True), err
        assert f"Name it: shiftboss {arguments[0]} shop/" in err


def test_why_of_a_time_to_come_says_that_it_is_to_come(shop: Shop, sh: Run) -> None:
    _, out, _ = sh("why", "shop/backup", "2030-01-01T02:00")
    assert "2030-01-01 02:00 is still to come" in out
    assert "was not due" not in out


def test_next_knows_schedules_that_the_clock_never_makes_due(shop: Shop, sh: Run) -> None:
    shop.write_project(
        '[project]\nuser = "shop_user"\n[schedules.warm]\ncron = "@reboot"\ncommand = "php artisan x"\n'
    )
    _, out, _ = sh("next")
    assert "No schedule is set up" not in out
    assert "shop/warm" in out
    assert "@reboot" in out


class EndingNow(list[Running]):
    """Other processes of a server: while somebody looks whether a launcher is among them it tells the end, and ends."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def __iter__(self) -> Iterator[Running]:
        self._tell()
        return iter(())


def test_a_run_that_ends_while_its_history_is_read_is_not_unknown(shop: Shop, sh: Run) -> None:
    start, end = ran_at(at(shop, 1))
    remember(shop, start)
    shop.machine.processes.others = EndingNow(lambda: remember(shop, start, end))
    _, out, _ = sh("history", "shop/backup")
    assert "shop/backup  ran" in out


def test_how_long_a_run_took_is_not_told_if_the_clock_was_set_back_meanwhile(shop: Shop, sh: Run) -> None:
    due = at(shop, 1)
    remember(shop, *ran_at(due, ended=due.timestamp() - 3600))
    _, out, _ = sh("why", "shop/backup")
    assert "it ran well" in out
    assert "took" not in out
    told = json.loads(sh("status", "--json")[1])["projects"][0]["schedules"]
    assert next(each for each in told if each["name"] == "backup")["last"]["duration_seconds"] is None
