"""Runs that cron starts through the launcher: what is locked, ended, logged and written down, whatever dies."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confine_rig import DEADLINE, PYTHON, World, world
from tests.waiting import wait_until

from shiftboss.core import wire
from shiftboss.core.facts import Launcher, SpooledRun
from shiftboss.core.run_log import output_of
from shiftboss.core.run_policy import Policy
from shiftboss.core.spec import Schedule
from shiftboss.core.spool import read_spool
from shiftboss.launcher.run import started

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(60)]
UNIT = "job"
SLEEP = ("/bin/sleep", "1000")


class Cron:
    """Starts a schedule as cron does, and reads what became of it."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.spool = made.top / "spool"
        self.logs = made.top / "own-logs"
        self.logs.mkdir()
        self.log = self.logs / f"{UNIT}.log"
        self.log.touch()
        os.chown(self.log, made.mine.account.uid, made.mine.account.gid)
        self.started: list[subprocess.Popen[bytes]] = []

    def order(
        self, *argv: str, overlap: str = "skip", timeout: int = 0, stop: float = 5.0, keep: int = 0
    ) -> None:
        options = {"overlap": overlap, "timeout_seconds": timeout, "keeps_output": keep}
        policy = wire.Policy(kind="schedule", log_path=str(self.log), options=options)
        self.made.order(
            self.made.entry(*argv, unit=UNIT, stop=wire.StopTerms(wait_seconds=stop), policy=policy)
        )

    def start(self) -> "subprocess.Popen[bytes]":
        *command, _ = self.made.command()
        command += ["--run", str(self.spool), f"{self.made.mine.name}/{UNIT}"]
        self.started.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
        return self.started[-1]

    def run(self) -> SpooledRun:
        """Run it to its end; return what is told of it."""
        process = self.start()
        out, _ = process.communicate(timeout=DEADLINE)
        assert (process.returncode, out) == (0, b"")
        return self.rows()[-1]

    def rows(self, *, inside: bool = False) -> tuple[SpooledRun, ...]:
        path = self.spool / self.made.mine.name / UNIT
        text = path.read_text() if path.exists() else ""
        schedule = Schedule(
            self.made.mine, UNIT, "custom", "cron", "* * * * *", ("x",), policy=Policy(asks_inside=inside)
        )
        return read_spool(text, schedule, lives)

    def outcomes(self) -> list[str | None]:
        return [row.outcome for row in self.rows()]

    def programs(self, word: str) -> list[int]:
        """Return the pids of my user's programs with a word in their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if word.encode() in path.read_bytes() and path.stat().st_uid == self.made.mine.account.uid:
                    found.append(int(path.parts[2]))
            except OSError:
                continue
        return found


def lives(launcher: Launcher) -> bool:
    return started(launcher.pid) == launcher.since


def is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(name="cron")
def fixture_cron() -> Iterator[Cron]:
    with world() as made:
        cron = Cron(made)
        yield cron
        for process in cron.started:
            process.kill()
            process.communicate()


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


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "closed"])
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
        os.mkfifo(cron.log)
        os.chown(cron.log, 0, 0)
        cron.log.chmod(0o600)
    else:
        cron.log.write_text("")
        cron.log.chmod(0o600)
    cron.order("/bin/echo", "lost")
    row = cron.run()
    assert row.outcome == "ran"
    assert row.reason.startswith(f"cannot write {cron.log}: ")
    assert secret.read_text() == "as it was"


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
