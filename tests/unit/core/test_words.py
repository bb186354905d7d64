"""Commands as words: split as a shell would, but no shell runs them."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.errors import UserError
from shiftboss.core.words import command_words, shown

PLAIN = st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("php artisan thumbs:work", ("php", "artisan", "thumbs:work")),
        ("""node server.js --name "a b" 'c d' e\\ f""", ("node", "server.js", "--name", "a b", "c d", "e f")),
        ("""echo "a;b" '$HOME' \\| "x > y" '*'""", ("echo", "a;b", "$HOME", "|", "x > y", "*")),
        ('echo "say \\"hi\\" & go"', ("echo", 'say "hi" & go')),
        ("echo 100% ž #5 a&b", ("echo", "100%", "ž", "#5", "a&b")),
        ("echo ''", ("echo", "")),
        ("a\tb", ("a", "b")),
    ],
)
def test_a_string_is_split_as_a_shell_would(command: str, words: tuple[str, ...]) -> None:
    assert command_words(command) == words


@pytest.mark.parametrize(
    ("command", "mark"),
    [
        ("a | b", "|"), ("a > b", ">"), ("a < b", "<"), ("a && b", "&&"), ("a; b", ";"), ("echo $HOME", "$"),
        ("ls *", "*"), ("a 'x' | b", "|"), ("a \\\\| b", "|"), ('a "x" ; b', ";"),
    ],
)  # fmt: skip
def test_what_only_a_shell_understands_is_refused_with_the_way_out(command: str, mark: str) -> None:
    with pytest.raises(UserError, match="no shell runs it") as error:
        command_words(command)
    assert f"contains {mark} outside quotes" in error.value.message
    assert "shell = true" in error.value.hint


@pytest.mark.parametrize("command", ["", "   ", [], [""], [" "], "''", ["", "x"]])
def test_an_empty_command_is_refused(command: str | list[str]) -> None:
    with pytest.raises(UserError, match="the command is empty") as error:
        command_words(command)
    assert "--" in error.value.hint


@pytest.mark.parametrize("shell", [False, True])
@pytest.mark.parametrize("mark", ["\n", "\r", "\0", "\x1b", "\x7f"])
def test_control_characters_are_refused_everywhere(mark: str, shell: bool) -> None:
    for command in (f"echo a{mark}b", ["echo", f"a{mark}b"], f"echo 'a{mark}b'"):
        with pytest.raises(UserError, match="control character") as error:
            command_words(command, shell=shell)
        assert mark not in error.value.message
        assert "one line" in error.value.hint


@pytest.mark.parametrize("command", ["echo 'a", 'echo "a', "echo a\\", "echo 'a | b"])
def test_quotes_that_do_not_close_are_refused(command: str) -> None:
    with pytest.raises(UserError) as error:
        command_words(command)
    assert error.value.hint


def test_a_list_is_taken_as_it_is() -> None:
    assert command_words(["php", "a b", "|", "$X", ""]) == ("php", "a b", "|", "$X", "")


def test_a_shell_gets_the_whole_string() -> None:
    assert command_words("a | b > c; $X", shell=True) == ("/bin/sh", "-c", "a | b > c; $X")
    assert command_words(["echo", "a b"], shell=True) == ("/bin/sh", "-c", "echo 'a b'")
    for empty in ("", "  ", []):
        with pytest.raises(UserError, match="the command is empty"):
            command_words(empty, shell=True)


@given(st.lists(PLAIN, min_size=1, max_size=5).filter(lambda words: bool(words[0].strip())))
def test_what_is_shown_can_be_typed_again(words: list[str]) -> None:
    assert command_words(shown(words)) == tuple(words)
    assert command_words(words) == tuple(words)


@given(st.text(max_size=30))
def test_any_string_gives_words_or_an_error_for_people(text: str) -> None:
    try:
        words = command_words(text)
    except UserError as error:
        hint = error.hint
        assert hint
    else:
        assert list(words) == shlex.split(text)
        assert words[0].strip()
