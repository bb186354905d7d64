"""The tasks inside a Laravel scheduler: real lists of several versions, and rubbish."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.laravel_samples import sample

from shiftboss.core.laravel_list import Task, read_list, tasks_due
from shiftboss.core.laravel_text import LONGEST_TEXT

TABLES = ["list-8.83.26", "list-9.4.1"]
LINES = ["list-9.20.0", "list-9.52.22", "list-10.50.3", "list-11.40.0", "list-11.56.0", "list-12.67.0"]
JSON = ["json-11.56.0", "json-12.67.0"]
NAMES = [
    "app:heartbeat every-minute",
    "app:heartbeat broken --exit=3",
    "app:heartbeat guarded --sleep=2",
    "app:heartbeat nightly",
    "echo one | tr o 0; exit 7",
    "closure-boom",
]


def tasks(name: str) -> tuple[Task, ...]:
    found = read_list(sample(name))
    assert found is not None
    return found


@pytest.mark.parametrize("name", [*TABLES, *LINES, *JSON])
def test_every_version_lists_the_same_tasks(name: str) -> None:
    found = tasks(name)

    assert [task.name for task in found[:6]] == NAMES
    assert found[-1].name == "App\\Jobs\\SendEmail"
    assert found[-1].expression == "*/5 * * * *"
    nightly = found[3]
    assert nightly.description == "Nightly | rest"
    assert nightly.next == "2026-11-25T02:15:00+00:00"
    assert nightly.expression in {"15 3 * * *", "15 2 * * *"}, (
        "in its own zone, since 11.51 in that of the list"
    )
    assert [task.name for _, task in tasks_due(found)][-1] == "app:heartbeat nightly"
    assert len(tasks_due(found)) == len(found)


@pytest.mark.parametrize("name", ["list-10.50.3", "list-11.56.0", "list-12.67.0", *JSON])
def test_seconds_of_a_task_within_the_minute(name: str) -> None:
    seconds = {task.name: task.repeat_seconds for task in tasks(name)}

    assert seconds.pop("app:heartbeat quick") == 20
    assert set(seconds.values()) == {None}


@pytest.mark.parametrize("name", ["locked-9.4.1", "locked-9.52.22", "locked-12.67.0"])
def test_a_taken_lock_is_seen(name: str) -> None:
    assert [task.name for task in tasks(name) if task.locked] == ["app:heartbeat guarded --sleep=2"]


def test_what_a_version_does_not_tell_is_none_and_not_false() -> None:
    assert {task.locked for task in tasks("list-8.83.26")} == {None}
    assert {task.locked for task in tasks("json-12.67.0")} == {False}
    assert tasks("json-12.67.0")[0].timezone == "UTC"
    assert tasks("list-12.67.0")[0].timezone is None


@pytest.mark.parametrize("name", ["empty-9.4.1", "empty-9.52.22", "empty-12.67.0", "empty-json-12.67.0"])
def test_a_list_without_tasks_is_a_list(name: str) -> None:
    assert tasks(name) == ()


def test_words_for_the_next_time_stay_words() -> None:
    (task,) = [task for task in tasks("locked-9.52.22") if task.name == "app:heartbeat nightly"]

    assert task.next == "22 hours from now"
    assert task not in [due for _, due in tasks_due(tasks("locked-9.52.22"))]


@pytest.mark.parametrize(
    "text",
    ["", "PHP Fatal error:  Uncaught Error", '\n  The "--json" option does not exist.  \n', "[1, 2", "{}"],
)
def test_what_is_no_list_is_none(text: str) -> None:
    assert read_list(text) is None


def test_warnings_of_php_before_the_list_do_not_matter() -> None:
    text = "PHP Deprecated: [x] in y\n" + sample("json-12.67.0")

    assert read_list(text) == tasks("json-12.67.0")


def test_rows_of_json_that_are_none_are_passed_over() -> None:
    good = {
        "expression": "* * * * *",
        "command": "php artisan x",
        "next_due_date": "soon",
        "repeat_seconds": 90,
    }
    rows = [1, None, {}, {"expression": 5}, {"expression": "x", "environments": "y"}, good]

    assert read_list(json.dumps(rows)) == (Task("x", "* * * * *", next="soon"),)


def test_a_command_with_wide_characters_moves_the_bars_and_is_read_all_the_same() -> None:
    text = sample("list-8.83.26").replace("broken --exit=3  ", "日本語 --exit=3", 1)

    found = read_list(text)
    assert found is not None
    assert len(found) == len(tasks("list-8.83.26"))


PIECES = st.sampled_from(
    [
        "  * * * * *  x ... Next Due: ",
        "Has Mutex \u203a ",
        "\n",
        "| ",
        "+--+--+\n",
        "| Command | Interval |\n",
        "[{",
        '"',
        "⇁ y",
    ]
)


@given(st.lists(PIECES | st.text(max_size=15), max_size=30).map("".join))
def test_any_text_gives_an_answer_that_can_be_shown(text: str) -> None:
    for task in read_list(text) or ():
        shown = task.name + task.description + task.expression + (task.next or "") + (task.timezone or "")
        assert shown.isprintable()
        assert len(task.name) <= 120


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
KEYS = [
    "expression",
    "command",
    "description",
    "next_due_date",
    "timezone",
    "has_mutex",
    "repeat_seconds",
    "environments",
]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON_VALUES), max_size=5))
def test_any_json_is_no_harm(rows: list[dict[str, object]]) -> None:
    for task in read_list(json.dumps(rows)) or ():
        assert task.repeat_seconds is None or 0 < task.repeat_seconds < 60
        assert (task.name + task.expression).isprintable()


HOSTILE = [
    "  * * * * *  x" + " ." * 2000 + "Next Due: y\n",
    "  " + "* " * 2000 + "Next Due: y\n",
    "+-" * 2000 + "+\n|" + " interval |" * 350 + "\n",
    "[" * 4000 + "\n",
    "|" * 4000 + "\n",
    "  * * * * *  x Next Due: y\n",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_no_list_costs_more_than_a_moment(line: str) -> None:
    text = line * (2 * LONGEST_TEXT // len(line))
    began = time.process_time()

    found = read_list(text)

    assert time.process_time() - began < 3
    assert len(found or ()) <= 1000
