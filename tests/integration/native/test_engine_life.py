"""Keeper and engine together: processes live, end, wait, and are told about."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from engine_rig import PYTHON, EngineRig, engine_rig, eventually
from keeper_rig import SOURCE, lives, until

from shiftboss.api import calls
from shiftboss.core.errors import UserError


def test_a_killed_process_is_back_at_once() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        [process] = rig.until_running(1)
        os.kill(process.pid or 0, signal.SIGKILL)
        until(lambda: rig.processes()[0].run == 2, "the next run")
        [after] = rig.until_running(1)
        assert after.pid != process.pid
        assert after.restarts == 1
        assert "did not send" in (after.reason or "")


def test_a_program_that_ends_at_once_backs_off_with_its_reason() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", "/bin/sh", "-c", "echo Error: no broker >&2; exit 3"))
        until(
            lambda: rig.states() == ["BACKOFF"] and (rig.processes()[0].next_start_seconds or 0) > 1,
            "longer waits",
        )
        [process] = rig.processes()
        assert process.reason == "exit 3; log: Error: no broker"
        assert process.failures >= 2
        assert "Error: no broker\n" in rig.read_log()


def test_it_waits_for_the_first_release_and_starts_with_it() -> None:
    with engine_rig() as rig:
        rig.current.unlink()
        rig.launch(rig.worker())
        [process] = rig.until_states("WAITING")
        assert process.failures == 0
        assert "current" in (process.reason or "")
        rig.current.symlink_to("releases/1")
        [process] = rig.until_running(1, deadline=5)
        assert process.release == str(rig.releases / "1")
        assert len(rig.history("failure")) == 1


def test_a_missing_command_is_named_and_waited_for() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", "no-such-program"))
        [process] = rig.until_states("WAITING")
        assert "no-such-program" in (process.reason or "")


def test_a_command_that_may_not_be_run_says_so() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", "/etc/passwd"))
        [process] = rig.until_states("BACKOFF")
        assert "ermission denied" in (process.reason or "")


def test_a_new_release_makes_processes_stale_until_they_are_restarted() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        second = rig.releases / "2"
        second.mkdir()
        rig.own(second)
        link = rig.current.with_name("next")
        link.symlink_to("releases/2")
        link.rename(rig.current)
        until(lambda: rig.processes()[0].stale, "stale")
        with rig.client() as client:
            changed = client.restart("app/queue", wait_seconds=10)
        [process] = changed.processes
        assert changed.complete
        assert process.state == "RUNNING"
        assert process.new_pid not in (None, process.old_pid)
        [now] = rig.processes()
        assert (now.stale, now.release) == (False, str(second))


def test_a_deleted_release_is_told() -> None:
    with engine_rig() as rig:
        second = rig.releases / "2"
        second.mkdir()
        rig.own(second)
        rig.launch(rig.worker())
        rig.until_running(1)
        link = rig.current.with_name("next")
        link.symlink_to("releases/2")
        link.rename(rig.current)
        (rig.releases / "1").rmdir()
        until(lambda: rig.processes()[0].deleted, "deleted")


def test_a_release_whose_name_is_not_utf_8_hurts_nobody() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        engine = rig.engine_pid
        with rig.client() as listener:
            events = listener.stream("events", calls.Select())
            next(events)
            os.mkdir(os.fsencode(rig.releases) + b"/\xff")
            link = os.fsencode(rig.current) + b".next"
            os.symlink(b"releases/\xff", link)
            os.rename(link, os.fsencode(rig.current))
            shown = str(rig.releases / "\\xff")
            assert next(events) == msgspec.structs.replace(rig.history("release")[-1], id=0)
        [process] = rig.processes()
        assert (process.stale, process.deleted) == (True, False)
        with rig.client() as client:
            client.restart("app/queue", wait_seconds=10)
            assert not client.status().troubles
        [process] = rig.processes()
        assert (process.stale, process.release) == (False, shown)
        assert [event.reason for event in rig.history("release")] == [shown]
        assert rig.engine_pid == engine


def test_a_start_that_fails_in_a_release_whose_name_is_not_utf_8_is_told() -> None:
    with engine_rig() as rig:
        (rig.releases / "1" / "env").write_bytes(b"PATH=/nowhere/\xff\n")
        rig.launch(rig.worker("queue", "program", env_file=str(rig.current / "env")))
        [process] = rig.until_states("WAITING")
        assert "not found in /nowhere/\\xff" in (process.reason or "")
        assert len(rig.history("failure")) == 1


def test_of_a_removed_project_nothing_is_held_open() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        eventually(lambda: _open_below(rig.engine_pid, rig.logs), "an open log")
        with rig.client() as client:
            assert client.logs("app/queue").logs
            rig.write_all()
            assert client.reload(wait_seconds=20).removed == ("app/queue",)
        eventually(lambda: not _open_below(rig.engine_pid, rig.logs), "a closed directory")
        rig.write_all(rig.worker("queue", "/bin/sh", "-c", "echo back; sleep 1000"))
        with rig.client() as client:
            client.reload(wait_seconds=20)
        eventually(lambda: "back" in rig.read_log(), "output of the project that came back")


def _open_below(pid: int, directory: Path) -> list[str]:
    """Return what a process has open in a directory, and the directory itself."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(descriptor))
    return [name for name in found if name.startswith(str(directory))]


