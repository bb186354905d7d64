"""Limits and isolation as the keeper gives them: real programs that take too much, and what stops them."""

import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import NO_ROOM, PYTHON, Engine, Rig, lives, read_all, until

from shiftboss.confine import usage
from shiftboss.core.limits import fallbacks, rlimits, v1_values, v2_values
from shiftboss.core.spec import Limits
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Confinement, Entry

USER = "games"
MEGABYTE = 1024**2
EATER = "held = []\nwhile True:\n    held.append(b'x' * 4 * 1024 ** 2)\n"
BUSY = "print('busy', flush=True)\nwhile True: pass\n"
BOMB = """
import os, time
made = 0
try:
    while made < 200:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    pass
print(made, 'forks', flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["auto", "v1"])
def bounded(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Give a keeper whose limits are held by cgroups: v2 or v1, whichever has the controllers."""
    with keeper_of(Kind(request.param)) as rig:
        yield rig


def confinement(limits: Limits, budget: Limits | None = None, **more: Any) -> Confinement:
    """Return what limits become in a manifest."""
    whole = budget or Limits()
    return Confinement(
        v2=v2_values(limits, watched=True),
        v1=v1_values(limits, watched=True),
        budget_v2=v2_values(whole, watched=True),
        budget_v1=v1_values(whole, watched=True),
        fallbacks=fallbacks(limits),
        nice=limits.nice,
        **more,
    )


def python(rig: Rig, code: str, limits: Limits, address: str = "app/worker", **more: Any) -> Entry:
    """Return an entry that runs Python code within limits, as an ordinary user if the keeper can."""
    user = USER if rig.account.pw_uid == 0 else ""
    bounds = confinement(limits, **more)
    return rig.entry(
        PYTHON, "-I", "-c", code, address=address, user=user, confinement=bounds, rlimits=rlimits(limits)
    )


def served(rig: Rig, *entries: Entry) -> Engine:
    """Start the keeper with these entries."""
    rig.write(*entries)
    return rig.start().synced()


def test_who_takes_more_memory_than_allowed_is_killed_and_the_cgroup_tells(bounded: Rig) -> None:
    engine = served(bounded, python(bounded, EATER, Limits(memory_bytes=48 * MEGABYTE)))
    spawned, _ = engine.spawn()

    exited = engine.expect(messages.Exited)

    assert exited.exit.code == -9
    assert exited.exit.sent == ""
    assert spawned.notes == ()
    killed = usage.read_killed(list(spawned.groups))
    assert killed.times >= 1
    assert killed.own_limit
    assert killed.limit_bytes == 48 * MEGABYTE
    assert killed.peak_bytes
    assert killed.peak_bytes > 40 * MEGABYTE


def test_each_run_with_limits_is_counted_from_nothing(bounded: Rig) -> None:
    engine = served(bounded, python(bounded, EATER, Limits(memory_bytes=48 * MEGABYTE)))
    first, _ = engine.spawn()
    engine.expect(messages.Exited)
    engine.send(messages.Forget("app/worker", 1, 1))
    bounded.write(python(bounded, BUSY, Limits(memory_bytes=48 * MEGABYTE)))
    engine.send(messages.Reload())
    engine.expect(messages.Manifest)

    second, output = engine.spawn(run=2)
    read_all(output, b"busy")

    assert second.groups
    assert set(second.groups).isdisjoint(first.groups)
    assert usage.read_killed(list(second.groups)).times == 0
    until(lambda: not any(map(os.path.exists, first.groups)), "the first run's cgroups to be removed")


def test_starts_that_find_no_room_leave_no_cgroups(bounded: Rig) -> None:
    """One whose project has no more tasks is tried again for weeks."""
    flag = bounded.root / "no-room"
    bounded.prelude = NO_ROOM.format(flag=str(flag))
    engine = served(bounded, python(bounded, BUSY, Limits(memory_bytes=48 * MEGABYTE)))
    flag.touch()
    for run in range(1, 6):
        engine.send(messages.Spawn("app/worker", 1, run))
        assert engine.expect(messages.SpawnFailed, run=run).step == "fork"
        engine.send(messages.Forget("app/worker", 1, run))
    assert not _leaves(bounded)

    flag.unlink()
    engine.spawn(run=6)
    assert {path.name for path in _leaves(bounded)} == {"worker.1.6"}


def _leaves(rig: Rig) -> list[Path]:
    """Return the cgroups of all runs, in every hierarchy."""
    return [
        path for path in Path("/sys/fs/cgroup").glob(f"**/shiftboss-{rig.instance}/app/*") if path.is_dir()
    ]


def test_a_busy_loop_keeps_to_its_share_of_the_cpu(bounded: Rig) -> None:
    """Never more; as much only while nothing else wants the machine, so one such time is waited for."""
    engine = served(bounded, python(bounded, BUSY, Limits(cpu_percent=30)))
    spawned, output = engine.spawn()
    read_all(output, b"busy")
    groups = list(spawned.groups)

    shares = [_share(groups)]
    while max(shares) < 0.27 and len(shares) < 6:
        shares.append(_share(groups))

    assert 0.27 <= max(shares) <= 0.33, shares


