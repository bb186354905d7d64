"""The loop as histories: what happens, and what the keeper is asked in answer."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from fake_shell import FakeShell, entry

from shiftboss.api import calls
from shiftboss.api.calls import Answer
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.lifecycle import State
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import VERSION, Entry, Grants
from shiftboss.engine.answers import StatusReport
from shiftboss.engine.database import Memory, ProcessMemory, ScaleMemory
from shiftboss.engine.loop import Asked, Loop, Lost, Message, Missed, Rang, Received

Q = "shop/queue"
RELEASE = "/srv/shop/releases/1"
BOOT = "boot-now"
HELLO = messages.Hello(VERSION, "i1", 77, "/run/x/api.sock")


def spawn(run: int = 1, process: int = 1, unit: str = Q) -> messages.Spawn:
    return messages.Spawn(unit, process, run)


def stop(run: int = 1, process: int = 1, unit: str = Q) -> messages.Stop:
    return messages.Stop(unit, process, run)


def forget(run: int = 1, process: int = 1, unit: str = Q) -> messages.Forget:
    return messages.Forget(unit, process, run)


def spawned(run: int = 1, process: int = 1, at: float = 1000.0, **changes: Any) -> Received:
    report = messages.Spawned(Q, process, run, 5000 + 100 * process + run, at, RELEASE, "r1")
    return Received(report._replace(**changes), 50 + run)


def ended(code: int = 0, at: float = 2000.0, sent: str = "") -> messages.Exit:
    return messages.Exit(code, at, sent, core_dumped=False, user_seconds=0, system_seconds=0, max_rss_bytes=0)


def exited(
    run: int = 1, code: int = 0, *, at: float = 2000.0, gone: bool = True, process: int = 1
) -> Received:
    return Received(messages.Exited(Q, process, run, ended(code, at), gone))


def gone(run: int = 1, process: int = 1) -> Received:
    return Received(messages.Gone(Q, process, run))


def failed(
    run: int = 1, step: messages.Step = "exec", errno: int = 8, words: str = "cannot run x"
) -> Received:
    return Received(messages.SpawnFailed(Q, 1, run, step, errno, words))


def held(run: int = 1, process: int = 1, **changes: Any) -> Received:
    report = messages.Held(Q, process, run, 5000 + 100 * process + run, 500.0, RELEASE, "r1")
    return Received(report._replace(**changes), 50 + run)


def manifest(*entries: Entry, serial: int = 1, errors: dict[str, str] | None = None) -> list[Message]:
    offers: list[Message] = [Received(messages.Offer(serial, item)) for item in entries]
    return [*offers, Received(messages.Manifest(serial, len(entries), errors or {}))]


def beginning(*entries: Entry, kept: Sequence[Received] = ()) -> list[Message]:
    """Return what the keeper answers to the first Sync."""
    project = Received(messages.Release("shop", RELEASE))
    return [Received(HELLO, 9), *manifest(*entries), project, *kept, Received(messages.Synced())]


class Played:
    """A loop with a fake shell, and what clients were told."""

    def __init__(self, memory: Memory | None = None, **shell: Any) -> None:
        self.shell = FakeShell(**shell)
        self.loop = Loop(self.shell, memory or Memory(), boot=BOOT)
        self.replies: list[Answer | ShiftbossError] = []

    def play(self, *told: Message) -> list[messages.Request]:
        for message in told:
            self.loop.post(message)
            self.shell.settle()
        return self.shell.take_sent()

    def begin(self, *entries: Entry, kept: Sequence[Received] = ()) -> list[messages.Request]:
        return self.play(*beginning(*entries, kept=kept))

    def ask(self, call: str, request: calls.Struct, who: str = "root") -> list[messages.Request]:
        return self.play(Asked(call, request, who, self.replies.append, self.replies.append))

    def ring(self, process: int = 1) -> list[messages.Request]:
        epoch, due = self.shell.timers.pop((Q, process))
        self.shell.clock = due
        return self.play(Rang((Q, process), epoch))

    def running(self, *entries: Entry) -> None:
        """Begin, and bring the processes of the first entry to RUNNING."""
        self.begin(*entries)
        for number in range(1, entries[0].policy.processes + 1):
            self.play(spawned(process=number))
            self.ring(number)
            assert self.state(number) is State.RUNNING
        self.shell.clock = 2000.0

    def state(self, process: int = 1) -> State:
        slot = self.loop.fleet.find(Q, process)
        assert slot
        return slot.process.state

    def states(self) -> set[State]:
        return {slot.process.state for slot in self.loop.fleet.slots()}

    def status(self) -> calls.Status:
        slots = self.loop.fleet.select(())
        return StatusReport(self.loop.fleet, self.shell, {}).of(slots, ())

    def process(self) -> calls.ProcessStatus:
        return self.status().projects[0].units[0].processes[0]


# ---- histories as data: (message, what the keeper is asked then)

Step = tuple[Message, list[messages.Request]]

HISTORIES: dict[str, list[Step]] = {
    "a crash is followed by the next run before the end is told": [
        (spawned(), []),
        (Rang((Q, 1), 2), []),
        (exited(code=1), [spawn(2), forget(1)]),
        (spawned(2, at=2000.0), []),
    ],
    "an exit 0 is followed too": [
        (spawned(), []),
        (exited(code=0), [spawn(2), forget(1)]),
    ],
    "leftovers are stopped, then the next run starts": [
        (spawned(), []),
        (exited(code=1, gone=False), [stop(1)]),
        (gone(1), [spawn(2), forget(1)]),
    ],
    "a start that fails waits, then tries again with a new run": [
        (failed(1), [forget(1)]),
        (Rang((Q, 1), 3), [spawn(2)]),
        (spawned(2), []),
    ],
    "a missing release is waited for; the release starts it": [
        (failed(1, "directory", 2, "cannot enter /srv/shop/current: No such file or directory"), [forget(1)]),
        (Received(messages.Release("shop", "/srv/shop/releases/2")), [spawn(2)]),
    ],
    "messages of the past only have the keeper forget": [
        (spawned(), []),
        (exited(code=1), [spawn(2), forget(1)]),
        (exited(code=1), [forget(1)]),
        (gone(1), [forget(1)]),
    ],
    "an unknown run is ended": [
        (spawned(), []),
        (
            Received(messages.Spawned("shop/other", 1, 4, 99, 1000.0, RELEASE, "r1"), 60),
            [messages.Kill("shop/other", 1, 4)],
        ),
        (Received(messages.Exited("shop/other", 1, 4, ended(-9), gone=True)), [forget(4, 1, "shop/other")]),
    ],
    "a run that is told when the next one lives already is ended, counted and its output is kept": [
        (spawned(), []),
        (exited(code=1), [spawn(2), forget(1)]),
        (spawned(2, at=2000.0), []),
        (spawned(9), [messages.Kill(Q, 1, 9)]),
        (exited(9, -9), [forget(9)]),
        (exited(9, -9), [forget(9)]),
    ],
    "a timer of the past does nothing": [
        (spawned(), []),
        (exited(code=1), [spawn(2), forget(1)]),
        (Rang((Q, 1), 2), []),
    ],
    "an exit that the keeper has lost is taken from its Gone": [
        (spawned(), []),
        (gone(1), [forget(1)]),
        (Rang((Q, 1), 4), [spawn(2)]),
    ],
    "without a keeper nothing is started": [
        (spawned(), []),
        (Lost(), [stop(1)]),
        (exited(code=1), [forget(1)]),
    ],
    "while everything is being stopped nothing is started": [
        (spawned(), []),
        (Received(messages.Stopping()), [stop(1)]),
        (exited(code=0), [forget(1)]),
    ],
    "what was missed is asked for again": [
        (spawned(), []),
        (Missed(), []),
    ],
}


@pytest.mark.parametrize("name", HISTORIES)
def test_history(name: str) -> None:
    played = Played(clock=1000.0)
    assert played.begin(entry()) == [spawn(1)]
    for number, (message, asked) in enumerate(HISTORIES[name]):
        assert played.play(message) == asked, f"step {number}: {message}"


# ---- beginnings


def test_everything_that_should_run_is_started_and_clients_are_answered_only_then() -> None:
    played = Played()
    told = beginning(entry(processes=2))
    assert played.play(*told[:-1]) == []
    assert not played.shell.is_ready
    assert played.play(told[-1]) == [spawn(1, 1), spawn(1, 2)]
    assert played.shell.is_ready
    assert played.shell.served == [(9, "/run/x/api.sock")]


def test_schedules_and_helpers_are_not_started_by_themselves() -> None:
    played = Played()
    assert (
        played.begin(
            entry("shop/backup", policy_kind="schedule"), entry("shop/queue#health", policy_kind="helper")
        )
        == []
    )


def test_a_new_engine_takes_over_what_lives_and_starts_nothing_twice() -> None:
    played = Played()
    assert played.begin(entry(processes=2), kept=[held(7, 1), held(3, 2)]) == []
    assert played.states() == {State.RUNNING}
    assert played.shell.attached == [(Q, 1, 7), (Q, 2, 3)]
    assert played.shell.recorded == []
    assert [p.pid for p in played.status().projects[0].units[0].processes] == [5107, 5203]


def test_of_what_the_keeper_does_not_know_any_more_the_history_gets_an_end() -> None:
    played = Played()
    played.begin(entry(processes=2), kept=[held(7, 1)])
    assert played.shell.missing == [(Q, 2)]


def test_an_exit_without_an_engine_is_counted_once_and_followed() -> None:
    played = Played()
    kept = held(7, exit=ended(3, at=990.0), gone=True)
    assert played.begin(entry(), kept=[kept]) == [spawn(8), forget(7)]
    [event] = played.shell.events("exit")
    assert (event.run, event.code, event.outcome, event.reason) == (7, 3, "failed", "exit 3")
    assert event.started == 1_000_000 + 500.0
    assert played.process().restarts == 1


def test_an_exit_that_the_dead_engine_had_stored_is_not_counted_again_but_followed() -> None:
    memory = Memory({(Q, 1): ProcessMemory(ended_run=7, restarts=4, reason="exit 3")})
    played = Played(memory)
    kept = held(7, exit=ended(3, at=990.0), gone=True)
    assert played.begin(entry(), kept=[kept]) == [spawn(8), forget(7)]
    assert played.shell.events("exit") == []
    assert (played.process().restarts, played.process().reason) == (4, "exit 3")


def test_several_exits_that_nobody_heard_of_are_all_counted_in_their_order() -> None:
    played = Played()
    kept = [
        held(9, exit=ended(9, at=999.0), gone=True),
        held(8, exit=ended(8, at=998.0), gone=True),
        held(10),
    ]
    assert played.begin(entry(), kept=kept) == [forget(8), forget(9)]
    assert [event.run for event in played.shell.events("exit")] == [8, 9]
    assert (played.state(), played.process().pid) == (State.RUNNING, 5110)
    assert played.process().restarts == 2


def test_a_failed_start_that_nobody_heard_of_goes_on_in_backoff() -> None:
    played = Played()
    assert played.begin(entry(), kept=[failed(4)]) == [forget(4)]
    assert played.state() is State.BACKOFF
    assert played.ring() == [spawn(5)]


def test_a_failed_start_that_was_counted_is_tried_anew() -> None:
    played = Played(Memory({(Q, 1): ProcessMemory(ended_run=4)}))
    assert played.begin(entry(), kept=[failed(4)]) == [spawn(5), forget(4)]


def test_run_numbers_go_on_where_they_were() -> None:
    played = Played(Memory({(Q, 1): ProcessMemory(ended_run=41)}))
    assert played.begin(entry()) == [spawn(42)]


def test_an_exit_that_comes_in_the_middle_of_the_takeover_is_not_lost() -> None:
    played = Played()
    told = beginning(entry(), kept=[held(3)])
    played.play(*told[:-1])
    assert played.play(exited(3, 1)) == []
    assert played.play(told[-1]) == [spawn(4), forget(3)]
    assert [event.run for event in played.shell.events("exit")] == [3]


def test_a_run_that_a_dead_engine_asked_for_and_that_is_just_starting_is_asked_for_once_more() -> None:
    """It is not held yet when the keeper tells what it holds; the same number makes it the same run."""
    played = Played(Memory({(Q, 1): ProcessMemory(ended_run=2)}))
    told = beginning(entry())
    played.play(*told[:-1])
    assert played.play(spawned(3, at=999.0)) == []
    assert played.play(told[-1]) == [spawn(3)]
    assert played.process().pid == 5103
    assert played.play(held(3, started=999.0)) == []
    assert (played.state(), played.shell.timers[Q, 1][1]) == (State.STARTING, 1001.0)


def test_what_was_stopped_stays_stopped_until_the_next_boot() -> None:
    assert Played(Memory({(Q, 1): ProcessMemory(down=BOOT)})).begin(entry()) == []
    assert Played(Memory({(Q, 1): ProcessMemory(down="boot-before")})).begin(entry()) == [spawn(1)]
    assert Played(Memory({(Q, 1): ProcessMemory(down="keep")})).begin(entry()) == []


def test_what_was_stopped_but_lives_is_stopped() -> None:
    played = Played(Memory({(Q, 1): ProcessMemory(down=BOOT)}))
    assert played.begin(entry(), kept=[held(3)]) == [stop(3)]
    assert played.play(exited(3)) == [forget(3)]
    assert played.state() is State.STOPPED


def test_a_restart_that_a_dead_engine_began_is_ended_by_the_next() -> None:
    played = Played()
    assert played.begin(entry(), kept=[held(3, stopping=True)]) == [stop(3)]
    assert played.play(exited(3)) == [spawn(4), forget(3)]


def test_a_live_run_of_an_older_revision_is_restarted_at_the_takeover() -> None:
    played = Played()
    assert played.begin(entry(revision="r2"), kept=[held(3)]) == [stop(3)]


def test_what_lives_but_is_in_the_manifest_no_more_is_stopped_and_forgotten() -> None:
    played = Played()
    kept = Received(messages.Held("shop/old", 1, 2, 9, 500.0, RELEASE, "r1"), 55)
    assert played.begin(entry(), kept=[kept]) == [stop(2, 1, "shop/old"), spawn(1)]
    played.play(Received(messages.Exited("shop/old", 1, 2, ended(), gone=True)))
    assert set(played.loop.fleet.units) == {Q}


def test_a_process_above_the_wanted_number_is_stopped_and_forgotten() -> None:
    played = Played()
    assert played.begin(entry(), kept=[held(1, 1), held(1, 2)]) == [stop(1, 2)]
    played.play(exited(1, process=2))
    assert [slot.number for slot in played.loop.fleet.slots()] == [1]


SCALED_DOWN = Memory({(Q, 2): ProcessMemory(ended_run=6)}, {Q: ScaleMemory(1, 2)})


def test_a_run_that_the_engine_before_asked_for_last_is_stopped_and_its_number_not_used_again() -> None:
    """Between fork and exec the keeper cannot tell of a run yet: it comes after the answer to Sync."""
    played = Played(deepcopy(SCALED_DOWN))
    played.begin(entry(processes=2), kept=[held(3)])
    assert played.play(spawned(7, process=2)) == [stop(7, 2)]
    assert played.play(exited(7, process=2)) == [forget(7, 2)]
    assert [(e.run, e.outcome) for e in played.shell.events("exit")] == [(7, "stopped")]
    assert played.shell.memories[Q, 2] == ProcessMemory(ended_run=7, reason="stopped")
    assert played.ask("scale", calls.Scale(Q, 2)) == [spawn(8, 2)]


def test_the_same_where_the_process_rests_because_somebody_stopped_it() -> None:
    played = Played(Memory({(Q, 1): ProcessMemory(down=BOOT, ended_run=6)}))
    assert played.begin(entry()) == []
    assert played.play(spawned(7)) == [stop(7)]
    played.play(exited(7))
    assert played.ask("start", calls.Act((Q,))) == [spawn(8)]


def test_the_end_of_a_run_above_the_wanted_number_is_counted_before_the_process_is_forgotten() -> None:
    """The table has it STOPPED at once, before anything of it was told."""
    played = Played(deepcopy(SCALED_DOWN))
    played.play(
        *beginning(entry(processes=2), kept=[held(3), held(7, 2, exit=ended(), gone=True, stopping=True)])
    )
    assert [e.run for e in played.shell.events("exit")] == [7]
    assert played.shell.memories[Q, 2] == ProcessMemory(ended_run=7, reason="stopped")
    assert played.ask("scale", calls.Scale(Q, 2)) == [spawn(8, 2)]


def test_a_live_scale_is_remembered_until_the_file_says_something_else() -> None:
    def scaled() -> Played:
        return Played(Memory(scales={Q: ScaleMemory(3, instead_of=1)}))

    assert len(scaled().begin(entry(processes=1))) == 3
    assert len(scaled().begin(entry(processes=2))) == 2


def test_a_manifest_that_arrived_with_holes_is_asked_for_again() -> None:
    played = Played()
    told = beginning(entry(), entry("shop/mail"))
    del told[1]
    played.play(*told[:-1])
    [(_, again)] = played.shell.waits
    again()
    assert played.shell.take_sent() == [messages.Sync()]


# ---- ends, told


def test_an_end_is_told_with_the_last_error_line_of_the_log() -> None:
    played = Played(log_lines=["starting", "RuntimeError: no broker"])
    played.running(entry())
    played.play(exited(code=1))
    [event] = played.shell.events("exit")
    assert event.reason == "exit 1; log: RuntimeError: no broker"
    assert played.process().reason == event.reason


def test_the_preset_says_what_an_exit_code_means() -> None:
    played = Played()
    played.running(entry(policy_exit_meanings={"12": "memory limit reached"}))
    played.play(exited(code=12))
    assert played.process().reason == "exit 12: memory limit reached"


def test_the_end_of_a_run_is_not_taken_for_told_because_a_later_one_is() -> None:
    """Two ends whose log lines take a moment: what is stored of the first must not count the second."""
    played = Played(tail_answers=False)
    played.running(entry())
    played.play(exited(1, 1), spawned(2, at=2000.0), exited(2, 1, at=2010.0))
    [first] = played.shell.tails
    first(["one"])
    played.shell.settle()
    assert played.shell.memories[Q, 1] == ProcessMemory(
        ended_run=1, restarts=1, brief=0, reason="exit 1; log: one"
    )
    played.shell.tails[1](["two"])
    assert [event.run for event in played.shell.events("exit")] == [1, 2]
    kept = played.shell.memories[Q, 1]
    assert kept
    assert kept.ended_run == 2


def test_what_the_keeper_tells_again_about_a_run_that_is_over_loses_nothing() -> None:
    """Held may come after Exited: both say the same of the same run."""
    played = Played(tail_answers=False)
    played.running(entry())
    assert played.play(exited(1, 1)) == [spawn(2)]
    assert played.play(held(1, exit=ended(1), gone=True)) == []
    played.shell.tails[0]([])
    assert played.shell.take_sent() == [forget(1)]
    assert len(played.shell.events("exit")) == 1


def test_a_run_that_is_over_does_not_come_to_life_by_being_told_again() -> None:
    for tail_answers in (True, False):
        played = Played(tail_answers=tail_answers)
        played.running(entry())
        played.ask("stop", act(Q))
        played.play(exited(1, 1))
        assert played.state() is State.STOPPED
        played.play(held(1, exit=ended(1), gone=True))
        assert (played.state(), played.process().pid) == (State.STOPPED, None)


def test_a_gone_that_is_said_twice_does_not_let_the_keeper_forget_output_that_is_not_read() -> None:
    """A Stop of what has ended already is answered by Gone; the process may have been dropped by then."""
    played = Played(finish_answers=False)
    played.begin(entry(), kept=[held(1, 1), held(1, 2, exit=ended(), gone=True)])
    assert played.play(gone(1, process=2)) == []
    [(_, read)] = played.shell.finishing
    read()
    assert played.shell.take_sent() == [forget(1, 2)]


def test_a_restart_does_not_wait_for_a_disk_that_hangs() -> None:
    played = Played(store_answers=False, tail_answers=False)
    played.running(entry())
    assert played.play(exited(code=1)) == [spawn(2)]
    assert played.shell.recorded[-1].kind == "start"
    [tail] = played.shell.tails
    tail([])
    assert played.shell.take_sent() == []
    played.shell.held_back.pop()()
    assert played.shell.take_sent() == [forget(1)]


def test_the_keeper_forgets_an_end_only_when_it_is_stored_and_the_output_is_read() -> None:
    played = Played(store_answers=False)
    played.running(entry())
    assert played.play(exited(code=0)) == [spawn(2)]
    assert played.shell.finished == [(Q, 1, 1)]
    played.shell.held_back.pop()()
    assert played.shell.take_sent() == [forget(1)]


def test_a_release_that_stays_missing_fills_no_history() -> None:
    played = Played()
    played.begin(entry())
    for run in range(1, 20):
        played.play(failed(run, "directory", 2, "cannot enter it"))
        assert played.state() is State.WAITING
        played.ring()
    assert len(played.shell.events("failure")) == 1


# ---- requests


def act(*targets: str, wait: float = 0, keep: bool = False) -> calls.Act:
    return calls.Act(targets=targets, wait_seconds=wait, keep=keep)


def test_a_stop_is_remembered_and_told_with_who_asked() -> None:
    played = Played()
    played.running(entry())
    assert played.ask("stop", act("shop"), who="mona") == [stop(1)]
    assert played.shell.memories[Q, 1] == ProcessMemory(down=BOOT)
    [event] = played.shell.events("asked")
    assert (event.target, event.reason, event.who) == (Q, "stop", "mona")
    played.play(exited(code=0))
    assert (played.state(), played.process().restarts) == (State.STOPPED, 0)
    assert played.process().reason == "stopped"


def test_every_change_is_noted_with_name_and_number_of_who_asked() -> None:
    played = Played()
    played.running(entry())

    def asks(call: str, request: calls.Struct, uid: int) -> None:
        played.play(Asked(call, request, f"u{uid}", played.replies.append, played.replies.append, uid))

    asks("stop", act(Q), 1)
    asks("start", act(Q), 2)
    asks("restart", act("shop"), 3)
    asks("scale", calls.Scale(target=Q, processes=2), 4)
    asks("reload", calls.Reload(), 5)
    asks("stop", act(Q), 6)  # while the manifest is on its way
    played.play(*manifest(entry(), entry("shop/mail"), serial=2))
    noted = [(e.reason, e.who, e.uid) for e in played.shell.recorded if e.kind in ("asked", "config")]
    assert noted == [
        ("stop", "u1", 1),
        ("start", "u2", 2),
        ("restart", "u3", 3),
        ("scale to 2", "u4", 4),
        ("stop", "u6", 6),
        ("added", "u5", 5),
    ]
    played.play(*manifest(entry(), serial=3))  # nobody asked: the keeper got a HUP
    last = played.shell.events("config")[-1]
    assert (last.reason, last.who, last.uid) == ("removed", None, None)


def test_rights_are_those_of_the_manifest_that_arrived_last() -> None:
    played = Played()
    played.begin(entry(policy_grants=Grants(operators=(7,))), entry("blog/mail"))
    assert played.loop.fleet.projects.users == {7, 1500}
    assert set(played.loop.fleet.projects.rights) == {"shop", "blog"}
    played.play(*manifest(entry(), serial=2))
    assert set(played.loop.fleet.projects.rights) == {"shop"}
    assert 7 not in played.loop.fleet.projects.users


def test_a_client_that_waits_is_told_when_all_is_settled() -> None:
    played = Played()
    played.running(entry(processes=2))
    assert played.ask("restart", act(Q, wait=30)) == [stop(1, 1), stop(1, 2)]
    played.play(
        exited(1, process=1), spawned(2, 1, at=2000.0), exited(1, process=2), spawned(2, 2, at=2000.0)
    )
    assert played.replies == []
    played.ring(1)
    assert played.replies == []
    played.ring(2)
    [changed] = played.replies
    assert isinstance(changed, calls.Changed)
    assert changed.complete
    assert [(c.target, c.old_pid, c.new_pid, c.state) for c in changed.processes] == [
        ("shop/queue:1", 5101, 5102, "RUNNING"),
        ("shop/queue:2", 5201, 5202, "RUNNING"),
    ]
    assert played.shell.waits == []


def test_a_client_that_waits_is_told_why_it_failed() -> None:
    played = Played(log_lines=["php: error"])
    played.running(entry())
    played.ask("restart", act(Q, wait=30))
    played.play(exited(1), spawned(2, at=2000.0), exited(2, 1, at=2000.2))
    [changed] = played.replies
    assert isinstance(changed, calls.Changed)
    [process] = changed.processes
    assert (process.state, process.reason) == ("BACKOFF", "exit 1; log: php: error")


def test_a_client_waits_no_longer_than_it_said() -> None:
    played = Played()
    played.running(entry())
    played.ask("stop", act(Q, wait=5))
    [(seconds, over)] = played.shell.waits
    assert seconds == 5
    over()
    [changed] = played.replies
    assert isinstance(changed, calls.Changed)
    assert not changed.complete
    assert [(p.state, p.settled) for p in changed.processes] == [("STOPPING", False)]


def test_scaling_up_starts_one_and_touches_no_other() -> None:
    played = Played()
    played.running(entry(processes=2))
    assert played.ask("scale", calls.Scale(target=Q, processes=3)) == [spawn(1, 3)]
    assert played.shell.scales[Q] == ScaleMemory(3, 2)
    assert played.status().projects[0].units[0].override == 3


def test_scaling_down_stops_the_last_and_forgets_it() -> None:
    played = Played()
    played.running(entry(processes=3))
    assert played.ask("scale", calls.Scale(target=Q, processes=1)) == [stop(1, 2), stop(1, 3)]
    played.play(exited(1, process=2), exited(1, process=3))
    assert [slot.number for slot in played.loop.fleet.slots()] == [1]


def test_run_numbers_are_not_used_twice_when_a_process_goes_and_comes_back() -> None:
    played = Played()
    played.running(entry(processes=2))
    played.ask("scale", calls.Scale(target=Q, processes=1))
    played.play(exited(1, process=2))
    assert played.ask("scale", calls.Scale(target=Q, processes=2)) == [spawn(2, 2)]


def test_the_exit_of_a_process_that_goes_is_counted_once_even_if_the_engine_dies_then() -> None:
    played = Played()
    played.running(entry(processes=2))
    played.ask("scale", calls.Scale(target=Q, processes=1))
    played.play(exited(1, process=2))
    memory = Memory({key: kept for key, kept in played.shell.memories.items() if kept})
    after = Played(memory)
    after.begin(entry(processes=1), kept=[held(1, 1), held(1, 2, exit=ended(), gone=True)])
    assert after.shell.events("exit") == []


def test_scaling_up_again_while_the_last_still_stops() -> None:
    played = Played()
    played.running(entry(processes=2))
    played.ask("scale", calls.Scale(target=Q, processes=1))
    played.ask("scale", calls.Scale(target=Q, processes=2))
    assert played.play(exited(1, process=2)) == [spawn(2, 2), forget(1, 2)]


@pytest.mark.parametrize(
    ("call", "request_", "words"),
    [
        ("start", act("nosuch"), "no unit of project 'nosuch'"),
        ("start", act("shop/quue"), "did you mean 'queue'"),
        ("stop", act("shop/queue:9"), "does not exist"),
        ("stop", act("../x"), "not a project name"),
        ("start", act("shop/backup"), "is a schedule, not a worker"),
        ("scale", calls.Scale(target="shop", processes=1), "not one worker"),
        ("scale", calls.Scale(target="shop/backup", processes=1), "is a schedule"),
        ("scale", calls.Scale(target=Q, processes=11), "at most 10"),
    ],
)
def test_a_wrong_request_changes_nothing(call: str, request_: calls.Struct, words: str) -> None:
    played = Played()
    played.running(entry(), entry("shop/backup", policy_kind="schedule"))
    assert played.ask(call, request_) == []
    [error] = played.replies
    assert isinstance(error, ShiftbossError)
    assert words in error.message
    assert error.hint


# ---- manifests


def reload(played: Played, *entries: Entry, errors: dict[str, str] | None = None) -> list[messages.Request]:
    assert played.ask("reload", calls.Reload()) == [messages.Reload()]
    return played.play(*manifest(*entries, serial=2, errors=errors))


def reloaded(played: Played) -> calls.Reloaded:
    answer = played.replies[-1]
    assert isinstance(answer, calls.Reloaded)
    return answer


def test_processes_2_to_3_starts_one_and_restarts_none() -> None:
    played = Played()
    played.running(entry(processes=2))
    assert reload(played, entry(processes=3)) == [spawn(1, 3)]
    assert (reloaded(played).resized, reloaded(played).restarted) == ((Q,), ())


def test_the_same_manifest_again_touches_nothing() -> None:
    played = Played()
    played.running(entry(processes=2))
    assert reload(played, entry(processes=2)) == []
    assert reloaded(played).untouched == 1


def test_a_new_revision_restarts_only_its_unit() -> None:
    played = Played()
    played.running(entry(), entry("shop/mail"))
    assert reload(played, entry(revision="r2"), entry("shop/mail")) == [stop(1)]
    assert (reloaded(played).restarted, reloaded(played).untouched) == ((Q,), 1)
    assert played.play(exited(1)) == [spawn(2), forget(1)]


def test_a_new_revision_does_not_start_what_was_stopped() -> None:
    played = Played()
    played.running(entry())
    played.ask("stop", act(Q))
    played.play(exited(1))
    assert reload(played, entry(revision="r2")) == []
    assert played.state() is State.STOPPED


def test_other_terms_and_log_policies_restart_nothing() -> None:
    played = Played()
    played.running(entry())
    assert reload(played, entry(stop_wait_seconds=5, policy_log_backups=9)) == []
    assert played.shell.limits[-1][0].policy.log_backups == 9


def test_a_unit_that_is_gone_is_stopped_and_forgotten() -> None:
    played = Played()
    played.running(entry())
    assert reload(played) == [stop(1)]
    assert reloaded(played).removed == (Q,)
    played.play(exited(1))
    assert played.loop.fleet.units == {}
    assert played.shell.memories[Q, 1] == ProcessMemory(ended_run=1)


def test_what_is_remembered_of_a_unit_that_is_gone_is_forgotten_by_the_next_engine() -> None:
    memory = Memory({("shop/old", 1): ProcessMemory(ended_run=3), (Q, 1): ProcessMemory(ended_run=2)})
    played = Played(memory)
    played.begin(entry())
    assert played.shell.memories == {("shop/old", 1): None}


def test_nothing_is_forgotten_while_a_manifest_file_is_broken() -> None:
    played = Played(Memory({("mail/old", 1): ProcessMemory(down="keep")}))
    played.play(
        Received(HELLO, 9), *manifest(entry(), errors={"mail.json": "x"}), Received(messages.Synced())
    )
    assert played.shell.memories == {}


def test_a_unit_that_comes_back_while_it_is_being_stopped_starts_again() -> None:
    played = Played()
    played.running(entry())
    reload(played)
    assert played.play(*manifest(entry(), serial=3)) == []
    assert played.play(exited(1)) == [spawn(2), forget(1)]


def test_a_mended_command_ends_the_waiting_after_failures() -> None:
    played = Played()
    played.begin(entry())
    played.play(failed(1))
    assert reload(played, entry(revision="r2")) == [spawn(2)]


def test_errors_of_the_manifest_are_told() -> None:
    played = Played()
    played.running(entry())
    reload(played, entry(), errors={"mail.json": "not valid JSON"})
    assert reloaded(played).errors == {"mail.json": "not valid JSON"}


# ---- status


def test_a_process_is_stale_when_current_leads_elsewhere() -> None:
    played = Played()
    played.running(entry())
    assert not played.process().stale
    assert played.play(Received(messages.Release("shop", "/srv/shop/releases/2"))) == []
    assert played.process().stale
    assert played.process().deleted is False


def test_a_release_that_is_deleted_is_told() -> None:
    played = Played()
    played.begin(entry(), kept=[held(1, release="/srv/shop/releases/deleted")])
    assert (played.process().stale, played.process().deleted) == (True, True)


def test_a_program_that_does_not_run_in_the_release_is_never_stale() -> None:
    played = Played()
    played.begin(entry(directory="/"), kept=[held(1, release="/")])
    assert not played.process().stale


def test_the_status_tells_when_the_next_start_is() -> None:
    played = Played()
    played.begin(entry())
    played.play(failed(1))
    process = played.process()
    assert (process.state, process.failures, process.next_start_seconds) == ("BACKOFF", 1, 1.0)
    assert process.reason == "cannot run x"


# ---- the end


def test_the_engine_ends_when_the_keeper_is_stopping_and_all_is_gone() -> None:
    played = Played()
    played.running(entry(processes=2))
    played.play(Received(messages.Stopping()))
    played.play(exited(1, process=1))
    assert not played.shell.has_ended
    played.play(exited(1, process=2))
    assert played.shell.has_ended
    assert not any(memory and memory.down for memory in played.shell.memories.values())


def test_while_everything_is_being_stopped_requests_are_refused() -> None:
    played = Played()
    played.running(entry())
    played.play(Received(messages.Stopping()))
    assert played.ask("start", act(Q)) == []
    assert isinstance(played.replies[-1], ShiftbossError)


def test_nothing_depends_on_the_order_of_two_processes() -> None:
    """1000 exits at once: every restart is asked before anything is told."""
    played = Played()
    played.running(entry(processes=200))
    for number in range(1, 201):
        played.loop.post(exited(1, 1, process=number))
    assert played.shell.take_sent() == [spawn(2, number) for number in range(1, 201)]
    played.shell.settle()
    assert sorted(played.shell.take_sent()) == [forget(1, number) for number in range(1, 201)]
