"""A new keeper stops what a dead one left, with its own signal and wait, before it starts anything; and nothing else."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import Rig, lives, rig, until
from test_keeper_stop import FOREVER, PROGRAMS, program, started

from shiftboss.confine.program import MARK
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import StopTerms

pytestmark = pytest.mark.needs_root
POLITE = """
def end(*_):
    time.sleep(0.3)
    open(sys.argv[1] + '.end', 'w').write('ended by a signal')
    os._exit(0)
signal.signal(signal.SIGUSR2, end)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
told()
"""


def again(made: Rig) -> None:
    """Start a new keeper in the place of the one that was killed."""
    made.kill_keeper()
    made.start()


@every_kind
@pytest.mark.parametrize("name", ["children", "ignores TERM", "daemon", "hidden child", "stopped child"])
def test_leftovers_are_gone_before_the_engine_starts(kind: Kind, name: str) -> None:
    with keeper_of(kind) as made:
        made.write(program(made, name, PROGRAMS[name] + FOREVER, wait=0.5))
        made.start().synced().spawn()
        pids = started(made, 4 if name in ("children", "ignores TERM") else 2)
        again(made)
        engine = made.engine()
        hidden = name == "hidden child" and kind.cgroups not in ("v1", "v2")
        # without cgroups, a process without mark whose parent is gone as well cannot be told from a stranger
        assert [pid for pid in pids if lives(pid)] == [] or hidden
        assert not [r for r in engine.sync() if isinstance(r, messages.Held)]
        assert engine.spawn()
        for pid in pids:
            if lives(pid):
                os.kill(pid, signal.SIGKILL)


@every_kind
def test_leftover_gets_its_own_signal_and_its_wait(kind: Kind) -> None:
    with keeper_of(kind) as made:
        entry = program(made, "polite", POLITE + FOREVER)
        entry = entry._replace(stop=StopTerms("USR2", 10.0, "main"))
        made.write(entry)
        made.root.chmod(0o777)
        made.start().synced().spawn()
        started(made, 1)
        (made.manifest / "app.json").unlink()  # the journal remembers the terms of what is no longer wanted
        again(made)
        made.synced()
        assert (made.root / "pids-app-worker.end").read_text() == "ended by a signal"


def test_engine_of_the_dead_keeper_ends_before_the_next_one_starts() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        first = made.start().engine()
        until(lambda: lives(first.pid), "the first engine")
        os.kill(first.pid, signal.SIGSTOP)  # it cannot see the end of its keeper
        again(made)
        second = made.engine()
        assert not lives(first.pid)
        assert second.sync()


def test_stranger_with_our_mark_or_a_pid_of_the_journal_is_left_alone() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        made.start().synced().spawn()
        mark = f"{made.instance}/app/worker/1/1"
        liar = subprocess.Popen(
            ["setpriv", "--reuid=5", "--regid=60", "--clear-groups", "sleep", "1000"], env={MARK: mark}
        )
        reused = subprocess.Popen(["sleep", "1000"])
        try:
            made.kill_keeper()
            with (made.run / "started").open("a") as journal:
                journal.write(
                    f'{reused.pid} 1.00 ["{mark}", "KILL", 0, "main"]\ngarbage\n9 9\n{reused.pid} x ['
                )
            made.start().synced()
            assert liar.poll() is None
            assert reused.poll() is None
        finally:
            for each in (liar, reused):
                each.kill()
                each.wait()


def test_journal_of_another_boot_is_not_believed() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        made.start().synced()
        stranger = subprocess.Popen(["sleep", "1000"])
        try:
            made.kill_keeper()
            row = f'{stranger.pid} 99999999.00 ["{made.instance}/app/worker/1/1", "KILL", 0, "main"]\n'
            (made.run / "started").write_text(f"00000000-0000-0000-0000-000000000000\n{row}")
            made.start().synced()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


@pytest.mark.parametrize("cgroups", ["auto", "none"])
def test_child_that_hangs_before_exec_is_found_too(cgroups: str) -> None:
    """It has no mark yet, and it would become a second copy as soon as its disk answers again."""
    with rig(cgroups) as made:
        slow = f"time.sleep(1000) if os.path.exists({str(made.root / 'slow')!r}) else {{}}"
        made.prelude = (
            f"import os, time\nfrom shiftboss.confine import env_file\nenv_file.read = lambda path: {slow}"
        )
        made.write(made.entry("sleep", "1000", env_file="/etc/passwd"))
        engine = made.start().synced()
        (made.root / "slow").touch()
        engine.send(messages.Spawn("app/worker", 1, 1))
        journal = made.run / "started"
        rows = until(
            lambda: [row for row in journal.read_text().splitlines() if "/app/worker/" in row], "a child"
        )
        pid = int(rows[0].split()[0])
        assert lives(pid)
        (made.root / "slow").unlink()
        again(made)
        made.synced().spawn()
        assert not lives(pid)


def test_child_whose_keeper_died_before_it_told_of_itself_does_not_start() -> None:
    with rig("none") as made:
        slow = f"time.sleep(1) or os.getppid() if not os.path.exists({str(made.root / 'fast')!r}) else os.getppid()"
        made.prelude = "import os, time\nfrom shiftboss.confine import program as p\nold = p.write_journal\n"
        made.prelude += f"p.write_journal = lambda *a: (old(*a), {slow})"
        made.write(made.entry("touch", str(made.root / "started")))
        engine = made.start().synced()
        engine.send(messages.Spawn("app/worker", 1, 1))
        (child,) = until(lambda: children(made.pid) - {engine.pid}, "a child")
        made.kill_keeper()
        until(lambda: not lives(child), "the end of the child")
        assert not (made.root / "started").exists()
        (made.root / "fast").touch()


def children(pid: int) -> set[int]:
    """Return the children of a process."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_many_leftovers_go_quickly() -> None:
    with rig(cgroups="none") as made:
        made.write(made.entry("sleep", "1000", processes_max=200))
        engine = made.start().synced()
        for process in range(1, 201):
            engine.send(messages.Spawn("app/worker", process, 1))
        pids = [engine.expect(messages.Spawned, 30, process=process).pid for process in range(1, 201)]
        made.kill_keeper()
        begun = time.monotonic()
        made.start().synced()
        assert time.monotonic() - begun < 5
        assert not [pid for pid in pids if lives(pid)]
