"""The engine dies, hangs, floods or lies: nothing is lost, nobody else notices, nothing is done that may not be."""

import contextlib
import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import DEADLINE, Engine, lives, marked, read_all, rig, until

from shiftboss.core.wire import codec, messages
from shiftboss.core.wire.values import WireError

pytestmark = pytest.mark.needs_root
KEY = ("app/worker", 1, 1)


@every_kind
def test_new_engine_gets_every_run_with_its_pipe_and_every_exit_until_it_is_forgotten(kind: Kind) -> None:
    with keeper_of(kind) as made:
        made.write(
            made.entry(
                "sh", "-c", "while read -r line; do :; done < /dev/null; exec cat /dev/zero | head -c 70000"
            ),
            made.entry("sh", "-c", "echo $SHIFTBOSS_RUN; exec sleep 1000", address="app/alive"),
            made.entry("sh", "-c", "echo last words; exit 7", address="app/dead"),
        )
        first = made.start().synced()
        alive, _ = first.spawn("app/alive")
        first.send(messages.Spawn("app/dead", 1, 5))
        first.expect(messages.Exited)
        os.kill(first.pid, signal.SIGKILL)
        first.close()
        second = made.synced()
        held, output = second.expect_with_fd(messages.Held, entry="app/alive")
        assert (held.pid, held.started, held.exit, held.gone) == (alive.pid, alive.started, None, False)
        assert read_all(output, b"\n") == f"{made.instance}/app/alive/1/1\n".encode()
        dead, output = second.expect_with_fd(messages.Held, entry="app/dead", run=5)
        assert dead.exit
        assert (dead.exit.code, dead.gone) == (7, True)
        assert read_all(output) == b"last words\n"
        second.send(messages.Forget("app/dead", 1, 5))
        third_reports = second.sync()
        assert [report.entry for report in third_reports if isinstance(report, messages.Held)] == [
            "app/alive"
        ]


def test_requests_may_be_repeated() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        engine = made.start().synced()
        pid = engine.spawn()[0].pid
        engine.send(messages.Spawn(*KEY))
        assert engine.expect(messages.Held).pid == pid
        engine.send(messages.Forget(*KEY))
        engine.send(messages.Stop(*KEY))
        engine.send(messages.Stop(*KEY))
        engine.send(messages.Kill(*KEY))
        engine.expect(messages.Exited)
        engine.send(messages.Forget(*KEY))
        engine.send(messages.Forget(*KEY))
        assert not [report for report in engine.sync() if isinstance(report, messages.Held)]


def test_spawn_that_an_engine_asked_for_before_it_died_is_found_by_the_next() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        first = made.start().synced()
        first.send(messages.Spawn(*KEY))
        os.kill(first.pid, signal.SIGKILL)
        first.close()
        second = made.synced()
        second.send(messages.Spawn(*KEY))
        found = until(
            lambda: (
                second.receive(0.1)
                or (second.all and isinstance(second.all[-1], messages.Held | messages.Spawned))
            ),
            "the run",
        )
        assert found
        assert len([mark for mark in marked(made.instance).values() if mark.endswith("/app/worker/1/1")]) == 1


