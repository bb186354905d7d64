"""The engine's own command line, which only the keeper uses."""

import pytest

from shiftboss.engine.main import USAGE, main


@pytest.mark.parametrize(
    "argv", [[], ["--state", "/s"], ["--state", "/s", "--keeper-fd", "x"], ["--state", "/s", "--keeper-fd"]]
)
def test_a_wrong_command_line_is_answered_with_the_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == USAGE
    assert capsys.readouterr().err.startswith("usage: shiftboss.engine.main --keeper-fd N --state DIR")
