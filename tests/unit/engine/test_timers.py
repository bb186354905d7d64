from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from shiftboss.engine.timers import SLACK_SECONDS, Timers


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Alarm:
    """Time that moves when it is told to; counts how often it woke somebody."""

    def __init__(self) -> None:
        self.now, self.wakes = 0.0, 0
        self.calls: list[tuple[float, Handle, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        handle = Handle()
        self.calls.append((when, handle, callback))
        return handle

    def waiting(self) -> list[float]:
        return sorted(when for when, handle, _ in self.calls if not handle.cancelled)

    def run_to(self, end: float) -> None:
        while self.waiting() and self.waiting()[0] <= end:
            when = self.waiting()[0]
            call = next(c for c in self.calls if c[0] == when and not c[1].cancelled)
            self.calls.remove(call)
            self.now = max(self.now, when)
            self.wakes += 1
            call[2]()
        self.now = max(self.now, end)


def made() -> tuple[Alarm, Timers, list[tuple[str, int, float]]]:
    alarm, rung = Alarm(), list[tuple[str, int, float]]()
    timers = Timers(alarm, lambda key, epoch: rung.append((key[0], epoch, alarm.now)))
    return alarm, timers, rung


def test_a_timer_rings_once_with_its_epoch() -> None:
    alarm, timers, rung = made()
    timers.arm(("a/b", 1), 7, 2.0)
    alarm.run_to(10)
    assert [(key, epoch) for key, epoch, _ in rung] == [("a/b", 7)]
    assert 2.0 <= rung[0][2] <= 2.0 + SLACK_SECONDS
    assert alarm.waiting() == []


def test_a_newer_timer_takes_the_place_of_the_older_sooner_or_later() -> None:
    for first, second in ((5.0, 1.0), (1.0, 5.0)):
        alarm, timers, rung = made()
        timers.arm(("a/b", 1), 1, first)
        timers.arm(("a/b", 1), 2, second)
        alarm.run_to(10)
        assert [epoch for _, epoch, _ in rung] == [2]
        assert rung[0][2] >= second


def test_nothing_wakes_when_the_last_timer_is_cancelled() -> None:
    alarm, timers, rung = made()
    timers.arm(("a/b", 1), 1, 5.0)
    timers.cancel(("a/b", 1))
    assert alarm.waiting() == []
    assert rung == []
    assert timers.due_in(("a/b", 1)) is None


def test_a_thousand_timers_of_one_moment_wake_once() -> None:
    alarm, timers, rung = made()
    for number in range(1000):
        timers.arm(("a/b", number), 1, 1.0 + number * SLACK_SECONDS / 2000)
    alarm.run_to(2)
    assert (len(rung), alarm.wakes) == (1000, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 20), st.booleans(), st.floats(0, 3)), max_size=60))
def test_every_newest_timer_rings_in_time_and_no_other(steps: list[tuple[int, float, bool, float]]) -> None:
    alarm, timers, rung = made()
    newest: dict[int, tuple[int, float]] = {}
    for epoch, (number, seconds, cancel, pause) in enumerate(steps):
        if cancel:
            timers.cancel(("a/b", number))
            newest.pop(number, None)
        else:
            timers.arm(("a/b", number), epoch, seconds)
            newest[number] = (epoch, alarm.now + seconds)
        alarm.run_to(alarm.now + pause)
        heard = {epoch: at for _, epoch, at in rung}
        for key, (armed, due) in list(newest.items()):
            if armed in heard:
                assert due <= heard[armed] <= due + SLACK_SECONDS + 1e-9
                del newest[key]
            else:
                assert alarm.now <= due + SLACK_SECONDS + 1e-9
    alarm.run_to(alarm.now + 100)
    assert {epoch for epoch, _ in newest.values()} <= {epoch for _, epoch, _ in rung}
    assert len({epoch for _, epoch, _ in rung}) == len(rung)