def test_engine_that_hangs_is_waited_for_and_told_everything_afterwards() -> None:
    with rig() as made:
        made.write(made.entry("sh", "-c", "exec sleep 1000", processes_max=50))
        engine = made.start().synced()
        for process in range(1, 51):
            engine.send(messages.Spawn("app/worker", process, 1))
        pids = [engine.expect(messages.Spawned, process=process).pid for process in range(1, 51)]
        # the test does not read now: more than a socket's buffer of reports comes up
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for _ in range(40):
            engine.socket.send(codec.encode(messages.Sync()))
        until(lambda: not any(lives(pid) for pid in pids), "the deaths")
        cpu = cpu_seconds(made.pid)
        time.sleep(0.5)
        assert cpu_seconds(made.pid) - cpu < 0.1, "a full socket must not keep the keeper busy"
        for process in range(1, 51):
            held = engine.expect(messages.Held, process=process)
            assert held.exit is None or held.exit.code == -9
        until(lambda: [r for r in engine.sync() if isinstance(r, messages.Held) and r.exit][49:], "all exits")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def memory_bytes(pid: int) -> int:
    """Return the anonymous memory of a process."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("Anonymous:"))


def test_flood_of_requests_without_reading_costs_no_memory() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        engine = made.start().synced()
        engine.spawn()
        before = memory_bytes(made.pid)
        end, sent = time.monotonic() + 4, 0
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                engine.socket.send(codec.encode(messages.Kill("app/other", 1 + sent % 10_000, 1 + sent)))
                sent += 1
        assert sent > 3000
        assert memory_bytes(made.pid) - before < 16 << 20
        while engine.receive(0.2):
            engine.seen.clear()
        assert [report.entry for report in engine.sync() if isinstance(report, messages.Held)] == [
            "app/worker"
        ]


def test_engine_that_only_closes_its_socket_is_replaced() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        first = made.start().synced()
        pid = first.spawn()[0].pid
        first.socket.shutdown(socket.SHUT_RDWR)
        second = made.engine()
        second.sync()
        assert second.expect(messages.Held).pid == pid
        assert second.pid != first.pid
        assert not lives(first.pid)


def test_empty_message_and_other_breaches_hurt_the_engine_only() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        engine = made.start().synced()
        pid = engine.spawn()[0].pid
        engine.send(b"\0" * 5000)
        assert engine.expect(messages.Refused).words == "the request is too long"
        with open(os.devnull) as file:
            socket.send_fds(engine.socket, [codec.encode(messages.Reload())], [file.fileno()] * 5)
        engine.expect(messages.Manifest)
        assert len(os.listdir(f"/proc/{made.pid}/fd")) < 20, "descriptors that were sent are not kept"
        engine.socket.send(b"")
        second = made.synced()
        assert second.expect(messages.Held).pid == pid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
TYPES = ["sync", "spawn", "signal", "stop", "kill", "forget", "reload", "held", "", "spawn\0"]
FIELD = JSON | st.sampled_from(
    ["app/worker", "app/none", "../x", "app/worker#x", "TERM", "KILL", "FOO", "main", "all"]
)
ALMOST = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES),
    st.dictionaries(
        st.sampled_from(["entry", "process", "run", "signal", "scope", "argv", "uid"]), FIELD, max_size=5
    ),
)


def test_fuzzed_requests_do_nothing() -> None:
    """No crash, nothing started, nothing killed; the keeper answers afterwards as before."""
    with rig() as made:
        made.write(made.entry("sleep", "1000", processes_max=1))
        engine = made.start().synced()
        pid = engine.spawn(run=2**53 - 1)[0].pid

        @settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.binary(min_size=1, max_size=3000)
            | JSON.map(json.dumps).map(str.encode)
            | ALMOST.map(json.dumps).map(str.encode)
        )
        def fuzz(raw: bytes) -> None:
            try:
                request = codec.decode_request(raw)
            except WireError:
                request = None
            if (
                isinstance(request, messages.Spawn | messages.Stop | messages.Kill | messages.Signal)
                and request.entry == "app/worker"
            ):
                return  # that may do something
            engine.send(raw)
            while engine.receive(0):
                engine.seen.clear()

        fuzz()
        assert [r.pid for r in engine.sync() if isinstance(r, messages.Held)] == [pid]
        assert {mark for mark in marked(made.instance).values() if "/app/" in mark} == {
            f"{made.instance}/app/worker/1/{2**53 - 1}"
        }
        assert lives(pid)
        assert made.process
        assert made.process.poll() is None


def test_engine_cannot_start_what_is_not_in_the_manifest_nor_reach_a_stranger() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000", processes_max=2))
        engine = made.start().synced()
        (made.root / "stranger").mkdir()
        stranger = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
        try:
            for request in (
                messages.Spawn("app/none", 1, 1),
                messages.Spawn("app/worker", 3, 1),
                messages.Spawn("other/worker", 1, 1),
            ):
                engine.send(request)
                assert engine.expect(messages.SpawnFailed).step == "unknown"
            sly = (
                b'{"type":"spawn","entry":"app/worker","process":1,"run":1,"argv":["id"]}',
                b'{"type":"spawn","entry":"app/worker","process":1,"run":1,"uid":0}',
                b'{"type":"signal","entry":"app/worker","process":1,"run":1,"signal":"KILL","pid":%d}'
                % stranger,
                b'{"type":"signal","entry":"app/worker","process":%d,"run":1,"signal":"KILL"}' % -stranger,
                b'{"type":"signal","entry":"app/worker","process":1,"run":1,"signal":9,"scope":"main"}',
                b'{"type":"kill","entry":"app/worker","process":1.0,"run":1}',
                b'{"type":"kill","entry":"app/worker","process":true,"run":1}',
                b'{"type":"exec","argv":["id"]}',
                b"[]",
                b'"spawn"',
            )
            for raw in sly:
                engine.send(raw)
                assert engine.expect(messages.Refused)
            engine.spawn()
            engine.send(messages.Signal("app/worker", 1, 1, "NOSUCH", "main"))
            assert engine.expect(messages.Refused).words.endswith(
                "names a signal that this machine does not have"
            )
            assert lives(stranger)
        finally:
            os.kill(stranger, signal.SIGKILL)
            os.waitpid(stranger, 0)


def test_who_took_the_engines_place_reaches_nothing_by_names_numbers_and_descriptors() -> None:
    """Path tricks, numbers out of range, huge messages, keys twice, descriptors of any kind: refused, nothing more."""
    with rig() as made:
        made.write(made.entry("sleep", "1000", processes_max=1))
        engine = made.start().synced()
        pid = engine.spawn()[0].pid
        before = len(os.listdir(f"/proc/{made.pid}/fd"))
        names = ("app/../app/worker", "/app/worker", "app/worker/", "app//worker", "./app/worker", "app/worker\\u0000",
                 "app/worker\\n", "APP/WORKER", "app", "../manifest/app", "app/" + "w" * 300)  # fmt: skip
        for name in names:
            for kind in ("spawn", "stop", "kill", "forget"):
                engine.send(f'{{"type":"{kind}","entry":"{name}","process":1,"run":1}}'.encode())
                assert engine.expect(messages.Refused)
        for process, run in ((0, 1), (-1, 1), (10**6, 1), (1, 0), (1, -1), (1, 2**63), ("1", 1), (None, 1)):
            engine.send(
                json.dumps({"type": "kill", "entry": "app/worker", "process": process, "run": run}).encode()
            )
            assert engine.expect(messages.Refused)
        engine.send(b'{"type":"sync","type":"kill","entry":"app/none","process":1,"run":1,"scope":"all"}')
        assert engine.expect(messages.Refused)
        with pytest.raises(OSError, match="Message too long"):  # larger than the socket takes at all
            engine.socket.send(b"x" * 10_000_000)
        engine.send(b'{"type":"sync"' + b" " * 60_000 + b"}")
        assert engine.expect(messages.Refused).words == "the request is too long"
        _send_odd_descriptors(engine)
        for stale in (messages.Signal("app/worker", 1, 7, "KILL", "main"), messages.Kill("app/worker", 1, 7)):
            engine.send(stale)
        told = engine.sync()
        assert [r.pid for r in told if isinstance(r, messages.Held)] == [pid]
        assert lives(pid)
        assert len(os.listdir(f"/proc/{made.pid}/fd")) == before
        assert len(marked(made.instance)) <= 2, "the worker, and at most the engine"


def _send_odd_descriptors(engine: Engine) -> None:
    """Send a directory, a pipe, a memory file and the socket itself with good requests; they must not be kept."""
    pipe = os.pipe()
    odd = [os.open("/", os.O_RDONLY), os.memfd_create("odd"), *pipe, engine.socket.fileno()]
    try:
        for descriptor in odd:
            engine.seen.clear()
            socket.send_fds(engine.socket, [codec.encode(messages.Reload())], [descriptor])
            engine.expect(messages.Manifest)
    finally:
        for descriptor in odd[:-1]:
            os.close(descriptor)


def test_bad_engine_command_is_tried_again_with_a_capped_delay() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        made.start("/no/such/engine")
        until(lambda: made.log.count("is started again") >= 6, "six tries")
        assert "cannot run the engine" in made.log
        assert made.process
        assert made.process.poll() is None


def test_engine_gets_a_session_of_its_own_and_the_keeper_pid_files_tell_the_truth() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        engine = made.start().synced()
        assert os.getsid(engine.pid) == engine.pid
        assert int((made.run / "engine.pid").read_text()) == engine.pid
        assert int((made.run / "keeper.pid").read_text()) == made.pid
        os.kill(engine.pid, signal.SIGKILL)
        engine.close()
        second = made.synced()
        assert int((made.run / "engine.pid").read_text()) == second.pid


@every_kind
def test_engine_killed_while_everything_ends_is_replaced_so_that_the_last_words_are_read(kind: Kind) -> None:
    with keeper_of(kind) as made:
        made.write(
            made.entry(
                "sh", "-c", "trap 'echo last words; exit 3' TERM; echo up; while :; do sleep 0.01; done"
            )
        )
        first = made.start().synced()
        _, output = first.spawn()
        read_all(output, b"up")
        os.kill(
            first.pid, signal.SIGSTOP
        )  # as one that dies slowly: told that all is over, it cannot read it
        assert made.process
        made.process.terminate()
        first.expect(messages.Exited)
        until(lambda: not first.receive(DEADLINE), "the end of the socket")
        os.kill(first.pid, signal.SIGKILL)
        second = made.synced()
        held, output = second.expect_with_fd(messages.Held)
        assert held.exit
        assert held.exit.code == 3
        assert b"last words\n" in read_all(output)
        second.close()
        assert made.process.wait(10) == 0


@pytest.mark.parametrize("moment", range(30))
def test_engine_killed_in_the_middle_of_a_conversation(moment: int) -> None:
    """The weak point of the prototype: the socket breaks while the keeper reads, writes, or starts the next engine."""
    chance = random.Random(moment)
    with rig() as made:
        made.write(made.entry("sh", "-c", "sleep 0.0$(($$ % 10))", processes_max=20))
        made.start()
        runs = dict.fromkeys(range(1, 21), 0)
        for _ in range(3):
            engine = made.engine()
            engine.send(messages.Sync())
            for _ in range(chance.randrange(1, 40)):
                process = chance.randrange(1, 21)
                runs[process] += 1
                for request in (
                    messages.Forget("app/worker", process, runs[process] - 1),
                    messages.Spawn("app/worker", process, runs[process]),
                    messages.Stop("app/worker", chance.randrange(1, 21), runs[process]),
                    messages.Sync(),
                )[: chance.randrange(1, 5)]:
                    with contextlib.suppress(BlockingIOError):
                        engine.socket.send(codec.encode(request))
                if chance.random() < 0.3:
                    engine.receive(0.001)
            os.kill(engine.pid, signal.SIGKILL)
            if chance.random() < 0.5:
                engine.close()
        last = made.synced()
        for process, run in runs.items():
            for number in range(max(1, run - 40), run + 1):
                last.send(messages.Kill("app/worker", process, number))
                last.receive(0)  # so that neither side waits for the other
        until(
            lambda: all(r.gone for r in last.sync() if isinstance(r, messages.Held)),
            "the end of all runs",
        )
        assert "internal error" not in made.log
