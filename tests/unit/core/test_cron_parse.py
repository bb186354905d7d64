"""Reading expressions: dialects, messages, hashed values."""

import pytest

from shiftboss.core.cron import parse
from shiftboss.core.cron_lint import lint
from shiftboss.core.cron_text import values
from shiftboss.core.errors import UserError


@pytest.mark.parametrize(
    ("expr", "message", "hint"),
    [
        ("61 * * * *", "minute: 61 is out of range 0-59", ""),
        ("0 0 32 * *", "day of month: 32 is out of range 1-31", ""),
        ("5/15 * * * *", "minute: 5/15 has a step but no range", "Write 5-59/15."),
        ("0 22-2 * * *", "hour: 22-2 runs backwards", "Write 22-23,0-2."),
        ("0 0 * * fri-mon", "day of week: fri-mon runs backwards", "Write fri-sat,sun-mon."),
        ("*/0 * * * *", "minute: */0 has a step of 0", "A step is 1 or more."),
        ("1,,2 * * * *", "minute: an item of the list is empty", "Remove the comma that is too much."),
        ("5- * * * *", "minute: a number is missing in '5-'", ""),
        ("0 0 * * monday", "day of week: 'monday' is not a number", "Names have three letters: mon."),
        ("0 0 ? * *", "day of month: cannot read '?'", "Write * instead of ?."),
        ("@Daily", "'@Daily' is not a nickname of a time (did you mean '@daily'?)", "every 5 minutes is"),
        ("* * * *", "the cron expression has 4 fields, but shiftboss takes 5 or 6", "start with the second"),
        ("", "the cron expression has 0 fields, but shiftboss takes 5 or 6", "Write minute, hour"),
        ("CRON_TZ=UTC 0 2 * * *", "a time zone is not part of a cron expression", "timezone"),
        ("0 2 * * *\r", "the cron expression contains a control character ('\\r')", "one line"),
        ("0 2 * * *\n0 3 * * *", "the cron expression contains a control character ('\\n')", "one line"),
        ("\u0661 * * * *", "minute: cannot read '\u0661'", "0-9"),
        ("1" * 1001, "the cron expression is longer than 1000 characters", ""),
    ],
)
def test_a_message_names_field_and_fault_and_what_to_write(expr: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(expr)
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_an_unknown_dialect_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="did you mean 'debian'") as caught:
        parse("* * * * *", "debain")  # codespell:ignore debain
    assert caught.value.hint == "The dialects are native, debian, cronie."
    with pytest.raises(UserError):
        lint("* * * * *", "vixie")


def test_native_weekdays_end_with_sunday() -> None:
    """A week may be read from Monday to Sunday: the Sunday that ends a range is the seventh day."""
    assert parse("0 0 * * sat-sun").weekdays == parse("0 0 * * 6,7").weekdays
    assert parse("0 0 * * mon-sun").weekdays == parse("0 0 * * *").weekdays
    assert values(parse("0 0 * * fri-sun/2").weekdays) == [0, 5]


def test_hashed_values_are_stable_and_differ_by_key_and_field() -> None:
    """`H` is one value of its field that depends on the key only, so that projects do not all start at once."""
    first = parse("H H * * *", key="shop/backup")
    assert first == parse("H H * * *", key="shop/backup")
    assert (values(first.minutes), values(first.hours)) == ([53], [7])
    minutes = {values(parse("H * * * *", key=f"project{n}/backup").minutes)[0] for n in range(600)}
    assert minutes == set(range(60))


@pytest.mark.parametrize("number", range(40))
def test_hashed_values_stay_within_their_bounds(number: int) -> None:
    """`H/n` keeps the distance, `H(a-b)` the range, and a hashed day is one that every month has."""
    key = f"project{number}/backup"
    quarters = values(parse("H/15 * * * *", key=key).minutes)
    assert quarters[0] < 15
    assert quarters == list(range(quarters[0], 60, 15))
    assert values(parse("H(10-19) * * * *", key=key).minutes)[0] in range(10, 20)
    in_range = values(parse("H(10-19)/5 * * * *", key=key).minutes)
    assert in_range == list(range(in_range[0], 20, 5))
    assert values(parse("0 0 H * *", key=key).days)[0] <= 28
    assert values(parse("0 0 * * H", key=key).weekdays)[0] in range(7)


@pytest.mark.parametrize(
    "expr", ["H(5-2) * * * *", "H/61 * * * *", "H/0 * * * *", "H(0-60) * * * *", "h * * * *"]
)
def test_hashes_out_of_bounds_are_refused(expr: str) -> None:
    with pytest.raises(UserError, match="minute: "):
        parse(expr)


@pytest.mark.parametrize(
    ("expr", "codes"),
    [
        ("5-0 * * * *", {"zero-end"}),
        ("0 0 * * 5-0", set()),
        ("0 0 * * 5-0/2", {"reversed-range", "never"}),
        ("50-10 * * * *", {"reversed-range", "never"}),
        ("1.5 * * * *", {"invalid"}),
        ("0~30 * * * *", {"invalid"}),
        ("5-99/100 * * * *", set()),
        ("4294967301 * * * *", {"overflow"}),
    ],
)
def test_cronie_is_read_by_its_own_rules(expr: str, codes: set[str]) -> None:
    """entry.c of cronie 1.7: strict at the end of items, silent on ranges, x-0 is x-7 (not with a step)."""
    assert {finding.code for finding in lint(expr, "cronie") if finding.fatal} == codes


@pytest.mark.parametrize(
    ("expr", "dialect", "codes"),
    [
        ("0 0 1 * 1", "native", {"either-day": False}),
        ("0 0 1-31 * mon", "debian", {"every-day": False}),
        ("0 0 */2 * sun", "debian", {"both-days": False}),
        ("*/90 * * * *", "debian", {"big-step": False}),
        ("*/7 * * * *", "native", {"uneven-step": False}),
        ("CRON_TZ=UTC 0 2 * * *", "debian", {"time-zone": True}),
        ("0 2 * * *\r", "debian", {"crlf": True}),
        ("1\u0661 * * * *", "debian", {"non-ascii": True, "ignored-tail": True}),
        ("0 0 30 2 *", "native", {"never": True}),
        ("* * * * *", "debian", {}),
        ("@reboot", "debian", {}),
    ],
)
def test_lint_tells_notes_from_what_must_not_be_written(
    expr: str, dialect: str, codes: dict[str, bool]
) -> None:
    assert {finding.code: finding.fatal for finding in lint(expr, dialect)} == codes