def test_a_stop_ends_also_what_ignores_it_and_what_it_left_behind() -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 1000) & while :; do sleep 1000; done"
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", "/bin/sh", "-c", script, wait=0.5))
        [process] = rig.until_running(1)
        with rig.client() as client:
            changed = client.stop("app", wait_seconds=20)
        assert [p.state for p in changed.processes] == ["STOPPED"]
        assert not lives(process.pid or 0)
        [event] = rig.history("exit")
        assert event.reason == "killed: it did not end in time after the stop signal"
        assert event.outcome == "stopped"


def test_2_to_3_processes_starts_one_and_restarts_none() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker(processes=2))
        before = [p.pid for p in rig.until_running(2)]
        rig.write_all(rig.worker(processes=3))
        with rig.client() as client:
            reloaded = client.reload(wait_seconds=10)
        assert (reloaded.resized, reloaded.restarted, reloaded.complete) == (("app/queue",), (), True)
        assert [p.pid for p in rig.processes()][:2] == before
        assert len(rig.processes()) == 3


def test_a_reload_restarts_only_what_changed_and_ends_what_is_gone() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue"), rig.worker("mail"), rig.worker("old"))
        mail, old, queue = [p.pid for p in rig.until_running(3)]
        rig.write_all(rig.worker("queue", "/bin/sleep", "99999"), rig.worker("mail"), rig.worker("new"))
        with rig.client() as client:
            reloaded = client.reload(wait_seconds=10)
        assert (reloaded.added, reloaded.removed, reloaded.restarted) == (
            ("app/new",),
            ("app/old",),
            ("app/queue",),
        )
        assert not lives(old or 0)
        after = [p.pid for p in rig.until_running(3)]
        assert after[0] == mail
        assert queue not in after


def test_a_broken_manifest_changes_nothing_and_is_told() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        [before] = rig.until_running(1)
        (rig.manifest / "app.json").write_text("{")
        with rig.client() as client:
            assert "app.json" in client.reload().errors
            assert any("app.json" in trouble for trouble in client.status().troubles)
        assert rig.processes()[0].pid == before.pid


def test_the_history_tells_who_asked() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        with rig.client() as client:
            client.stop("app/queue", wait_seconds=10)
            client.start("app/queue", wait_seconds=10)
        kinds = [(e.kind, e.reason) for e in rig.history("asked", "exit", "start")]
        assert kinds == [
            ("start", None),
            ("asked", "stop"),
            ("exit", "stopped (SIGTERM)"),
            ("asked", "start"),
            ("start", None),
        ]
        assert all(e.who == rig.account.pw_name for e in rig.history("asked"))


