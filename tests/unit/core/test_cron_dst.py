"""Which changes of the clocks touch a schedule, in plain words."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from shiftboss.core.cron import parse
from shiftboss.core.cron_dst import DstNote, dst_notes
from shiftboss.core.cron_times import DstPolicy

SPRING = "on Sunday 29 March 2026 the clock goes forward from 03:00 to 04:00: "
AUTUMN = "on Sunday 25 October 2026 the clock goes back from 04:00 to 03:00: "


def notes(
    expr: str, zone: str = "Europe/Riga", year: int = 2026, dialect: str = "native"
) -> tuple[DstNote, ...]:
    return dst_notes(parse(expr, dialect), ZoneInfo(zone), datetime(year, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("expr", "gap", "repeat"),
    [
        (
            "30 3 * * *",
            "03:30 does not exist, and it runs at 04:00",
            "03:30 comes twice, and it runs the first time only",
        ),
        (
            "0 3,4 * * *",
            "03:00 does not exist, and one run at 04:00 stands for it",
            "03:00 comes twice, and it runs the first time only",
        ),
        (
            "0-59 3 * * *",
            "60 times from 03:00 to 03:59 do not exist, and one run at 04:00 stands for them",
            "60 times from 03:00 to 03:59 come twice, and it runs the first time only",
        ),
        (
            "*/30 3 * * *",
            "03:00 and 03:30 do not exist, and these runs are left out",
            "03:00 and 03:30 come twice, and it runs both times",
        ),
        (
            "0 */3 * * *",
            "03:00 does not exist, and it does not run then",
            "03:00 comes twice, and it runs both times",
        ),
    ],
)
def test_both_changes_are_told_with_date_and_consequence(expr: str, gap: str, repeat: str) -> None:
    spring, autumn = notes(expr)
    assert (spring.kind, spring.message, spring.at.isoformat()) == (
        "gap",
        SPRING + gap,
        "2026-03-29T04:00:00+03:00",
    )
    assert (autumn.kind, autumn.message, autumn.at.isoformat()) == (
        "repeat",
        AUTUMN + repeat,
        "2026-10-25T03:00:00+02:00",
    )


@pytest.mark.parametrize(
    "expr", ["* * * * *", "0 * * * *", "*/15 * * * *", "0 12 * * *", "30 3 * * 1", "@reboot"]
)
def test_what_goes_on_at_its_pace_or_is_elsewhere_is_not_touched(expr: str) -> None:
    assert notes(expr) == ()


def test_a_zone_without_changes_has_no_notes() -> None:
    assert notes("30 2 * * *", "UTC") == ()


def test_half_an_hour_touches_hourly_but_not_half_hourly_schedules() -> None:
    """Lord Howe Island: every hour is one of 30 minutes less or more then, every half hour is as ever."""
    (gap,) = notes("0 * * * *", "Australia/Lord_Howe")
    assert gap.kind == "gap"
    assert notes("*/30 * * * *", "Australia/Lord_Howe") == ()


def test_a_skipped_day_is_a_gap() -> None:
    """Samoa had no 30 December 2011."""
    (note,) = (n for n in notes("0 2 30 12 *", "Pacific/Apia", 2011) if n.at.month == 12)
    assert "from 00:00 to 00:00 on 2011-12-31: 02:00 does not exist" in note.message


def test_daemons_start_all_missed_times_at_once() -> None:
    """Observed: Debian's cron starts 0-59 3 sixty times at 04:00; the note says so where it will run there."""
    assert (
        "Debian's cron starts it 60 times at once at 04:00"
        in notes("0-59 3 * * *", dialect="debian")[0].message
    )
    assert "and it runs at 04:00" in notes("30 3 * * *", dialect="debian")[0].message


@pytest.mark.parametrize(("dst", "told"), [("debian", "it runs at 04:00"), ("skip", "it does not run then")])
def test_the_policy_decides_what_is_told(dst: DstPolicy, told: str) -> None:
    note = dst_notes(parse("30 3 * * *"), ZoneInfo("Europe/Riga"), datetime(2026, 1, 1, tzinfo=UTC), dst)[0]
    assert note.message.endswith(told)
