"""Edits of TOML files: what was asked for is changed, and nothing else, not even a comment."""

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.errors import UserError
from shiftboss.setup.edit import Changes, Section, remove_unit, set_keys, set_unit

WRITTEN = """\
# The shop, see the wiki
[project]
user = "shop"   # not www-data

# mails and images
[workers.queue]
processes = 2 # more at Christmas
preset = "laravel-queue"
options = { queue = "high,default" } # high first

[schedules.backup]   # nightly
cron = '0 2 * * *'
command = ["pg_dump", "shop"]
# the end
"""


def test_one_key_changes_and_everything_else_stays_as_it_is_written() -> None:
    changed = set_unit(WRITTEN, "workers", "queue", {"processes": 4})

    assert changed == WRITTEN.replace("processes = 2 # more", "processes = 4 # more")


def test_what_is_there_already_changes_no_byte() -> None:
    for text in (WRITTEN, "\n\n[workers.queue]\nprocesses=2", "[workers.queue]\r\nprocesses = 2\r\n"):
        assert set_unit(text, "workers", "queue", {"processes": 2}) == text
        assert remove_unit(text, "workers", "other") == text
    assert set_keys(WRITTEN, "project", {"user": "shop"}) == WRITTEN


def test_a_new_unit_is_a_table_of_its_own() -> None:
    text = set_unit("", "workers", "queue", {"preset": "laravel-queue", "processes": 2})
    assert text == '[workers.queue]\npreset = "laravel-queue"\nprocesses = 2\n'

    text = set_unit(WRITTEN, "workers", "thumbs", {"command": 'php artisan "a b" %'})
    assert '\n[workers.thumbs]\ncommand = "php artisan \\"a b\\" %"\n' in text
    assert set(comments(text)) == set(comments(WRITTEN))


def test_a_first_schedule_comes_after_the_workers() -> None:
    text = set_unit("[workers.a]\n# why\n", "schedules", "b", {"cron": "* * * * *"})

    assert text == '[workers.a]\n# why\n\n[schedules.b]\ncron = "* * * * *"\n'


def test_a_table_value_is_merged_key_by_key() -> None:
    text = set_keys(WRITTEN, "project", {"interpreters": {"php": "/usr/bin/php"}})
    text = set_keys(text, "project", {"interpreters": {"node": "/usr/bin/node"}})

    assert tomllib.loads(text)["project"]["interpreters"] == {"php": "/usr/bin/php", "node": "/usr/bin/node"}
    assert "# not www-data" in text


def test_removing_the_last_unit_removes_its_section() -> None:
    text = remove_unit(WRITTEN, "schedules", "backup")

    assert "schedules" not in tomllib.loads(text)
    assert text.startswith(WRITTEN.partition("[schedules")[0].rstrip())
    assert remove_unit("[workers.a]\n[workers.b]\n", "workers", "a") == "[workers.b]\n"
    assert remove_unit("[workers.a]\n", "workers", "a") == ""


def test_a_text_ends_with_one_newline_and_begins_with_none() -> None:
    text = set_unit("\n\n[workers.a]\n\n\n", "workers", "a", {"processes": 2})
    assert text == "[workers.a]\nprocesses = 2\n"


def test_windows_line_ends_stay() -> None:
    text = set_unit("[workers.a]\r\nprocesses = 1 # one\r\n", "workers", "a", {"processes": 2})
    assert text == "[workers.a]\r\nprocesses = 2 # one\r\n"


LAYOUTS = [
    'workers = { q = { preset = "a" } }\n',
    'workers.q.preset = "a"\n',
    '[workers]\nq = { preset = "a" }\n',
    '[workers]\nq.preset = "a"\n',
    '[workers.a]\nprocesses = 1\n[project]\nuser = "x"\n[workers.q]\npreset = "a"\n',
    '[workers.q.options]\nqueue = "x"\n[workers.q]\npreset = "a"\n',
    '[workers.q.options]\nqueue = "x"\n',
    '[workers.q]\noptions.queue = "x"\n',
    '[workers.z]\n[project]\n[workers.q.options]\ntries = 1\n[schedules.b]\ncron = "x"\n[workers.q.environment]\nA = "b"\n',
    "[project]\n[workers]\n[schedules]\n",
    'project.user = "x"\n',
    'project = { user = "x", environment = { A = "b" } }\n',
    '[workers.q]\ncommand = [\n  "a", # first\n  "b",\n]\n',
    '["workers"."q"]\n"preset" = """a"""\n',
]


