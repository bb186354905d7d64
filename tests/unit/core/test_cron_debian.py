"""The `debian` dialect takes and refuses exactly what the real `crontab -n` of Debian does."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shiftboss.core.cron import parse
from shiftboss.core.cron_dialects import NICKNAMES, REBOOT
from shiftboss.core.cron_lint import lint
from shiftboss.core.errors import UserError

Crontab = Callable[[str], bool]

TAKEN_AND_RIGHT = """
* * * * *|*/5 * * * *|0 2 * * 1-5|17-43/5 * * * *|15-30/4,55 * * * *|0-59 0-23 1-31 1-12 0-7|7-7 * * * 7
* * * jan,feb *|* * * 1-feb *|* * * jan-mar/2 *|* * * * mon-5|* * * * sun-7|* * * * SUN-Tue|007 * * * *
*,5 * * * *|5,* * * * *|*/5,*/7 * * * *|*/100 * * * *|0 0 1,15 * sun|0\t0  1 *\t*
"""
TAKEN_AND_WRONG = """
50-10 * * * *|0 22-2 * * *|* * * * fri-mon|* * * * sat-sun|* * * * 6-0|* * * * 7-1|* * * dec-jan *|1-5,9-3 * * * *
0 0 * * 1#1|0 0 * * mon#1|0~30 * * * *|1.5 * * * *|1-5-7 * * * *|*-5 * * * *|1-5/2/2 * * * *|*L * * * *|** * * * *
1_0 * * * *|*/2-3 * * * *|1.5,70 * * * *|1-5-7,x * * * *|1? * * * *|1\u0661 * * * *|0 0 30 2 *|0 0 31 4,6 *
4294967301 * * * *|*/4294967297 * * * *|1-4294967298 * * * *|0 0 */31 * 1#2
"""
REFUSED = """
60 * * * *|* 24 * * *|* * 0 * *|* * 32 * *|* * * 0 *|* * * 13 *|* * * * 8|*/0 * * * *|1-5/0 * * * *|5/15 * * * *
/5 * * * *|*/ * * * *|,1 * * * *|1,,2 * * * *|1, * * * *|1- * * * *|1-* * * * *|-1 * * * *|5--5 * * * *|*/-1 * * * *
*/x * * * *|1a * * * *|0x5 * * * *|+5 * * * *|? * * * *|~ * * * *|H * * * *|\u0661 * * * *|99-5 * * * *|5-60/60 * * * *
0 0 L * *|0 0 LW * *|0 0 15W * *|0 0 * * 5L|0 0 * * monday|0 0 * january *|* * * * sun-|0 0 * * mon/2|jan * * * *
*/jan * * * *|*/4294967296 * * * *|4294967295 * * * *|99999999999 * * * *|18446744073709551617 * * * *
@every 5m|@noon|@Daily|@DAILY|@
"""
# int overflows in a loop there; what happens then is undefined in C
UNDEFINED = re.compile(r"[0-9]{7,}")


def listed(text: str) -> list[str]:
    return [expr for line in text.strip("\n").splitlines() for expr in line.split("|")]


@pytest.fixture(scope="session")
def crontab(tmp_path_factory: pytest.TempPathFactory) -> Crontab:
    """Ask the real program about one expression."""
    program = shutil.which("crontab")
    if program is None:
        pytest.skip("the crontab program of Debian's cron is not installed")
    file = tmp_path_factory.mktemp("crontab") / "crontab"
    return lambda expr: accepts(program, file, expr)


def accepts(program: str, file: Path, expr: str) -> bool:
    file.write_text(f"{expr} /bin/true\n")
    return subprocess.run([program, "-n", str(file)], capture_output=True, check=False).returncode == 0


def parses(expr: str) -> bool:
    try:
        parse(expr, "debian")
    except UserError:
        return False
    return True


@pytest.mark.parametrize("expr", [*listed(TAKEN_AND_RIGHT), *NICKNAMES, REBOOT])
def test_what_is_right_is_taken_by_both(crontab: Crontab, expr: str) -> None:
    """Cron takes it, we take it, and lint has nothing against it."""
    assert crontab(expr)
    assert parses(expr)
    assert not any(finding.fatal for finding in lint(expr, "debian"))


@pytest.mark.parametrize("expr", listed(TAKEN_AND_WRONG))
def test_what_is_wrong_is_taken_by_both_and_found_by_lint(crontab: Crontab, expr: str) -> None:
    """Cron takes it without a word, so we know what it does with it; but it must not be written."""
    assert crontab(expr)
    assert parses(expr)
    assert any(finding.fatal for finding in lint(expr, "debian"))


@pytest.mark.parametrize("expr", listed(REFUSED))
def test_what_cron_refuses_is_refused(crontab: Crontab, expr: str) -> None:
    """Cron refuses it, and so do we: an error of the user, and a fatal finding."""
    assert not crontab(expr)
    assert not parses(expr)
    assert any(finding.fatal for finding in lint(expr, "debian"))


ITEMS = st.from_regex(
    r"\A(\*|[0-9]{1,2}(-[0-9]{1,2})?|(sun|Mon|jan|DEC)(-(mon|fri|feb|[0-9]))?)(/[0-9]{1,2})?\Z",
    fullmatch=True,
)
SOUP = st.text("0123456789*/,-~.?LWHjanmo_#", min_size=1, max_size=5)
WORDS = st.one_of(st.just("*"), ITEMS, st.lists(ITEMS, min_size=2, max_size=3).map(",".join), SOUP)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, min_size=5, max_size=5).map(" ".join).filter(lambda text: text[0] != "#"))
@example("1-5/7 23-22 31-1/4 Jan-2 sun-mon")
def test_both_take_and_refuse_the_same(crontab: Crontab, expr: str) -> None:
    """For any five words, likely and unlikely ones, our answer is the program's."""
    if UNDEFINED.search(expr):
        return
    assert parses(expr) == crontab(expr)


@given(st.lists(WORDS, min_size=5, max_size=5).map(" ".join))
def test_lint_never_raises_and_explains_every_refusal(expr: str) -> None:
    """Whatever the text: in each dialect lint answers, with a fatal finding if the text cannot be parsed."""
    for dialect in ("native", "debian", "cronie"):
        findings = lint(expr, dialect)
        try:
            parse(expr, dialect)
        except UserError:
            assert any(finding.fatal for finding in findings)
