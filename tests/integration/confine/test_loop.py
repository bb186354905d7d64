"""The keeper's loop: timers that are cancelled are gone, with all that they hold."""

import weakref

import pytest

from shiftboss.confine.loop import Loop


class Held:
    """Something that a callback holds."""

    def called(self) -> None:
        pytest.fail("a cancelled timer called back")


def test_a_cancelled_timer_calls_nobody_and_holds_nothing() -> None:
    loop, told = Loop(), []
    held = Held()
    gone = weakref.ref(held)
    timer = loop.after(0.0, held.called)
    loop.after(0.01, lambda: told.append("later"))
    loop.cancel(timer)
    del held
    assert gone() is None

    while not told:
        loop.turn()

    loop.cancel(timer)
    loop.cancel(0)


def test_a_callback_may_cancel_others_that_are_due_at_the_same_time() -> None:
    loop, told = Loop(), []

    def cancel_them() -> None:
        told.append("first")
        for timer in others:
            loop.cancel(timer)

    loop.after(0.0, cancel_them)
    others = [loop.after(0.0, Held().called) for _ in range(1000)]
    loop.after(0.0, lambda: told.append("last"))

    while "last" not in told:
        loop.turn()

    assert told == ["first", "last"]


def test_a_hundred_thousand_cancelled_timers_of_a_day_leave_nothing_behind() -> None:
    loop = Loop()
    kept = loop.after(86_400, lambda: None)
    for _ in range(100_000):
        loop.cancel(loop.after(86_400, lambda: None))

    assert len(loop._timers) < 200
    assert loop._due.keys() == {kept}