@pytest.mark.parametrize("text", LAYOUTS)
@pytest.mark.parametrize("section", ["workers", "schedules"])
@pytest.mark.parametrize("name", ["q", "new"])
@pytest.mark.parametrize(
    "changes", [{"processes": 2}, {"preset": "b"}, {"options": {"queue": "y"}}, {"command": ["a", "b c"]}, {}]
)
def test_every_way_to_write_a_table_can_be_edited(
    text: str, section: Section, name: str, changes: Changes
) -> None:
    changed = set_unit(text, section, name, changes)

    assert tomllib.loads(changed) == merged(tomllib.loads(text), (section, name), changes)
    assert set_unit(changed, section, name, changes) == changed


def merged(data: dict[str, Any], path: tuple[str, ...], changes: Changes) -> dict[str, Any]:
    """Return what a file must say after a change, worked out on plain values."""
    table = data
    for key in path:
        table = table.setdefault(key, {})
    for key, value in changes.items():
        table[key] = {**table.get(key, {}), **value} if isinstance(value, dict) else value
    return data


def comments(text: str) -> list[str]:
    return re.findall(r"# [a-z ,]+", text)


NAMES = st.sampled_from(["q", "b-1", "new"])
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=10)
PAIRS = st.sampled_from(
    ['preset = "a" # one', "processes = 1", "# a comment of its own", "", 'options = { queue = "x" } # two',
     'options.queue = "x"', 'command = ["a", "b"]', 'environment = {A = "b", C = "d"}', "shell=true"]
)  # fmt: skip
TABLES = st.tuples(
    st.sampled_from(
        ["[project]", "[workers.q]", "[workers.b-1]", "[schedules.q]", "[schedules.c]", "[workers]"]
    ),
    st.lists(PAIRS, max_size=3, unique_by=lambda pair: pair.partition(" ")[0].partition(".")[0]),
).map(lambda part: "\n".join([part[0], *part[1]]))
FILES = st.lists(TABLES, max_size=4, unique_by=lambda table: table.partition("\n")[0]).map("\n".join)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "preset": TEXTS,
        "processes": st.integers(1, 99),
        "command": TEXTS | st.lists(TEXTS, max_size=3),
        "shell": st.booleans(),
        "options": st.dictionaries(st.sampled_from(["queue", "tries"]), TEXTS),
    },
)


@given(FILES, st.sampled_from(["workers", "schedules"]), NAMES, CHANGES)
def test_a_change_is_made_and_nothing_else(text: str, section: Section, name: str, changes: Changes) -> None:
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    changed = set_unit(text, section, name, changes)

    assert tomllib.loads(changed) == merged(before, (section, name), changes)
    if merged(tomllib.loads(text), (section, name), {}) == tomllib.loads(text) and "options" not in changes:
        assert sorted(comments(changed)) == sorted(comments(text)), "no comment is lost"


@given(FILES, st.sampled_from(["workers", "schedules"]), NAMES)
def test_a_unit_is_removed_and_nothing_else(text: str, section: Section, name: str) -> None:
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    if name in wanted.get(section, {}):
        del wanted[section][name]
        if not wanted[section]:
            del wanted[section]

    assert tomllib.loads(remove_unit(text, section, name)) == wanted


def test_a_file_that_leaves_no_place_is_refused_with_the_way_out() -> None:
    """Dotted keys of several tables at the top of a file: tomlkit would write something else than was asked."""
    with pytest.raises(UserError, match="cannot edit the file") as error:
        set_unit('workers.a.options.y = 2\nproject.user = "x"\n', "workers", "q", {"processes": 2})
    assert "shiftboss apply" in error.value.hint
