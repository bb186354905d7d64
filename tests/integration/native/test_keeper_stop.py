"""Stopping a run stops everything that it started, however it hides, and nobody else."""

import os
import signal
import time

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import PYTHON, Rig, environment_of, lives, marked, read_all, rig, until

from shiftboss.confine.program import MARK
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry

KEY = ("app/worker", 1, 1)
# Each program starts children in its own way, writes their pids to the file `pids`, and waits for ever.
CHILD = "import os, signal, sys, time\ndef told(): os.write(3, b'%d\\n' % os.getpid())\n"
CHILD += "os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), 3)\n"
PROGRAMS = {
    "children": "for _ in range(3):\n  if not os.fork(): break\ntold()\n",
    "ignores TERM": "signal.signal(15, signal.SIG_IGN)\nfor _ in range(3):\n  if not os.fork(): break\ntold()\n",
    "double fork": "told()\nif not os.fork():\n  if os.fork(): os._exit(0)\n  told()\nelse: os.wait()\n",
    "own session": "told()\nif not os.fork(): os.setsid(); told()\n",
    "daemon": "told()\nif not os.fork():\n  os.setsid()\n  if os.fork(): os._exit(0)\n  told()\nelse: os.wait()\n",
    "ignoring daemon": "told()\nif not os.fork():\n  os.setsid(); signal.signal(15, signal.SIG_IGN)\n"
    "  if os.fork(): os._exit(0)\n  told()\nelse: os.wait()\n",
    "hidden child": "told()\nif not os.fork():\n  os.setsid(); told()\n"
    "  os.execve('/bin/sleep', ['sleep', '1000'], {})\n",
    "stopped child": "told()\npid = os.fork()\nif not pid: told(); os.kill(os.getpid(), signal.SIGSTOP)\n",
    "stops itself": "told()\nos.kill(os.getpid(), signal.SIGSTOP)\n",
    "chain": "told()\nfor _ in range(20):\n  if os.fork(): break\n  told()\n",
}
FOREVER = "\nwhile True: time.sleep(1000)\n"


def program(made: Rig, name: str, text: str, address: str = "app/worker", **fields: object) -> Entry:
    """Return an entry that runs a Python program with its pid file as argument."""
    path = made.releases / "1" / f"{name.replace(' ', '-')}.py"
    path.write_text(CHILD + text)
    pids = made.root / f"pids-{address.replace('/', '-')}"
    pids.touch()
    pids.chmod(0o666)
    return made.entry(PYTHON, "-I", str(path), str(pids), address=address, **fields)


def pids_of(made: Rig, address: str = "app/worker") -> list[int]:
    """Return the pids that the programs of an entry told."""
    return [int(row) for row in (made.root / f"pids-{address.replace('/', '-')}").read_text().split()]


def started(made: Rig, count: int, address: str = "app/worker") -> list[int]:
    """Wait until a program has told of so many processes."""
    until(lambda: len(pids_of(made, address)) >= count, f"{count} pids of {address}")
    return pids_of(made, address)


COUNTS = {"children": 4, "ignores TERM": 4, "stops itself": 1, "chain": 21}


@every_kind
@pytest.mark.parametrize("name", PROGRAMS)
def test_stop_ends_everything_and_only_then_says_gone(kind: Kind, name: str) -> None:
    with keeper_of(kind) as made:
        entry = program(made, name, PROGRAMS[name] + FOREVER, wait=0.5)
        made.write(entry, made.entry("sleep", "1000", address="app/other"))
        engine = made.start().synced()
        neighbour, _ = engine.spawn("app/other")
        engine.spawn()
        pids = started(made, COUNTS.get(name, 2))
        engine.send(messages.Stop(*KEY))
        exited = engine.expect(messages.Exited)
        if not exited.gone:
            engine.expect(messages.Gone)
        assert [pid for pid in pids if lives(pid)] == []
        assert exited.exit.sent in ("TERM", "KILL")
        assert (exited.exit.sent == "KILL") == (name == "ignores TERM")
        assert lives(neighbour.pid), "nobody else is stopped"


