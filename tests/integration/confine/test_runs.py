"""Runs that cron starts through the launcher: what is locked, ended, logged and written down, whatever dies.

Each test with a run that is only another user's, and with one that has limits and isolation besides.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from confine_rig import DEADLINE, PYTHON
from runs_rig import UNIT, Cron, cron_runs, is_held
from tests.waiting import wait_until

from shiftboss.core.run_log import output_of
from shiftboss.core.spec import Limits

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(60)]
SLEEP = ("/bin/sleep", "1000")
CONFINED = {"bounds": Limits(memory_bytes=256 << 20, tasks_max=50, cpu_percent=90), "level": "standard"}


@pytest.fixture(name="cron", params=[{}, CONFINED], ids=["plain", "confined"])
def fixture_cron(request: pytest.FixtureRequest) -> Iterator[Cron]:
    with cron_runs(request.param) as cron:
        yield cron


def test_a_run_is_logged_and_its_outcome_is_roots_alone(cron: Cron) -> None:
    cron.order("/bin/sh", "-c", "id -u; echo to stderr >&2; printf unfinished")
    row = cron.run()
    assert (row.run, row.outcome, row.reason, row.exit_status) == (1, "ran", "", 0)
    assert row.began
    assert row.ended
    assert row.due % 60 == 0
    assert 0 <= row.began - row.due < 60
    lines = cron.log.read_text().splitlines()
    assert output_of(lines, 1)[1:-1] == [str(cron.made.mine.account.uid), "to stderr", "unfinished"]
    for path in (cron.spool, *cron.spool.rglob("*")):
        facts = path.stat()
        assert (facts.st_uid, facts.st_mode & 0o077) == (0, 0), path
    assert cron.run().run == 2


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("/bin/sh", "-c", "echo went wrong; exit 3"), 3, "exit 3; log: went wrong"),
        (("/bin/sh", "-c", "kill -SEGV $$"), 139, "crashed"),
        (("/no/such/program",), 127, "cannot run /no/such/program: No such file or directory"),
    ],
)
def test_a_failure_is_told_with_its_reason(
    cron: Cron, argv: tuple[str, ...], status: int, words: str
) -> None:
    cron.order(*argv)
    row = cron.run()
    assert (row.outcome, row.exit_status) == ("failed", status)
    assert words in row.reason


def test_tasks_that_fail_inside_a_good_run_are_named(cron: Cron) -> None:
    cron.order("/bin/echo", "Scheduled command ['artisan' shop:bill] failed with exit code [1].", keep=1)
    cron.run()
    [row] = cron.rows(inside=True)
    assert row.outcome == "failed"
    assert "shop:bill" in row.reason


@pytest.mark.parametrize(
    "failure",
    [
        "  2026-11-28 00:00:00 Running ['artisan' shop:bill] .... 35ms FAIL",
        "  2026-11-28 00:00:00 Running ['artisan' shop:bill]\ncannot reach the bank\n .... 35ms FAIL",
        "Scheduled command ['artisan' shop:bill] failed with exit code [3].",
    ],
)
def test_tasks_that_fail_before_much_other_output_are_named_too(cron: Cron, failure: str) -> None:
    """A scheduler with many tasks at the full hour, or one whose failures come with long stack traces."""
    others = "for n in $(seq 300); do echo \"  2026-11-28 00:00:01 Running ['artisan' shop:other$n] ...... 12ms DONE\"; done"
    cron.order("/bin/sh", "-c", f'echo "$1"; {others}', "sh", failure, keep=1)
    cron.run()
    row = cron.rows(inside=True)[-1]
    assert row.outcome == "failed"
    assert row.reason.startswith("task failed inside: shop:bill")


def test_a_second_run_is_skipped_while_the_first_lives(cron: Cron) -> None:
    cron.order(*SLEEP)
    first = cron.start()
    wait_until(lambda: cron.outcomes() == [None] and cron.programs("sleep"), DEADLINE, what="the first run")
    skipped = cron.run()
    assert (skipped.outcome, skipped.reason) == (
        "skipped",
        "overlap: run 1 of an earlier occurrence has not ended",
    )
    first.terminate()
    assert first.wait(DEADLINE) == 0
    assert cron.rows()[0].reason == "its launcher was asked to end"
    assert not cron.programs("sleep")


def test_one_occurrence_waits_and_no_more(cron: Cron) -> None:
    cron.order("/bin/sleep", "2", overlap="queue")
    first = cron.start()
    wait_until(lambda: cron.outcomes() == [None], DEADLINE, what="the first run")
    second = cron.start()
    waiting = cron.spool / cron.made.mine.name / f"{UNIT}.waiting"
    wait_until(lambda: is_held(waiting), DEADLINE, what="the second to wait")
    third = cron.run()
    assert (third.outcome, third.reason) == ("skipped", "overlap: one occurrence waits already")
    assert [first.wait(DEADLINE), second.wait(DEADLINE)] == [0, 0]
    ran = [row for row in cron.rows() if row.outcome == "ran"]
    assert len(ran) == 2
    assert ran[0].ended
    assert ran[1].began
    assert ran[1].began >= ran[0].ended - 0.05


def test_a_later_occurrence_replaces_the_run(cron: Cron) -> None:
    cron.order(*SLEEP, overlap="replace")
    first = cron.start()
    wait_until(lambda: cron.programs("sleep"), DEADLINE, what="the first program")
    [old] = cron.programs("sleep")
    cron.start()
    assert first.wait(DEADLINE) == 0
    wait_until(lambda: cron.programs("sleep") not in ([], [old]), DEADLINE, what="the second program")
    assert [(row.outcome, row.reason) for row in cron.rows()] == [
        ("failed", "replaced by a later occurrence"),
        (None, ""),
    ]


def test_runs_side_by_side_where_that_is_wanted(cron: Cron) -> None:
    cron.order(*SLEEP, overlap="allow")
    cron.start()
    cron.start()
    wait_until(lambda: len(cron.programs("sleep")) == 2, DEADLINE, what="both programs")
    assert cron.outcomes() == [None, None]


def test_what_takes_too_long_is_ended_with_all_that_it_started(cron: Cron) -> None:
    program = "import subprocess, time; subprocess.Popen(['/bin/sleep', '1000'], start_new_session=True); time.sleep(1000)"
    cron.order(PYTHON, "-c", program, timeout=1)
    row = cron.run()
    assert (row.outcome, row.reason) == ("timed_out", "it ran longer than 1 s")
    assert not cron.programs("sleep")


def test_a_time_limit_may_be_longer_than_poll_can_wait_at_once(cron: Cron) -> None:
    cron.order("/bin/true", timeout=366 * 86_400)
    assert cron.run().outcome == "ran"


def test_what_does_not_listen_is_killed(cron: Cron) -> None:
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
    )
    cron.order(PYTHON, "-c", program, timeout=1, stop=1.0)
    row = cron.run()
    assert (row.outcome, row.exit_status) == ("timed_out", 137)


def test_what_a_good_run_leaves_in_the_background_lives_on(cron: Cron) -> None:
    """Laravel: `( command; php artisan schedule:finish ) &`."""
    cron.order("/bin/sh", "-c", "/bin/sleep 1000 &")
    assert cron.run().outcome == "ran"
    [left] = cron.programs("sleep")
    assert cron.run().outcome == "ran"
    assert left in cron.programs("sleep")


def test_the_time_limit_ends_also_what_a_run_has_put_into_the_background(cron: Cron) -> None:
    """Laravel again: what outlives a good run on purpose does not outlive one that took too long."""
    cron.order("/bin/sh", "-c", "/bin/sleep 1000 & setsid /bin/sleep 2000 & exec /bin/sleep 3000", timeout=1)
    row = cron.run()
    assert (row.outcome, row.reason) == ("timed_out", "it ran longer than 1 s")
    assert not cron.programs("sleep")


def test_a_stop_ends_also_what_a_run_has_put_into_the_background(cron: Cron) -> None:
    cron.order("/bin/sh", "-c", "setsid /bin/sleep 2000 & exec /bin/sleep 3000")
    launcher = cron.start()
    wait_until(lambda: len(cron.programs("sleep")) == 2, DEADLINE, what="both programs")
    launcher.terminate()
    assert launcher.wait(DEADLINE) == 0
    assert not cron.programs("sleep")


def test_a_launcher_that_is_killed_leaves_an_unknown_and_its_program_is_not_doubled(cron: Cron) -> None:
    cron.order(*SLEEP)
    first = cron.start()
    wait_until(lambda: cron.programs("sleep"), DEADLINE, what="the program")
    wait_until(
        lambda: (cron.spool / cron.made.mine.name / f"{UNIT}.lock").read_text(), DEADLINE, what="the lock"
    )
    first.send_signal(signal.SIGKILL)
    first.wait(DEADLINE)
    skipped = cron.run()
    assert skipped.outcome == "skipped"
    assert cron.rows()[0].outcome == "unknown"
    [program] = cron.programs("sleep")
    os.kill(program, signal.SIGKILL)
    cron.order("/bin/true")
    wait_until(lambda: not cron.programs("sleep"), DEADLINE, what="its end")
    assert cron.run().outcome == "ran"


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "own fifo", "closed"])
def test_a_log_that_is_not_to_be_had_does_not_keep_it_from_running(cron: Cron, kind: str) -> None:
    """Opened as the project's user, never through a link: what is root's stays as it is."""
    secret = cron.made.top / "roots"
    secret.write_text("as it was")
    cron.log.unlink()
    if kind == "link":
        cron.log.symlink_to(secret)
    elif kind == "directory":
        cron.log.mkdir()
    elif kind == "fifo":
        os.mkfifo(cron.log, 0o600)
    elif kind == "own fifo":
        os.mkfifo(cron.log, 0o600)
        os.chown(cron.log, cron.made.mine.account.uid, -1)
    else:
        cron.log.write_text("")
        cron.log.chmod(0o600)
    cron.order("/bin/echo", "lost")
    row = cron.run()
    assert row.outcome == "ran"
    assert row.reason.startswith(f"cannot write {cron.log}: ")
    assert secret.read_text() == "as it was"


def test_the_end_of_a_run_that_fails_is_told_also_without_a_log(cron: Cron) -> None:
    cron.log.unlink()
    os.mkfifo(cron.log, 0o600)
    os.chown(cron.log, cron.made.mine.account.uid, -1)
    cron.order("/bin/sh", "-c", "echo lost; exit 3")
    row = cron.run()
    assert (row.outcome, row.exit_status, row.output) == ("failed", 3, "")
    assert row.reason == f"exit 3; cannot write {cron.log}: it is no regular file"


def test_a_paused_schedule_is_skipped_and_runs_again_when_that_is_over(cron: Cron) -> None:
    cron.order("/bin/true")
    cron.pause("ann")
    row = cron.run()
    assert (row.outcome, row.reason, row.began) == ("skipped", "paused by ann", None)
    cron.pause("ann", unit="other")
    assert cron.run().outcome == "ran"
    cron.pause("")
    assert cron.run().outcome == "ran"


def test_what_waited_for_its_turn_is_skipped_if_it_was_paused_meanwhile(cron: Cron) -> None:
    cron.order(*SLEEP, overlap="queue")
    first = cron.start()
    wait_until(lambda: cron.programs("sleep"), DEADLINE, what="the first program")
    second = cron.start()
    waiting = cron.spool / cron.made.mine.name / f"{UNIT}.waiting"
    wait_until(lambda: is_held(waiting), DEADLINE, what="the second to wait")
    cron.pause("ann")
    first.terminate()
    assert [first.wait(DEADLINE), second.wait(DEADLINE)] == [0, 0]
    assert (cron.rows()[-1].outcome, cron.rows()[-1].reason) == ("skipped", "paused by ann")
    assert not is_held(cron.spool / cron.made.mine.name / f"{UNIT}.lock")


def test_whether_it_is_paused_must_be_known(cron: Cron) -> None:
    """A file that others could have written neither stops a schedule nor lets it run unseen."""
    cron.order("/bin/true")
    cron.pause("ann")
    path = cron.made.top / "orders" / f"{cron.made.mine.name}.paused"
    path.chmod(0o666)
    process = cron.start()
    out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, b"can be written by others than root" in out) == (125, True)
    assert cron.rows()[-1].outcome == "failed"


def test_who_asks_for_a_run_is_told_which_it_is_and_the_history_says_who_it_was(cron: Cron) -> None:
    """Also while the schedule is paused: that holds back what comes by itself."""
    cron.order("/bin/sh", "-c", "exit 5")
    cron.pause("ann")
    process = cron.start(asked="root")
    out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"run 1\n")
    [row] = cron.rows()
    assert (row.run, row.cause, row.outcome, row.exit_status) == (1, "by root", "failed", 5)
    assert row.began
    assert 0 <= row.began - row.due < 2
    assert ", by root ---" in cron.log.read_text().splitlines()[0]


def test_a_run_that_is_asked_for_respects_the_lock(cron: Cron) -> None:
    cron.order(*SLEEP)
    cron.start()
    wait_until(lambda: cron.programs("sleep"), DEADLINE, what="the first run")
    process = cron.start(asked="root")
    out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"run 2\n")
    row = cron.rows()[-1]
    assert (row.outcome, row.cause) == ("skipped", "by root")
    assert row.reason.startswith("overlap: run 1")


def test_who_asked_may_go_away(cron: Cron) -> None:
    cron.order("/bin/sleep", "1")
    process = cron.start(asked="root")
    assert process.stdout
    process.stdout.close()
    assert process.wait(DEADLINE) == 0
    assert cron.rows()[-1].outcome == "ran"


def test_an_occurrence_without_an_order_is_told_and_cron_gets_the_reason(cron: Cron) -> None:
    cron.order("/bin/true")
    (cron.made.top / "orders" / f"{cron.made.mine.name}.json").unlink()
    process = cron.start()
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 125
    assert b"cannot read" in out
    [row] = cron.rows()
    assert (row.outcome, "cannot read" in row.reason) == ("failed", True)


def test_the_spool_stays_small_and_counts_on(cron: Cron) -> None:
    cron.order("/bin/true")
    cron.run()
    path = cron.spool / cron.made.mine.name / UNIT
    path.write_text(("x" * 1000 + "\n") * 1100 + path.read_text())
    second = cron.run()
    assert second.run == 2
    assert path.stat().st_size < 2000
    assert path.with_name(f"{UNIT}.1").stat().st_size > 1_000_000
    assert cron.run().run == 3


ON_A_SMALL_DISK = """
spool="$1" file="$2"; shift 2
mount -t tmpfs -o size=64k,mode=700 tmpfs "$spool"
"$@"
head -c $((4096 - $(stat --format %s "$file") % 4096)) /dev/zero | tr '\\0' '\\n' >> "$file"
cat /dev/zero > "$spool/filler" 2> /dev/null
"$@"
echo "status $?"
rm "$spool/filler"
"$@"
cat "$file"
"""


def test_a_full_disk_below_the_spool_keeps_nothing_from_running(cron: Cron) -> None:
    """It may be the very job that makes room; cron gets the reason, and the history goes on when there is room."""
    cron.order("/bin/sh", "-c", "echo it ran")
    cron.spool.mkdir()
    file = cron.spool / cron.made.mine.name / UNIT
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", ON_A_SMALL_DISK, "sh")
    process = cron.start(before=(*before, str(cron.spool), str(file)))
    out = process.communicate(timeout=DEADLINE)[0].decode()
    assert cron.log.read_text().count("it ran") == 3, out
    assert "cannot write down what becomes of it: [Errno 28] No space left on device\nstatus 125\n" in out
    file.parent.mkdir(parents=True)
    file.write_text(out.partition("status 125\n")[2])
    assert [(row.run, row.outcome) for row in cron.rows()] == [(1, "ran"), (2, "ran")]
