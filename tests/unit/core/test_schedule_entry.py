"""A schedule's entry as the engine reads it: what is alike is one value, and nothing is mixed up by that."""

from zoneinfo import ZoneInfo

import msgspec
import pytest

from shiftboss.core.errors import UserError
from shiftboss.core.schedule_entry import Options, Times, read_options, terms_of_options
from shiftboss.core.timing import CronTiming, next_due

RIGA, UTC = ZoneInfo("Europe/Riga"), ZoneInfo("UTC")


def timing(address: str, times: Times, zone: ZoneInfo = UTC) -> CronTiming:
    found = terms_of_options(address, Options(times), zone).timing
    assert isinstance(found, CronTiming)
    return found


def test_equal_options_and_equal_times_are_one_value() -> None:
    plain = msgspec.to_builtins(Options(Times(cron="5 4 * * *")))
    first, second = read_options("p/a", plain), read_options("p/b", dict(plain))
    assert first is second
    assert timing("p/a", first.times) is timing("p/b", second.times)
    assert timing("p/a", first.times, RIGA) is not timing("p/a", first.times)


def test_a_hashed_time_is_that_of_its_own_schedule() -> None:
    times = Times(cron="H H * * *")
    found = {timing(f"p/s{number}", times).expression.minutes for number in range(20)}
    assert len(found) > 5


def test_each_schedule_is_named_that_has_no_such_zone() -> None:
    for address in ("p/a", "p/b"):
        with pytest.raises(UserError, match=f"^{address}: there is no time zone"):
            terms_of_options(address, Options(Times(cron="5 4 * * *", timezone="Nowhere/Land")), UTC)


def test_the_next_time_depends_on_zone_and_clock_changes() -> None:
    after = 1_774_737_000.0  # 2026-03-28 22:30 UTC, the night before Riga's clocks go forward
    times = Times(cron="30 3 * * *")
    skipping = Times(cron="30 3 * * *", dst="skip")
    due = [
        next_due(timing("p/a", times), after),
        next_due(timing("p/a", times, RIGA), after),
        next_due(timing("p/a", skipping, RIGA), after),
    ]
    assert due == [1_774_755_000, 1_774_746_000, 1_774_830_600]
