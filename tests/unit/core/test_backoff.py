from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.backoff import Backoff, Tally

POLICY = Backoff()


def test_a_long_run_clears_the_tally_and_is_followed_at_once() -> None:
    tally = POLICY.count(Tally(7, 9), 10.0, lasted=True)
    assert tally == Tally()
    assert POLICY.delay(tally, 0.5) == 0


def test_short_runs_wait_longer_each_time_up_to_the_cap() -> None:
    delays, tally = [], Tally()
    for _ in range(9):
        tally = POLICY.count(tally, 0.2, lasted=False)
        delays.append(POLICY.delay(tally, 0.0))
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_program_that_lives_a_moment_longer_than_its_start_seconds_does_not_loop_for_ever() -> None:
    delays, tally = [], Tally()
    for _ in range(9):
        tally = POLICY.count(tally, 1.1, lasted=True)
        delays.append(POLICY.delay(tally, 0.0))
    assert delays == [0, 0, 0, 0, 0, 1, 2, 4, 8]


def test_a_run_that_lasted_forgives_failed_starts() -> None:
    assert POLICY.delay(POLICY.count(Tally(12, 0), 2.0, lasted=True), 0.0) == 0


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.floats(0, 1, exclude_max=True),
)
def test_the_delay_is_never_negative_nor_above_the_cap(failures: int, brief: int, jitter: float) -> None:
    delay = POLICY.delay(Tally(failures, brief), jitter)
    assert 0 <= delay <= POLICY.cap_seconds
    assert delay > 0 or (failures == 0 and brief <= POLICY.burst)


def test_a_run_that_ran_out_of_memory_has_failed_though_it_lasted() -> None:
    hour = POLICY.count(Tally(3, 2), 3600, lasted=True, starved=True)
    assert hour == Tally(1)
    soon = POLICY.count(hour, POLICY.good_seconds - 1, lasted=True, starved=True)
    assert soon.failures == 2
    assert POLICY.delay(soon, 0) > POLICY.delay(hour, 0) > 0
    assert POLICY.count(soon, 3600, lasted=True) == Tally()
