"""Expressions in plain English."""

import pytest
from cron_oracle import Case, cases
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.cron import parse
from shiftboss.core.cron_text import describe
from shiftboss.core.errors import UserError

TEXTS = """
* * * * *             every minute
*/5 * * * *           every 5 minutes
0,30 * * * *          every 30 minutes
*/7 * * * *           every 7 minutes from the start of each hour
5-59/15 * * * *       at 5, 20, 35 and 50 minutes past every hour
0-29 * * * *          every minute from :00 to :29 of every hour
0 * * * *             every hour
1 * * * *             at 1 minute past every hour
0 2 * * *             at 02:00
0 1,13 * * *          at 01:00 and 13:00
0 */2 * * *           every 2 hours
15 */2 * * *          every 2 hours from 00:15 to 22:15
0 9-17 * * mon-fri    every hour from 09:00 to 17:00 on Monday to Friday
*/15 9-17 * * *       every 15 minutes from 09:00 to 17:45
* 3 * * *             every minute from 03:00 to 03:59
*/10 3,5,9 * * *      every 10 minutes of the hours 03, 05 and 09
5,10,17 3,4,9 * * *   at 5, 10 and 17 minutes past the hours 03, 04 and 09
30 2 * * 1-5          at 02:30 on Monday to Friday
0 0 * * 6,7           at 00:00 every Saturday and Sunday
0 0 * * 0,1,6         at 00:00 every Monday, Saturday and Sunday
0 0 1 * *             at 00:00 on the 1st of every month
0 0 1-7 * */7         at 00:00 on the 1st to 7th of every month, if it is a Sunday
0 0 1 * 1             on the 1st or every Monday at 00:00
* * 13 * 5            on the 13th or every Friday, every minute
0 0 1-31 * mon        at 00:00
0 0 1 1,7 *           at 00:00 on the 1st of January and July
0 0 * 2 mon           at 00:00 every Monday in February
* * * 6-8 *           every minute in June to August
0 0 29 2 *            at 00:00 on the 29th of February (leap years only)
0 0 L * *             at 00:00 on the last day of every month
0 0 LW * *            at 00:00 on the last working day of every month
0 0 L-3 * *           at 00:00 on the 3rd day before the last of every month
0 0 15W * *           at 00:00 on the working day nearest the 15th of every month
0 0 * * 5L            at 00:00 on the last Friday of every month
0 0 * * 1#1           at 00:00 on the first Monday of every month
*/10 * * * * *        every 10 seconds
15 * * * * *          at second 15 of every minute
15 30 2 * * *         at 02:30:15
*/10 30 2 * * *       every 10 seconds for one minute, at 02:30
0 0 30 2 *            never runs: February has no 30th
0 0 31 4,6 *          never runs: April and June have no 31st
0 0 L-30 2 *          never runs: no date matches
@hourly               every hour
@weekly               at 00:00 every Sunday
@yearly               at 00:00 on the 1st of January
@reboot               once after each start of the machine
"""


@pytest.mark.parametrize("line", TEXTS.strip().splitlines())
def test_wording(line: str) -> None:
    """A person would say it so."""
    expr, text = (part.strip() for part in line.split("   ", 1)) if "   " in line else line.split("  ", 1)
    assert describe(parse(expr)) == text


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        ("50-10 * * * *", "never runs: no minute matches"),
        ("* * * * sat-sun", "never runs: no day of week matches"),
        ("0 0 * * 1#1", "at 00:00 every Monday"),
        ("*-5 4 * * *", "every minute from 04:00 to 04:59"),
    ],
)
def test_text_tells_what_debian_does_and_not_what_is_written(expr: str, text: str) -> None:
    """The text is made from the parsed sets, so it cannot repeat a misunderstanding."""
    assert describe(parse(expr, "debian")) == text


@given(cases(), st.sampled_from(["", "* ", "30 ", "*/7 ", "1,2 "]))
def test_every_valid_expression_has_a_text(case: Case, seconds: str) -> None:
    """There is a text for whatever can be parsed, of one line and without loose ends."""
    text = describe(parse(seconds + case.text))
    assert text == text.strip() != ""
    assert "  " not in text


@given(
    st.lists(st.text("0123456789*/,-#LWHsun", min_size=1, max_size=4), min_size=5, max_size=5).map(" ".join)
)
def test_describe_never_raises(expr: str) -> None:
    """Also for what only Debian's cron takes, empty sets included."""
    for dialect in ("native", "debian", "cronie"):
        try:
            parsed = parse(expr, dialect)
        except UserError:
            continue
        assert describe(parsed)
