"""The machine misbehaves: no crash, no lost process, a clear report."""

import contextlib
import os
import pwd
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_rig import PYTHON, EngineRig, engine_rig, eventually
from keeper_rig import SOURCE, lives, until

from shiftboss.api import calls
from shiftboss.api.client import Client
from shiftboss.core.errors import HostError
from shiftboss.host.engine_account import engine_identity


def engine_with(code: str) -> list[str]:
    """Return an engine that runs some code first."""
    start = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{code}\nimport shiftboss.engine.main as m; m.run()"
    )
    return [sys.executable, "-c", start]


def troubles(rig: EngineRig) -> str:
    with rig.client() as client:
        return "\n".join(client.status().troubles)


def crash(rig: EngineRig) -> None:
    """Kill the first process and wait for its next run."""
    first = rig.processes()[0]
    os.kill(first.pid or 0, signal.SIGKILL)
    until(lambda: rig.processes()[0].run > first.run and rig.processes()[0].pid, "the next run")


@contextlib.contextmanager
def full_disk(path: Path, size: str = "1m") -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "none", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(descriptor, b"x" * 4096):
            pass
    os.close(descriptor)


@pytest.mark.needs_root
def test_a_full_disk_below_the_store_stops_nothing_and_is_reported_until_it_is_over() -> None:
    with engine_rig() as rig, full_disk(rig.state):
        rig.expects_errors = True
        rig.launch(rig.worker(processes=2))
        rig.until_running(2)
        fill(rig.state / "filler")

        def in_trouble() -> bool:
            crash(rig)
            return "what happens is not remembered" in troubles(rig)

        until(in_trouble, "a report of the full disk", 60)
        crash(rig)
        with rig.client() as client:
            assert client.restart("app/queue:2", wait_seconds=10).complete
        (rig.state / "filler").unlink()
        until(lambda: "not remembered" not in troubles(rig), "recovery", 20)
        runs = [e.run for e in rig.history("exit") if e.process == 1]
        assert runs == list(range(1, max(runs) + 1)), "an end was forgotten"


@pytest.mark.needs_root
def test_a_state_directory_that_cannot_be_used_stops_nothing() -> None:
    with engine_rig() as rig:
        rig.expects_errors = True
        rig.engine_state.write_text("this is no directory")
        rig.launch(rig.worker())
        rig.until_running(1)
        assert "what happens is not remembered" in troubles(rig)
        crash(rig)
        old = rig.kill_engine()
        rig.next_engine(old)
        rig.until_running(1)
        crash(rig)
        with rig.client() as client, pytest.raises(HostError):
            client.history(calls.History())


def test_a_damaged_store_is_moved_aside_and_everything_goes_on() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        [before] = rig.until_running(1)
        crash(rig)
        until(lambda: rig.history("exit"), "the first end in the history")
        os.kill(rig.engine_pid, signal.SIGSTOP)
        for file in rig.engine_state.glob("engine.db*"):
            file.write_bytes(os.urandom(20_000))
        old = rig.kill_engine()
        rig.next_engine(old)
        [after] = rig.until_running(1)
        assert after.run == before.run + 1
        assert "begins anew" in troubles(rig)
        crash(rig)
        until(lambda: 2 in [e.run for e in rig.history("exit")], "the next end in the new history")


def test_a_log_that_cannot_be_written_stops_nothing_and_is_reported() -> None:
    with engine_rig() as rig:
        entry = rig.worker("queue", "/bin/sh", "-c", "while echo hello; do sleep 0.01; done")
        rig.launch(entry._replace(policy=entry.policy._replace(log_path="/proc/nosuch/queue.log")))
        rig.until_running(1)

        def trouble() -> str:
            with rig.client() as client:
                [project] = client.status().projects
            return project.units[0].log_trouble or ""

        assert "/proc/nosuch" in until(trouble, "the report")
        assert rig.states() == ["RUNNING"]