def test_events_are_told_as_they_happen() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker("queue"), rig.worker("mail"))
        rig.until_running(2)
        with rig.client() as listener, rig.client() as client:
            events = listener.stream("events", calls.Select(targets=("app/queue",)))
            next(events)
            client.stop("app", wait_seconds=10)
            seen = [next(events) for _ in range(4)]
        assert all(isinstance(e, calls.Event) and e.target == "app/queue" for e in seen)
        assert [e.state for e in seen if isinstance(e, calls.Event) and e.kind == "state"] == [
            "STOPPING",
            "STOPPED",
        ]


def test_logs_are_read_and_followed() -> None:
    with engine_rig() as rig:
        rig.launch(
            rig.worker("queue", "/bin/sh", "-c", "echo one; echo two; read x < FIFO; echo three; sleep 1000")
        )
        fifo = rig.releases / "1" / "FIFO"
        os.mkfifo(fifo)
        rig.own(fifo)
        rig.until_running(1)
        eventually(lambda: "two" in rig.read_log(), "two lines")
        with rig.client() as client, rig.client() as follower:
            [tail] = client.logs("app/queue", lines=1).logs
            assert tail.lines == ("two",)
            lines = follower.follow_logs("app/queue", lines=1)
            first = next(lines)
            fifo.write_text("\n")
            second = next(lines)
        assert (first.lines, second.lines, second.process) == (("two",), ("three",), 1)


def test_an_orderly_end_stops_everything_and_remembers_no_wish() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker(processes=3))
        pids = [p.pid or 0 for p in rig.until_running(3)]
        engine = rig.engine_pid
        with rig.client() as client:
            client.shutdown()
        assert rig.process
        assert rig.process.wait(15) == 0
        assert not any(lives(pid) for pid in (*pids, engine))
        assert "started again" not in rig.log
        rig.launch(rig.worker(processes=3))
        rig.until_running(3)
        exits = rig.history("exit")
        assert [e.outcome for e in exits] == ["stopped"] * 3


def test_an_end_right_after_the_start_waits_for_nothing() -> None:
    """A new engine waits two seconds for the pipes of the one before it: not for those it knows to be at their end."""
    for _ in range(5):  # a busy machine may take that long for other reasons, but not each time
        with engine_rig() as rig:
            rig.launch(rig.worker(processes=3))
            rig.until_running(3)
            begun = time.monotonic()
            assert rig.stop() == 0
            if time.monotonic() - begun < 2:
                return
    pytest.fail("each end took two seconds or more")


def test_a_new_keeper_after_kill_9_runs_everything_once() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker(processes=3))
        before = [p.pid or 0 for p in rig.until_running(3)]
        engine = rig.engine_pid
        rig.expects_errors = True  # the engine says that its keeper is gone
        rig.kill_keeper()
        rig.launch(rig.worker(processes=3))
        after = [p.pid for p in rig.until_running(3)]
        assert not any(lives(pid) for pid in before)
        assert not lives(engine)
        assert not set(before) & set(after)


def test_a_stop_is_a_wish_that_a_new_keeper_keeps() -> None:
    with engine_rig() as rig:
        entries = (rig.worker("queue"), rig.worker("mail"))
        rig.launch(*entries)
        rig.until_running(2)
        with rig.client() as client:
            assert client.stop("app/queue", wait_seconds=10).complete
        rig.expects_errors = True  # the engine says that its keeper is gone
        rig.kill_keeper()
        rig.launch(*entries)
        rig.until_states("RUNNING", "STOPPED")
        assert rig.stop() == 0
        rig.launch(*entries)
        rig.until_states("RUNNING", "STOPPED")


