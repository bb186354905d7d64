"""What is asked of schedules is told of the very occurrence that was asked for."""

from collections import deque
from zoneinfo import ZoneInfo

import msgspec
from fake_shell import FakeShell

from shiftboss.api import calls
from shiftboss.core.agenda_values import Incoming
from shiftboss.core.schedule_entry import SCHEDULE, Options, Times
from shiftboss.core.wire.entry import Entry, Policy
from shiftboss.engine.occurrences import ScheduleMemory
from shiftboss.engine.schedule_requests import ScheduleRequests
from shiftboss.engine.schedules import Schedules


class Lives:
    is_closing = False


def entry(every: int) -> Entry:
    options = msgspec.to_builtins(Options(Times(every=every)))
    plain = Entry("shop/tick", ("/bin/true",), "shop", 1, 1, "/", "/", "/", "")
    return plain._replace(policy=Policy(kind=SCHEDULE, processes=0, options=options))


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