def _share(groups: list[str], seconds: float = 3.0) -> float:
    """Return the part of a core that was used in a few seconds."""
    began, before = time.monotonic(), usage.read_usage(groups).cpu_seconds
    until(lambda: time.monotonic() - began > seconds, f"{seconds} seconds to measure")
    now, after = time.monotonic(), usage.read_usage(groups).cpu_seconds
    assert before is not None
    assert after is not None
    return (after - before) / (now - began)


def test_a_fork_bomb_stops_at_its_limit(bounded: Rig) -> None:
    engine = served(bounded, python(bounded, BOMB, Limits(tasks_max=20)))
    spawned, output = engine.spawn()

    assert b"19 forks" in read_all(output, b"forks")
    assert usage.read_usage(list(spawned.groups)).tasks == 20


def test_all_units_of_a_project_share_its_budget(bounded: Rig) -> None:
    budget = Limits(tasks_max=30)
    units = [python(bounded, BOMB, Limits(), f"app/w{n}", budget=budget) for n in (1, 2)]
    engine = served(bounded, *units)
    forks = []
    for entry in units:
        _, output = engine.spawn(entry.address)
        forks.append(int(read_all(output, b"forks").split()[0]))

    assert forks == [29, 0]


def test_a_budget_that_is_taken_away_holds_no_more(bounded: Rig) -> None:
    engine = served(bounded, python(bounded, BOMB, Limits(), budget=Limits(tasks_max=5)))
    _, output = engine.spawn()
    assert b"4 forks" in read_all(output, b"forks")
    bounded.write(python(bounded, BOMB, Limits(tasks_max=12)))
    engine.send(messages.Reload())
    engine.expect(messages.Manifest)
    engine.end("app/worker", 1, 1)
    _, output = engine.spawn(run=2)
    assert b"11 forks" in read_all(output, b"forks")


@every_kind
def test_what_cannot_be_held_is_told_and_the_program_runs(kind: Kind) -> None:
    with keeper_of(kind) as rig:
        limits = Limits(memory_bytes=256 * MEGABYTE, cpu_percent=50, tasks_max=1000, nofile=100, nice=3)
        engine = served(rig, python(rig, BUSY, limits))
        spawned, output = engine.spawn()
        read_all(output, b"busy")

        [hello] = [report for report in engine.all if isinstance(report, messages.Hello)]
        assert bool(hello.controllers) == bool(spawned.groups)
        if kind.cgroups == "v1":
            assert hello.controllers["memory"] == "v1"
            assert spawned.notes == ()
            assert spawned.groups
        else:
            words = " ".join(spawned.notes)
            assert ("no memory cgroup" in words) == (not spawned.groups)
        assert os.getpriority(os.PRIO_PROCESS, spawned.pid) == 3
        limits_file = Path(f"/proc/{spawned.pid}/limits").read_text()
        assert "Max open files            100" in limits_file
        assert ("Max data size             268435456" in limits_file) == (not spawned.groups)


def test_the_isolation_happens_before_the_drop_to_the_user(bounded: Rig) -> None:
    hidden = bounded.root / "projects"
    for name in ("mine", "other"):
        (hidden / name).mkdir(parents=True)
        (hidden / name / ".env").write_text("SECRET=1\n")
    code = f"import os; print(os.listdir({str(hidden)!r}), os.getresuid(), flush=True)"
    steps = (("mounts",), ("hide", str(hidden), str(hidden / "mine")), ("proc",), ("no_new_privs",))
    engine = served(bounded, python(bounded, code, Limits(), steps=steps))

    _, output = engine.spawn()

    uid = pwd.getpwnam(USER).pw_uid
    assert read_all(output).decode().strip() == f"['mine'] ({uid}, {uid}, {uid})"


def test_a_step_of_the_isolation_that_fails_is_the_reason_of_the_failed_start(bounded: Rig) -> None:
    engine = served(bounded, python(bounded, BUSY, Limits(), steps=(("mounts",), ("read_only",), ("hide",))))

    engine.send(messages.Spawn("app/worker", 1, 1))

    failed = engine.expect(messages.SpawnFailed)
    assert failed.step in ("isolation", "internal")
    assert "isolat" in failed.words or "internal" in failed.words


@every_kind
def test_an_ordinary_user_or_a_machine_without_cgroups_goes_on_with_notes(kind: Kind) -> None:
    with keeper_of(kind) as rig:
        steps = (("oom_score", "200"), ("mounts",), ("hide", str(rig.root)), ("proc",), ("no_new_privs",))
        code = "print(open('/proc/self/status').read(), flush=True)"
        away = Confinement(steps=(steps[0], steps[1], steps[3], steps[4]))
        user = USER if rig.account.pw_uid == 0 else ""
        engine = served(rig, rig.entry(PYTHON, "-I", "-c", code, user=user, confinement=away))
        spawned, output = engine.spawn()

        assert b"NoNewPrivs:\t1" in read_all(output)
        told = any("not hidden" in note for note in spawned.notes)
        assert told == (rig.account.pw_uid != 0)


def test_the_next_keeper_finds_what_lives_in_the_cgroups_of_projects(bounded: Rig) -> None:
    code = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n"
    engine = served(bounded, python(bounded, code, Limits(tasks_max=10)))
    spawned, _ = engine.spawn()
    bounded.kill_keeper()
    engine.close()

    bounded.start().synced()

    assert not lives(spawned.pid)
    assert not any(map(os.path.exists, spawned.groups))