def test_an_engine_without_a_keeper_does_not_wait_for_ever_for_a_log_that_cannot_be_written() -> None:
    with engine_rig() as rig:
        rig.expects_errors = True
        entry = rig.worker("queue", "/bin/sh", "-c", "while echo hello; do sleep 0.01; done")
        rig.write_all(entry._replace(policy=entry.policy._replace(log_path="/proc/nosuch/queue.log")))
        rig.start(
            *engine_with("import shiftboss.engine.wiring as w; w._HOPELESS_SECONDS = 0.5"),
            "--state",
            str(rig.engine_state),
        )
        rig.until_running(1)
        engine = rig.engine_pid
        rig.kill_keeper()
        eventually(lambda: not lives(engine), "the end of the engine")
        assert "the keeper is gone and output is lost: cannot write to /proc/nosuch/queue.log" in rig.log


@pytest.mark.needs_root
def test_a_full_disk_below_the_logs_stops_no_worker_and_is_told_until_it_is_over() -> None:
    """The worker counts in the file `count` whatever becomes of its output; 4 kB for each number."""
    with engine_rig() as rig, full_disk(rig.logs):
        os.chown(rig.logs, *engine_identity())
        count = rig.root / "count"
        script = "import sys\nfor n in range(10**9):\n  print(n, 'x' * 4000, flush=True); open(sys.argv[1], 'w').write(str(n))"
        loud = rig.worker("loud", PYTHON, "-c", script, str(count), policy_log_max_bytes=0)
        quiet = rig.worker("quiet", policy_log_path=str(rig.root / "elsewhere" / "quiet.log"))
        rig.launch(loud, quiet)

        def trouble() -> str:
            with rig.client() as client:
                [project] = client.status().projects
            return next(unit.log_trouble for unit in project.units if unit.address == "app/loud") or ""

        assert "no space left" in until(trouble, "the report of the full disk", 30)
        before = until(lambda: int(count.read_text() or 0), "a number")
        until(lambda: int(count.read_text() or 0) > before + 100, "the worker goes on", 30)
        assert [process.run for process in rig.until_running(2)] == [1, 1]
        (rig.logs / "loud.log").unlink()
        until(lambda: not trouble(), "recovery", 30)
        rig.stop()


@pytest.mark.needs_root
def test_a_read_only_state_directory_stops_nothing_and_is_told() -> None:
    with engine_rig() as rig:
        rig.expects_errors = True
        rig.launch(rig.worker())
        rig.until_running(1)
        assert rig.stop(30) == 0
        with read_only(rig.state):
            rig.launch(rig.worker())
            rig.until_running(1)
            crash(rig)
            until(lambda: "what happens is not remembered" in troubles(rig), "the report")
            with rig.client() as client:
                assert client.stop("app", wait_seconds=10).complete
            assert rig.stop(30) == 0


@pytest.mark.needs_root
def test_a_state_directory_that_is_read_only_from_the_first_start_on_is_refused_in_one_line() -> None:
    with engine_rig() as rig, read_only(rig.state):
        rig.launch(rig.worker())
        assert rig.process
        assert rig.process.wait(15) == 1
        assert rig.log == (
            f"shiftboss keeper: cannot start: cannot read or make {rig.state}/instance: Read-only file system\n"
        )


def test_a_clock_that_is_stepped_back_and_forth_changes_no_decision() -> None:
    """The wall clock of this engine jumps by an hour both ways, several times a second."""
    code = (
        "import time\nreal = time.time\ntime.time = lambda: real() + (3600 if int(real() * 5) % 2 else -3600)"
    )
    with engine_rig() as rig:
        rig.write_all(
            rig.worker("queue"), rig.worker("short", "/bin/sh", "-c", "exit 3"), rig.worker("slow", wait=0.5)
        )
        rig.start(*engine_with(code), "--state", str(rig.engine_state))
        until(lambda: (rig.states() or [""])[0] == "RUNNING", "running")
        until(lambda: rig.processes("app/short")[0].run >= 3, "the third run of what backs off", 10)
        assert rig.processes("app/short")[0].run <= 4
        with rig.client() as client:
            assert client.restart("app/slow", wait_seconds=10).complete
        for process in rig.processes():
            assert process.uptime_seconds is None or 0 <= process.uptime_seconds < 60
        crash(rig)


@pytest.mark.needs_root
def test_too_few_descriptors_are_reported_and_everything_runs() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (110, 110))"
    with engine_rig() as rig:
        rig.write_all(rig.worker(processes=60))
        rig.start(*engine_with(code), "--state", str(rig.engine_state))
        rig.until_running(60)
        assert "too many open files" in troubles(rig)
        with rig.client() as client:
            assert client.scale("app/queue", 5, wait_seconds=20).complete
            assert client.stop("app", wait_seconds=20).complete


