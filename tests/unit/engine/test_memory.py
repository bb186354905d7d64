"""Out of memory and soft limits in the engine: fake shell, real loop."""

from fake_shell import entry
from test_histories import Played, exited, spawned

from shiftboss.confine.usage import Usage
from shiftboss.core.exit_reason import Starved
from shiftboss.core.lifecycle import State
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Confinement, Entry, Fallback

SOFT = 100 * 1024**2


def bounded() -> Entry:
    made = entry()
    return made._replace(policy=made.policy._replace(memory_soft_bytes=SOFT))


def look(played: Played) -> list[messages.Request]:
    """Let the next look of the watch come."""
    assert len(played.shell.waits) == 1
    seconds, then = played.shell.waits.pop()
    played.shell.clock += seconds
    then()
    played.shell.settle()
    return played.shell.take_sent()


def test_a_run_that_was_killed_for_want_of_memory_is_named_and_waits_though_it_lasted() -> None:
    played = Played()
    played.begin(entry())
    played.play(spawned(groups=("/sys/fs/cgroup/memory/x",)))
    played.ring()
    played.shell.clock += 1000
    played.shell.hungry = Starved(1, True, 64 * 1024**2, 64 * 1024**2)

    played.play(exited(code=-9, at=played.shell.clock))

    assert played.state() is State.BACKOFF
    assert played.process().reason == "out of memory: killed by the kernel (its limit is 64M, peak 64M)"


def test_the_end_of_a_run_without_counting_cgroups_is_not_asked_about_memory() -> None:
    played = Played()
    played.running(entry())
    played.shell.hungry = Starved(1, True)

    played.play(exited(code=-9, at=played.shell.clock))

    assert "out of memory: killed" not in (played.process().reason or "")


def test_nothing_is_looked_at_while_there_is_no_soft_limit() -> None:
    played = Played()
    played.running(entry())
    assert played.shell.waits == []


def test_who_uses_more_than_its_soft_limit_is_stopped_and_started_and_the_history_says_why() -> None:
    played = Played()
    played.running(bounded())
    pid = played.process().pid
    assert pid
    played.shell.used = {pid: Usage(working_bytes=SOFT)}
    assert look(played) == []

    played.shell.used = {pid: Usage(working_bytes=SOFT + 1)}
    assert look(played) == [messages.Stop("shop/queue", 1, 1)]

    [event] = played.shell.events("recycle")
    assert event.reason == "it uses 100M of memory, more than memory_soft 100M"
    assert (event.target, event.process, event.pid) == ("shop/queue", 1, pid)
    played.play(exited(code=0, at=played.shell.clock))
    assert played.state() is State.STARTING


def test_a_young_run_is_left_alone() -> None:
    played = Played()
    played.begin(bounded())
    played.play(spawned())
    played.ring()
    played.shell.used = {played.process().pid or 0: Usage(working_bytes=2 * SOFT)}
    slot = played.loop.fleet.find("shop/queue", 1)
    assert slot
    slot.started = played.shell.clock

    assert look(played) == []
    assert look(played) == []
    played.shell.clock += 10
    assert look(played) == [messages.Stop("shop/queue", 1, 1)]


def unheld() -> Entry:
    """Return an entry whose memory limit is only held by an rlimit where there is no cgroup."""
    fallback = Fallback("memory", {"DATA": (SOFT, SOFT)}, "")
    return entry()._replace(confinement=Confinement(fallbacks=(fallback,)))


def test_without_a_memory_cgroup_the_hard_limit_is_watched_as_a_whole() -> None:
    played = Played()
    played.running(unheld())
    played.shell.used = {played.process().pid or 0: Usage(working_bytes=SOFT + 1)}

    assert look(played) == [messages.Stop("shop/queue", 1, 1)]
    assert played.shell.events("recycle")[0].reason == "it uses 100M of memory, more than memory 100M"


def test_with_one_the_kernel_holds_it_and_nobody_looks() -> None:
    played = Played()
    played.begin(unheld())
    played.play(spawned(groups=("/sys/fs/cgroup/memory/x",)))
    played.ring()
    assert look(played) == []
    assert played.shell.waits == []
