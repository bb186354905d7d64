"""Lines for cron, run by the real /bin/sh: every word arrives exactly as it was meant."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shiftboss.backends.cron_line import render_line
from tests.cron_model import after_percent_rule
from tests.small_server import project, schedule

PRINTF = ("/usr/bin/printf", r"%s\0")
PIECES = [
    "%", "\\", "\\\\", "\\%", "'", '"', ";", "&&", "|", ">", " #", " ", "$HOME", "`id`", "$(id)", "*", "~", "!", "\t", "{a,b}",
    "A=1", "-n", "é", "日本語",
]  # fmt: skip
WORDS = st.lists(
    st.lists(
        st.sampled_from(PIECES) | st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=6
    ).map("".join),
    max_size=5,
)


@pytest.mark.parametrize("halves_backslashes", [True, False], ids=["debian", "cronie"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
@example(words=["100%", 'it\'s "q"', "a;b && c", "", "App\\\\Jobs\\%", "-n", "žluťoučký kůň"])
def test_the_shell_gives_the_program_exactly_these_words(
    words: list[str], halves_backslashes: bool, tmp_path: Path
):
    place = tmp_path / "50% of 'it'\\"
    (place / "current").mkdir(parents=True, exist_ok=True)
    log = place / "job.log"
    log.unlink(missing_ok=True)
    of = project(root=str(place), logs=str(place))
    line = render_line(schedule("job", argv=(*PRINTF, *words), of=of))
    command, stdin = after_percent_rule(line.split(" ", 6)[6], halves_backslashes=halves_backslashes)
    subprocess.run(["/bin/sh", "-c", command], check=True, input=stdin.encode(), timeout=30)
    printed = log.read_bytes().decode().split("\0")[:-1]
    assert printed == (words or [""])


def test_model_of_the_shell_in_the_unit_tests_is_right_about_our_quoting():
    text = "a 'b' \"c\" $d `e` \\f \\\\g"
    printed = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(PRINTF)} {shlex.quote(text)}"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert printed.stdout.decode() == f"{text}\0"