@every_kind
def test_what_outlives_its_main_process_is_told_and_killed_on_demand(kind: Kind) -> None:
    with keeper_of(kind) as made:
        text = "if not os.fork():\n  os.setsid(); signal.signal(15, signal.SIG_IGN); told()\n  time.sleep(1000)\n"
        text += "while not os.path.getsize(sys.argv[1]): time.sleep(.01)\n"
        made.write(program(made, "leaver", text))
        engine = made.start().synced()
        engine.spawn()
        exited = engine.expect(messages.Exited)
        (child,) = pids_of(made)
        assert (exited.exit.code, exited.gone) == (0, False)
        assert lives(child)
        engine.send(messages.Spawn("app/worker", 1, 2))
        assert engine.expect(messages.SpawnFailed).step == "busy", "never two copies"
        engine.send(messages.Forget(*KEY))
        engine.send(messages.Kill(*KEY))
        engine.expect(messages.Gone, run=1)
        assert not lives(child)
        assert engine.spawn(run=2)


@every_kind
def test_stop_of_what_outlived_its_main_process_signals_before_it_kills(kind: Kind) -> None:
    with keeper_of(kind) as made:
        text = "def end(*_): open(sys.argv[1] + '.end', 'w').close(); os._exit(0)\n"
        text += "if not os.fork():\n  os.setsid(); signal.signal(15, end); told()\n  time.sleep(1000)\n"
        text += "while not os.path.getsize(sys.argv[1]): time.sleep(.01)\n"
        made.write(program(made, "leaver", text))
        made.root.chmod(0o777)
        engine = made.start().synced()
        engine.spawn()
        assert not engine.expect(messages.Exited).gone
        engine.send(messages.Stop(*KEY))
        engine.expect(messages.Gone)
        assert (made.root / "pids-app-worker.end").exists()


@every_kind
def test_fork_bomb_ends_and_hurts_nobody(kind: Kind) -> None:
    with keeper_of(kind) as made:
        bomb = "told()\nsignal.signal(15, signal.SIG_IGN)\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(.01)\n"
        user = kind.user or "games"
        limit = {"NPROC": (60, 60)}
        made.write(
            program(made, "bomb", bomb, user=user, rlimits=limit, wait=0.3),
            made.entry("sleep", "1000", address="app/other"),
        )
        engine = made.start().synced()
        neighbour, _ = engine.spawn("app/other")
        engine.spawn()
        until(lambda: len(marked(made.instance)) > 30, "an exploded bomb")
        begun = time.monotonic()
        engine.send(messages.Stop(*KEY))
        if not engine.expect(messages.Exited).gone:
            engine.expect(messages.Gone)
        assert time.monotonic() - begun < 5
        left = {pid: mark for pid, mark in marked(made.instance).items() if "/app/" in mark}
        assert set(left) == {neighbour.pid}


@every_kind
def test_scope_main_signals_the_main_process_only(kind: Kind) -> None:
    with keeper_of(kind) as made:
        text = "pid = os.fork()\ndef end(*_): os.write(3, b'-%d\\n' % os.getpid()); os._exit(0)\n"
        text += "signal.signal(10, end)\ntold()\n" + FOREVER
        made.write(program(made, "signalled", text))
        engine = made.start().synced()
        main = engine.spawn()[0].pid
        both = started(made, 2)
        engine.send(messages.Signal(*KEY, "USR1", "main"))
        exited = engine.expect(messages.Exited)
        assert (exited.exit.code, exited.exit.sent, exited.gone) == (0, "USR1", False)
        other = next(pid for pid in both if pid != main)
        assert lives(other)
        engine.send(messages.Signal(*KEY, "USR1", "all"))
        engine.expect(messages.Gone)
        assert pids_of(made)[2:] == [-main, -other]


@pytest.mark.needs_root
def test_output_of_a_grandchild_is_still_read_after_the_main_process_has_ended() -> None:
    with rig() as made:
        made.write(made.entry("sh", "-c", "(sleep 0.3; echo late; sleep 1000) & echo early"))
        engine = made.start().synced()
        _, output = engine.spawn()
        assert not engine.expect(messages.Exited).gone
        assert read_all(output, b"late\n") == b"early\nlate\n"
        engine.send(messages.Stop(*KEY))
        engine.expect(messages.Gone)
        assert read_all(output) == b""