def test_a_program_that_closed_its_output_and_left_a_child_with_the_pipe_is_stopped_and_started_as_any_other() -> (
    None
):
    """The main program has no pipe any more, its child in a session of its own has it and ignores TERM."""
    code = (
        "import os, signal, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); print('child', os.getpid(), flush=True)\n"
        "    while True: time.sleep(1000)\n"
        "os.close(1); os.close(2)\n"
        "while True: time.sleep(1000)\n"
    )
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", PYTHON, "-c", code, wait=0.5))
        rig.until_running(1)
        for run in (1, 2, 3):
            eventually(lambda n=run: rig.read_log().count("child") == n, f"child {run}")
            child = int(rig.read_log().split()[-1])
            with rig.client() as client:
                changed = client.restart("app/queue", wait_seconds=10)
            assert (changed.complete, changed.processes[0].state) == (True, "RUNNING")
            assert not lives(child)
        main = rig.processes()[0].pid or 0
        eventually(lambda: rig.read_log().count("child") == 4, "child 4")
        child = int(rig.read_log().split()[-1])
        os.kill(main, signal.SIGKILL)  # the child outlives it, with the pipe: it is ended before the next run
        eventually(lambda: rig.processes()[0].run == 5 and rig.processes()[0].pid, "run 5")
        assert not lives(child)


def test_without_a_keeper_the_engine_drains_what_is_written_and_ends() -> None:
    script = "echo begin; read x < FIFO; echo end"
    with engine_rig() as rig:
        rig.launch(rig.worker("queue", "/bin/sh", "-c", script))
        fifo = rig.releases / "1" / "FIFO"
        os.mkfifo(fifo)
        rig.own(fifo)
        rig.until_running(1)
        engine = rig.engine_pid
        rig.expects_errors = True  # the engine says that its keeper is gone
        rig.kill_keeper()
        fifo.write_text("\n")
        until(lambda: not lives(engine), "the end of the engine")
        assert rig.read_log() == "begin\nend\n"