NO_MORE = (
    "cannot run /bin/sleep: Resource temporarily unavailable"
    " (its user has as many processes as its limit NPROC allows)"
)


def free_uid() -> int:
    """Return a uid that has no account and no process: the limit counts everything that a user runs."""
    used = {path.stat().st_uid for path in Path("/proc").iterdir() if path.name.isdigit()}
    used |= {account.pw_uid for account in pwd.getpwall()}
    return next(uid for uid in range(random.randrange(300_000, 400_000), 500_000) if uid not in used)


@pytest.mark.needs_root
def test_a_user_with_as_many_processes_as_allowed_backs_off_with_that_reason_until_there_is_room() -> None:
    """Root forks, and becomes a user who is over the limit: nothing refuses that but execve(2).

    The kernel looks whether the user is over the limit before it counts the one who comes: one more gets in.
    """
    uid = free_uid()
    with engine_rig() as rig:
        limited = rig.worker(processes=3, uid=uid, gid=uid, user="nobody", rlimits={"NPROC": (1, 1)})
        rig.launch(limited)
        until(lambda: sorted(rig.states()) == ["BACKOFF", "RUNNING", "RUNNING"], "two of three", 30)
        [refused] = [process for process in rig.processes() if process.state == "BACKOFF"]
        first = next(process for process in rig.processes() if process.state == "RUNNING")
        assert (refused.reason, refused.pid) == (NO_MORE, None)
        assert NO_MORE in {event.reason for event in rig.history() if event.process == refused.process}

        with rig.client() as client:
            assert client.stop(f"app/queue:{first.process}", wait_seconds=10).complete

        # at its next try, and nobody asked for it
        until(
            lambda: sorted(rig.states()) == ["RUNNING", "RUNNING", "STOPPED"], "the one that was refused", 30
        )


@pytest.mark.needs_root
def test_a_program_that_may_start_no_child_ends_and_its_own_words_are_the_reason() -> None:
    uid = free_uid()
    with engine_rig() as rig:
        shell = ("/bin/sh", "-c", "sleep 1000 & wait")
        limited = {"NPROC": (1, 1)}
        rig.launch(
            rig.worker(
                "queue", *shell, uid=uid, gid=uid, user="nobody", rlimits=limited, policy_start_seconds=1.0
            )
        )
        # the reason comes a moment after the state: the end of the log is read first
        reason = until(lambda: rig.processes()[0].reason, "the reason")
        assert reason.startswith("exit 2"), reason
        assert "fork" in reason


def test_who_asks_while_a_dead_keepers_processes_end_is_told_what_is_waited_for() -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(1000)"
    )
    with engine_rig() as rig:
        rig.expects_errors = True  # the engine says that its keeper is gone
        entry = rig.worker("queue", PYTHON, "-c", stubborn, processes=2, wait=600.0)
        rig.launch(entry)
        pids = [process.pid or 0 for process in rig.until_running(2)]
        until(lambda: rig.read_log().count("ready") == 2, "their start")
        engine = rig.engine_pid
        rig.kill_keeper()

        def still_told() -> str:
            with Client(rig.socket) as client:
                return "\n".join(client.status().troubles)

        until(lambda: "the keeper is gone" in still_told(), "the engine's own words")
        os.kill(engine, signal.SIGKILL)
        until(lambda: not lives(engine), "the end of the engine")
        rig.launch(entry)

        def refused() -> str:
            with pytest.raises(HostError) as caught:
                Client(rig.socket)
            return caught.value.message

        waits = "shiftboss is starting: it waits for 2 processes of an earlier keeper"
        until(lambda: refused() == waits, "the words for who asks")
        assert "waiting for 2 processes of an earlier keeper to end" in rig.log
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

        assert {process.pid for process in rig.until_running(2)}.isdisjoint(pids)
        assert not (rig.run / "starting").exists()


def test_what_a_keeper_waited_for_that_was_killed_is_not_told(tmp_path: Path) -> None:
    for text in ("1 3 processes\n", "999999999 3 processes\n", "nonsense", ""):
        (tmp_path / "starting").write_text(text)
        with pytest.raises(HostError, match="not running: nobody answers"):
            Client(str(tmp_path / "api.sock"))
