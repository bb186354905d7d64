"""What commands print, and what a shell completes."""

import json

import click
import pytest
from click.shell_completion import ShellComplete
from tests.shop import QUEUE, Shop

from shiftboss.cli.main import cli
from shiftboss.cli.output import Console, duration, print_json, size, table
from shiftboss.setup.session import on_machine


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h 0m"), (90000, "1d 1h")],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "-"), (0, "0K"), (524288, "512K"), (47185920, "45M"), (1288490189, "1.2G")]
)
def test_sizes_are_said_as_people_say_them(amount: int | None, text: str) -> None:
    assert size(amount) == text


def test_tables_are_aligned_and_have_no_blanks_at_line_ends() -> None:
    assert table(("A", "LONG", "C"), [("aaa", "x", ""), ("b", "yy", "c")]) == (
        "A    LONG  C\naaa  x\nb    yy    c"
    )


def test_a_cell_with_line_breaks_begins_no_row_of_its_own() -> None:
    assert table(("A", "B"), [("x\nroot  RUNNING", "y")]) == "A                B\nx root  RUNNING  y"


def test_a_quiet_console_says_only_what_must_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.print("result")
    console.step("done")
    console.waiting("waiting")
    console.warn("careful")

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "note: careful\n"


def test_what_is_waited_for_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for _ in range(3):
        console.waiting("waiting for a")
    console.waiting("waiting for b")
    console.step("a is done")

    assert capsys.readouterr().err == "  waiting for a …\n  waiting for b …\n  a is done\n"


HOSTILE = (
    "a\x1b]0;root\x07b\x1b[2J\rc\x9b2Jd\x1b[31me"  # sets the title, clears the screen, writes over the line
)


def test_what_a_project_wrote_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for say in (console.print, console.step, console.warn, console.waiting):
        say(HOSTILE)

    printed = capsys.readouterr()
    for line in (*printed.out.splitlines(), *printed.err.splitlines()):
        assert set(line) & set("\x1b\x07\r\x9b") == set(), line
    assert "a]0;rootb[2Jc2Jde" in printed.out


def test_json_holds_the_same_text_without_bare_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"log": HOSTILE, "name": "caf\u00e9"})

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"log": HOSTILE, "name": "caf\u00e9"}
    assert "caf\u00e9" in printed
    assert set(printed) & set("\x1b\x07\r\x7f\x9b") == set()


def completed(shop: Shop, *arguments: str) -> list[str]:
    """Return what a shell offers for the last of these words."""
    *before, incomplete = arguments
    with on_machine(shop.machine):
        found = ShellComplete(cli, {}, "shiftboss", "_SHIFTBOSS_COMPLETE").get_completions(before, incomplete)
    return [item.value for item in found]


def test_projects_and_units_are_completed() -> None:
    shop = Shop()
    shop.set_up(QUEUE)

    assert completed(shop, "status", "") == ["shop", "shop/queue"]
    assert completed(shop, "restart", "shop/") == ["shop/queue"]
    assert completed(shop, "setup", "s") == ["shop"]
    assert "status" in completed(shop, "sta")


def test_completion_goes_by_the_config_that_is_named_and_never_fails() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    shop.machine.files.write("/opt/config.toml", "")
    shop.machine.files.write("/opt/projects/other.toml", "")

    assert completed(shop, "--config", "/opt/config.toml", "status", "") == ["other"]
    assert completed(shop, "--config", "/nope.toml", "status", "") == []
    assert isinstance(cli, click.Group)
