"""A short stretch in which Ctrl-C waits."""

import signal

import pytest

from shiftboss.host.interrupts import uninterrupted


def test_ctrl_c_waits_until_the_stretch_is_over() -> None:
    done = []

    def stretch() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("the stretch")

    with pytest.raises(KeyboardInterrupt):
        stretch()
    assert done == ["the stretch"]


def test_stretches_can_be_nested() -> None:
    done = []

    def stretch() -> None:
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
            done.append("the outer one")

    with pytest.raises(KeyboardInterrupt):
        stretch()
    assert done == ["the outer one"]


def test_what_was_held_back_before_stays_so() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
