"""Names and addresses, checked before they reach a path or a file."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.errors import UserError
from shiftboss.core.names import NAME_PATTERN, Target, address, check_name, parse_target, suggest

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True).filter(str.isascii)


@pytest.mark.parametrize("name", ["a", "0", "my-app_2", "a" * 27])
def test_legal_names_come_back(name: str) -> None:
    assert check_name(name, "project") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a b",
        "x:y",
        "a/b",
        ".",
        "-a",
        "_a",
        "A",
        "é",
        "a\n",
        "\n",
        "a\0",
        "a" * 28,
        "a" * 300,
        "%s",
        "$(id)",
    ],
)
def test_others_are_refused_on_one_short_line_with_the_rule(name: str) -> None:
    with pytest.raises(UserError, match=r"is not a project name|the project name is empty") as error:
        check_name(name, "project")

    assert error.value.message.isprintable()
    assert len(error.value.message) < 90
    assert "1 to 27 characters" in error.value.hint


def test_a_long_name_is_told_by_its_length() -> None:
    with pytest.raises(UserError, match=r"\(300 characters\)"):
        check_name("a" * 300, "worker")


@given(st.text(max_size=30))
def test_what_passes_is_safe_in_a_path_and_for_useradd(text: str) -> None:
    try:
        name = check_name(text, "project")
    except UserError:
        return
    assert re.fullmatch(r"[a-z0-9_-]{1,27}", name)
    assert not name.startswith(("-", "."))
    assert len(f"{name}_user") <= 32


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("myapp", Target("myapp")),
        ("myapp/queue", Target("myapp", "queue")),
        ("myapp/queue:2", Target("myapp", "queue", 2)),
        ("myapp/queue:9999", Target("myapp", "queue", 9999)),
    ],
)
def test_targets_are_read_and_written_alike(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text


@given(NAMES, st.none() | NAMES, st.none() | st.integers(1, 9999))
def test_an_address_is_a_target(project: str, unit: str | None, process: int | None) -> None:
    target = Target(project, unit, process if unit else None)
    assert parse_target(str(target)) == target
    if unit:
        assert address(project, unit, process) == str(target)


@pytest.mark.parametrize(
    "text",
    ["", "/", "myapp/", "/queue", "myapp:2", "myapp/queue:", "myapp/queue:0", "myapp/queue:x", "myapp/queue:10000",
     "myapp/queue:99999999999999999999", "myapp/queue:²", "myapp/queue:1:2", "myapp/queue/x", "my app", "myapp/q:-1",
     "myapp/queue:" + "9" * 5000, "x" * 5000],
)  # fmt: skip
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_target(text)
    assert len(error.value.message) < 130
    assert error.value.hint


@given(st.text(max_size=20))
def test_any_text_is_a_target_or_an_error_for_people(text: str) -> None:
    try:
        target = parse_target(text)
    except UserError as error:
        refused = error.message
        assert refused.isprintable()
    else:
        assert target.project


def test_a_near_word_is_suggested() -> None:
    assert suggest("quene", ["queue", "node"]) == " (did you mean 'queue'?)"
    assert suggest("xyz", ["queue", "node"]) == ""
    assert suggest("x", []) == ""