@pytest.mark.needs_root
def test_the_engine_is_not_root_and_cannot_become_it() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        status = Path(f"/proc/{rig.engine_pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert "0" not in fields["Gid"].split()
        assert fields["Groups"].strip() == ""
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
        mode = rig.engine_state.stat().st_mode
        assert mode & 0o777 == 0o700


@pytest.mark.needs_root
def test_user_mode_works_without_root() -> None:
    with engine_rig(user="nobody") as rig:
        rig.write_all(rig.worker())
        rig.start(*_engine(rig))
        rig.until_running(1)
        status = Path(f"/proc/{rig.engine_pid}/status").read_text()
        assert f"Uid:\t{rig.account.pw_uid}\t" in status


def _engine(rig: EngineRig) -> list[str]:
    """Return an engine that any user may run: with a copy of the one package it needs."""
    library = rig.root / "library"
    shutil.copytree(Path(msgspec.__file__).parent, library / "msgspec")
    paths = [str(SOURCE), str(library)]
    code = f"import sys; sys.path[:0] = {paths!r}; import shiftboss.engine.main as m; m.run()"
    return [PYTHON, "-c", code, "--state", str(rig.engine_state)]


def test_a_target_that_means_nothing_is_refused_with_a_hint() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        with rig.client() as client, pytest.raises(UserError) as caught:
            client.restart("app/queues")
        assert "did you mean 'queue'" in caught.value.message
        assert caught.value.hint


def test_the_log_of_the_engine_is_json_lines() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        with rig.client() as client:
            client.shutdown()
        assert rig.process
        rig.process.wait(15)
        own = [line for line in rig.log.splitlines() if line.startswith("{")]
        assert [json.loads(line)["event"] for line in own] == ["stopping"]


@pytest.mark.needs_root
def test_a_taken_port_is_told_with_the_user_who_has_it() -> None:
    with engine_rig() as rig, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line = f"Error: listen EADDRINUSE: address already in use 127.0.0.1:{port}"
        rig.launch(rig.worker("node", "/bin/sh", "-c", f"echo '{line}' >&2; exit 1"))
        eventually(lambda: rig.processes()[0].reason, "a reason")
        assert rig.processes()[0].reason == f"exit 1: port {port} is taken by user root; log: {line}"


@pytest.mark.needs_root
def test_a_taken_port_is_told_with_the_process_that_has_it_where_it_can_be_seen() -> None:
    """In user mode it is often a copy of the program itself that was started by hand."""
    with engine_rig(user="games") as rig:
        program = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(1000)"
        hand = subprocess.Popen(
            [PYTHON, "-c", program], stdout=subprocess.PIPE, text=True, user="games", group="games"
        )
        assert hand.stdout
        try:
            port = int(hand.stdout.readline())
            script = f'echo "Port {port} is already in use" >&2; exit 1'
            rig.write_all(rig.worker("node", "/bin/sh", "-c", script))
            rig.start(*_engine(rig))
            eventually(lambda: rig.processes()[0].reason, "a reason")
            assert rig.processes()[0].reason == (
                f"exit 1: port {port} is taken by pid {hand.pid} of games ({PYTHON} -c {program[:40]}); "
                f"log: Port {port} is already in use"
            )
        finally:
            hand.kill()
            hand.communicate()


def test_status_history_and_events_tell_every_kind_of_end_in_the_same_words() -> None:
    ends = {
        "code": ("exit 12", "exit 12: memory limit reached"),
        "shell": ("exec nosuchprogram", "exit 127: nosuchprogram: command not found; log: "),
        "crash": ("kill -SEGV $$", "crashed: segmentation fault (SIGSEGV"),
        "stranger": ("kill -TERM $$", "ended by SIGTERM, which shiftboss did not send"),
        "words": (
            "echo Connection refused by redis; exit 3",
            "exit 3: a server that it needs refuses the connection; log: Connection refused by redis",
        ),
    }
    with engine_rig() as rig:
        rig.launch(
            rig.worker("stopped", policy_start_seconds=0.1),
            *(
                rig.worker(name, "/bin/sh", "-c", script, policy_exit_meanings={"12": "memory limit reached"})
                for name, (script, _) in ends.items()
            ),
        )
        with rig.client() as client, rig.client() as listener:
            told = listener.events()
            for name, (_, words) in ends.items():
                eventually(lambda n=name: rig.processes(f"app/{n}")[0].reason, f"the reason of {name}")
                [process] = rig.processes(f"app/{name}")
                assert (process.reason or "").startswith(words), name
                assert {e.reason for e in rig.history("exit") if e.target == f"app/{name}"} == {
                    process.reason
                }
            client.restart("app/code")
            event = next(e for e in told if e.kind == "exit" and e.target == "app/code")
            assert (event.code, event.outcome, event.reason) == (
                12,
                "failed",
                "exit 12: memory limit reached",
            )
            eventually(lambda: rig.states("app/stopped") == ["RUNNING"], "running")
            client.stop("app/stopped", wait_seconds=10)
        [stopped] = [e for e in rig.history("exit") if e.target == "app/stopped"]
        assert (stopped.code, stopped.outcome, stopped.reason) == (-15, "stopped", "stopped (SIGTERM)")


def test_a_stop_that_was_answered_outlives_the_engine() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker(processes=2))
        rig.until_running(2)
        for process in (1, 2):
            with rig.client() as client:
                client.stop(f"app/queue:{process}")
                old = rig.kill_engine()
            rig.next_engine(old)
        rig.until_states("STOPPED", "STOPPED")
        assert [process.wish for process in rig.processes()] == ["down", "down"]


def test_a_wish_to_keep_what_is_stopped_already_is_stored_at_once() -> None:
    with engine_rig() as rig:
        rig.launch(rig.worker())
        rig.until_running(1)
        with rig.client() as client:
            client.stop("app/queue", wait_seconds=10)
            client.stop("app/queue", keep=True)
            old = rig.kill_engine()
        rig.next_engine(old)
        with contextlib.closing(
            sqlite3.connect(f"file:{rig.engine_state}/engine.db?mode=ro", uri=True)
        ) as database:
            assert database.execute("SELECT down FROM process").fetchall() == [("keep",)]
