"""What the engine keeps and tells of schedules: of the very run that was asked for, and whatever the disk does."""

from collections import deque
from collections.abc import Callable
from zoneinfo import ZoneInfo

import msgspec
from fake_shell import FakeShell

from shiftboss.api import calls
from shiftboss.core.agenda_values import Incoming, Save, Tick
from shiftboss.core.schedule_entry import SCHEDULE, Options, Times
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry, Policy
from shiftboss.engine.occurrences import Detail, ScheduleMemory
from shiftboss.engine.schedule_requests import ScheduleRequests
from shiftboss.engine.schedules import Schedules


class Lives:
    is_closing = False


def entry(every: int) -> Entry:
    options = msgspec.to_builtins(Options(Times(every=every)))
    plain = Entry("shop/tick", ("/bin/true",), "shop", 1, 1, "/", "/", "/", "")
    return plain._replace(policy=Policy(kind=SCHEDULE, processes=0, options=options))


class FullDisk(FakeShell):
    """A shell whose store has no room for the next batches; `kept` is what it has written."""

    def __init__(self) -> None:
        super().__init__(clock=0.5)
        self.is_full, self.kept = False, list[Detail]()

    def save(self, save: Save, details: list[Detail], then: Callable[[str], None]) -> None:
        self.kept += [] if self.is_full else details
        then("no space" if self.is_full else "")


def test_what_is_kept_of_a_run_that_ended_on_a_full_disk_is_written_when_there_is_room() -> None:
    shell, posted = FullDisk(), deque[Incoming]()
    schedules = Schedules(
        shell, ScheduleMemory(), zone=ZoneInfo("UTC"), post=posted.append, idle=lambda: None
    )
    schedules.take_manifest([entry(every=1)])
    schedules.begin("keeper", "boot")

    def settle(clock: float) -> None:
        shell.clock = clock
        schedules.take(Tick())
        while posted:
            schedules.take(posted.popleft())

    settle(1.1)
    [spawn] = [sent for sent in shell.sent if isinstance(sent, messages.Spawn)]
    schedules.report(messages.Spawned(*spawn, 7, 1.1, "/", ""))
    settle(1.2)
    shell.is_full, shell.log_lines = True, ["no space left"]
    schedules.report(messages.Exited(*spawn, messages.Exit(3, 1.3, "", False, 0.0, 0.0, 4096), gone=True))
    settle(1.4)
    shell.is_full = False
    settle(20.0)
    assert [(detail.run, detail.excerpt) for detail in shell.kept] == [(spawn.run, "no space left")]


def test_a_run_that_is_asked_for_when_a_time_has_just_come_is_not_taken_for_that_one() -> None:
    shell, posted = FakeShell(clock=0.5), deque[Incoming]()
    schedules = Schedules(
        shell, ScheduleMemory(), zone=ZoneInfo("UTC"), post=posted.append, idle=lambda: None
    )
    schedules.take_manifest([entry(every=1)])
    schedules.begin("keeper", "boot")
    shell.clock = 1.2  # its time has come, and the engine was not woken yet
    answers: list[calls.Answer] = []
    requests = ScheduleRequests(shell, schedules, Lives())  # type: ignore[arg-type]
    requests.carry_out("run", calls.RunNow(target="shop/tick", wait_seconds=9), "ann", answers.append)
    while posted:
        schedules.take(posted.popleft())
    [asked_for] = [row for save in shell.saves for row in save.rows if row.cause == "by ann"]
    [answer] = answers
    assert isinstance(answer, calls.Ran)
    assert answer.number == asked_for.number
    assert answer.outcome == "skipped", "the one whose time has come is being started"