@pytest.mark.needs_root
def test_program_that_closes_its_output_lives_on() -> None:
    with rig() as made:
        made.write(made.entry("sh", "-c", "echo out; exec >/dev/null 2>&1; exec sleep 1000"))
        engine = made.start().synced()
        spawned, output = engine.spawn()
        assert read_all(output) == b"out\n"
        assert lives(spawned.pid)
        assert engine.end(*KEY).code == -signal.SIGKILL


@pytest.mark.needs_root
def test_stop_and_kill_of_what_is_not_there_are_answered_by_gone() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        engine = made.start().synced()
        for request in (messages.Stop(*KEY), messages.Kill(*KEY), messages.Signal(*KEY, "HUP", "all")):
            engine.send(request)
            assert engine.expect(messages.Gone) == messages.Gone(*KEY)
        engine.spawn()
        assert engine.expect(messages.Exited).gone
        engine.send(messages.Stop(*KEY))
        assert engine.expect(messages.Gone) == messages.Gone(*KEY)


@every_kind
def test_term_of_the_keeper_stops_everything_even_what_nobody_owns(kind: Kind) -> None:
    with keeper_of(kind) as made:
        text = "told()\nif not os.fork():\n  os.setsid(); told()\n  if os.fork(): os._exit(0)\n  told()\n"
        text += "  os.execve('/bin/sleep', ['sleep', '1000'], {})\nelse: os.wait()\n"
        made.write(program(made, "hider", text + FOREVER, wait=0.5))
        engine = made.start().synced()
        engine.spawn()
        pids = started(made, 3)
        until(lambda: not environment_of(pids[2]).get(MARK), "a cleared environment")
        made.process.terminate()
        engine.expect(messages.Stopping)
        engine.expect(messages.Exited)
        engine.close()
        assert made.process.wait(10) == 0
        assert [pid for pid in pids if lives(pid)] == []
        assert sorted(os.listdir(made.run)) == ["keeper.lock"]


@pytest.mark.needs_root
def test_second_term_kills_at_once() -> None:
    with rig() as made:
        text = "signal.signal(15, signal.SIG_IGN)\ntold()\n" + FOREVER
        made.write(program(made, "ignorer", text, wait=600.0))
        engine = made.start().synced()
        engine.spawn()
        started(made, 1)
        made.process.terminate()
        engine.expect(messages.Stopping)
        engine.send(messages.Spawn("app/worker", 2, 1))
        assert engine.expect(messages.SpawnFailed).step == "stopping"
        made.process.send_signal(signal.SIGINT)
        assert engine.expect(messages.Exited).exit.sent == "KILL"
        engine.close()
        assert made.process.wait(10) == 0


@pytest.mark.needs_root
def test_engine_can_ask_for_shutdown() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        engine = made.start().synced()
        engine.spawn()
        engine.send(messages.Shutdown())
        engine.expect(messages.Stopping)
        assert engine.expect(messages.Exited).exit.code == -signal.SIGTERM
        assert not engine.receive(10), "end of file after the last report"
        engine.close()
        assert made.process.wait(10) == 0


COUNT_RUNS = """
import gc
from shiftboss.keeper.runs import Run
load = m.manifest.load
def counted(*arguments):
    print("runs in memory:", sum(isinstance(each, Run) for each in gc.get_objects()), file=sys.stderr, flush=True)
    return load(*arguments)
m.manifest.load = counted
"""


def test_a_run_that_is_gone_is_not_held_for_the_day_that_its_stop_would_have_waited() -> None:
    with rig() as made:
        made.prelude = COUNT_RUNS
        made.write(made.entry("sleep", "1000", wait=86_400.0))
        engine = made.start().synced()
        for run in range(1, 21):
            engine.spawn(run=run)
            engine.send(messages.Stop("app/worker", 1, run))
            if not engine.expect(messages.Exited, run=run).gone:
                engine.expect(messages.Gone, run=run)
            engine.send(messages.Forget("app/worker", 1, run))

        def told() -> bool:
            before = made.log.count("runs in memory")
            os.kill(made.pid, signal.SIGHUP)
            until(lambda: made.log.count("runs in memory") > before, "the count of runs")
            return made.log.rstrip().endswith("runs in memory: 0")

        until(told, "no run in memory", 10)
