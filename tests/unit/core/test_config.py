"""Project files and config.toml as tables: every error names the file, the key, what was expected and what to do."""

import string
from typing import Any

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from shiftboss.core.config import check_environment, parse_toml, project_file, site_file
from shiftboss.core.errors import UserError
from shiftboss.core.tables import ProjectFile, json_schema

FILE = "/etc/shiftboss/projects/myapp.toml"

# (text, key path, the message after it)
WRONG = [
    # types and bounds
    ("[workers.q]\nprocesses = 0", "workers.q.processes", "must be at least 1"),
    ("[workers.q]\nprocesses = 1001", "workers.q.processes", "must be at most 1000"),
    ("[workers.q]\nprocesses = 'two'", "workers.q.processes", "must be a whole number, not text in quotes"),
    ("[workers.q]\nprocesses = 1.5", "workers.q.processes", "must be a whole number, not a number"),
    ("[workers.q]\nprocesses = true", "workers.q.processes", "must be a whole number, not true or false"),
    ("[workers.q]\nstart_seconds = 2026-01-01", "workers.q.start_seconds", "must be a whole number, not a date"),
    ("[workers.q]\nshell = 'yes'", "workers.q.shell", "must be true or false, not text in quotes"),
    ("[workers.q]\ncommand = 5", "workers.q.command", "must be text in quotes or a list, not a whole number"),
    ("[workers.q]\ncommand = ['a', 5]", "workers.q.command[1]", "must be text in quotes, not a whole number"),
    ("[workers.q]\nstop_scope = 'all'", "workers.q.stop_scope", "must be main or group, not 'all'"),
    ("[schedules.b]\ncron = ''", "schedules.b.cron", "must not be empty"),
    ("[project]\nuser = 5", "project.user", "must be text in quotes, not a whole number"),
    ("[workers.q.environment]\nA = 'x'\nB = 5", "workers.q.environment.B", "must be text in quotes, not a whole number"),
    ("[workers.q.options]\nqueue = 'x'\ntries = [1]", "workers.q.options.tries",
     "must be true or false or a whole number or a number or text in quotes, not a list"),
    ("[project.interpreters]\nphp = 8", "project.interpreters.php", "must be text in quotes, not a whole number"),
    # tables
    ("workers = 5", "workers", "must be a table, not a whole number"),
    ("[[workers]]\nname = 'q'", "workers", "must be a table, not a list"),
    ("[workers]\nq = 'php'", "workers.q", "must be a table, not text in quotes"),
    ("project = 1", "project", "must be a table, not a whole number"),
    # keys and names
    ("[worker.q]", "worker", "unknown key (did you mean 'workers'?)"),
    ("[workers.q]\nproceses = 2", "workers.q.proceses", "unknown key (did you mean 'processes'?)"),
    ("[project]\nusr = 'x'", "project.usr", "unknown key (did you mean 'user'?)"),
    ("[workers.q]\n\"a\\u001b[31m\\n\" = 1", "workers.q.'a\\x1b[31m\\n'", "unknown key"),
    ("[workers.'a b']", "workers", "'a b' is not a worker name"),
    ("[workers.'']", "workers", "the worker name is empty"),
    ("[schedules.A]", "schedules", "'A' is not a schedule name"),
    ("[workers.a]\n[schedules.a]", "", "'a' is a worker and a schedule"),
    # values nothing can use
    ("[workers.q]\nprocesses = 9223372036854775808", "workers.q.processes", "is a number of more than 64 bits"),
    (f"[workers.q.options]\ntries = 0x{'f' * 9000}", "workers.q.options.tries", "is a number of more than 64 bits"),
    ("[project]\nroot = '/srv\\u0000'".replace("'", '"'), "project.root", "contains a control character ('\\x00')"),
    ("[schedules.b]\ntimezone = \"Europe\\n\"", "schedules.b.timezone", "contains a control character ('\\n')"),
    ("[project]\nroot = 'srv/shop'", "project.root", "must be an absolute path, not 'srv/shop'"),
    ("[project]\nlogs = ''", "project.logs", "must not be empty"),
    ("[project.interpreters]\nphp = 'php8'", "project.interpreters.php", "must be an absolute path, not 'php8'"),
    # environment
    ("[project.environment]\n'A B' = 'x'", "project.environment", "'A B' is not a variable name"),
    ("[workers.q.environment]\nA = \"x\\ny\"", "workers.q.environment", "A contains a line break or NUL"),
    ("[schedules.b.environment]\nA = \"\\u0000\"", "schedules.b.environment", "A contains a line break or NUL"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "message"), WRONG, ids=[f"{row[1]}: {row[2]}"[:60] for row in WRONG])
def test_an_error_names_file_key_and_expectation_and_has_a_hint(text: str, key: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        project_file(text, FILE)

    assert str(error.value) == f"{FILE}{': ' if key else ''}{key}: {message}"
    assert error.value.hint
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[workers.q\nx", "(at line 1, column 11)"),
        ("a = 1\nb = = 2", "(at line 2, column 5)"),
        ('a = "open', "(at end of document)"),
        (f"a = {'9' * 5000}", "5000 digits"),
        ("a = " + "[" * 5000, "recursion"),
    ],
)
def test_broken_toml_is_told_with_its_place_on_one_line(text: str, where: str) -> None:
    with pytest.raises(UserError, match="not valid TOML") as error:
        project_file(text, FILE)

    assert str(error.value).startswith(f"{FILE}: ")
    assert where in str(error.value)
    assert "\n" not in str(error.value)
    assert FILE in error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layuot = 1", "layuot: unknown key (did you mean 'layout'?)"),
        ("layout = 5", "layout: must be a table, not a whole number"),
        ("[layout]\nuser = ''", "layout.user: must not be empty"),
        ("[supervisor]\nserver = 5", "supervisor.server: must be text in quotes, not a whole number"),
        ("[supervisor]\npasword = 'x'", "supervisor.pasword: unknown key (did you mean 'password'?)"),
        ('[paths]\nrun = "/run\\u0000"', "paths.run: contains a control character ('\\x00')"),
        ('[cron]\ndir = "/etc\\n"', "cron.dir: contains a control character ('\\n')"),
    ],
)
def test_config_toml_is_checked_alike(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        site_file(text, "/etc/shiftboss/config.toml")

    assert str(error.value) == f"/etc/shiftboss/config.toml: {message}"
    assert error.value.hint


def test_a_secret_is_not_in_the_error_about_it() -> None:
    with pytest.raises(UserError) as error:
        project_file('[project.environment]\nTOKEN = "hush\\nhush"', FILE)
    assert "hush" not in f"{error.value}{error.value.hint}"


def test_text_that_is_not_utf_8_is_refused() -> None:
    """What comes from a command line may hold lone surrogates; a file on disk cannot."""
    with pytest.raises(UserError, match=r"workers\.q\.command: is not UTF-8 text"):
        project_file('[workers.q]\ncommand = "echo \udcff"', FILE)


def test_a_whole_file_is_read_as_it_is_written() -> None:
    tables = project_file(
        """
        [project]
        user = "shop"
        root = "/srv/shop"
        environment = { APP_ENV = "production" }
        interpreters = { php = "/usr/bin/php8.2" }
        [workers.queue]
        preset = "laravel-queue"
        processes = 2
        options = { queue = "high,default", tries = 3, force = true, rest = 0.5 }
        log_max_size = "10M"
        [workers.thumbs]
        command = ["php", "artisan", "thumbs:work"]
        stop_signal = "INT"
        stop_wait = 90
        stop_scope = "main"
        [schedules.backup]
        cron = "0 2 * * *"
        command = "pg_dump -f backup.sql shop"
        timezone = "Europe/Riga"
        """,
        FILE,
    )

    assert tables.project.user == "shop"
    assert tables.workers["queue"].options == {
        "queue": "high,default",
        "tries": 3,
        "force": True,
        "rest": 0.5,
    }
    assert tables.workers["thumbs"].command == ["php", "artisan", "thumbs:work"]
    assert tables.workers["thumbs"].stop_wait == 90
    assert tables.schedules["backup"].timezone == "Europe/Riga"
    assert project_file("", FILE) == ProjectFile()


def test_environment_of_any_text_on_one_line_is_taken() -> None:
    check_environment({"A": "ž \t\x1b[0m ' \" % ;", "_B1": ""}, "here")


@pytest.mark.parametrize("which", ["config", "project"])
def test_every_key_of_the_schema_is_described(which: Any) -> None:
    """The descriptions are the hints of errors and the reference page."""
    schema = json_schema(which)
    missing = [
        f"{table}.{key}"
        for table, definition in schema["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if "description" not in value and "$ref" not in str(value)
    ]
    assert missing == []


# Any document, in three kinds: noise, known keys with any values, and what a person would write but for one thing.
KEYS = st.sampled_from(
    ["project", "workers", "schedules", "user", "root", "logs", "environment", "interpreters", "preset", "command",
     "shell", "processes", "options", "stop_signal", "stop_wait", "stop_scope", "start_seconds", "log_max_size",
     "log_backups", "backend", "cron", "timezone", "q", "A"]
)  # fmt: skip
ANY_KEY = KEYS | st.text(max_size=5)
LEAVES = (
    st.text(max_size=8)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.sampled_from(["main", "group", "/srv", "10M", "* * * * *"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_KEY, inner, max_size=3),
    max_leaves=6,
)
UNITS = st.dictionaries(
    st.sampled_from(["q", "a-1", "Q", ""]), st.dictionaries(ANY_KEY, VALUES, max_size=4), max_size=2
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "project": st.dictionaries(ANY_KEY, VALUES, max_size=3),
        "workers": UNITS | VALUES,
        "schedules": UNITS | VALUES,
    },
)


def outcome(text: str) -> None:
    """Read a text; anything but tables or an error for people fails the test."""
    error: UserError | None = None
    try:
        assert isinstance(project_file(text, FILE), ProjectFile)
    except UserError as refused:
        error = refused
    if error is not None:
        assert str(error).startswith(FILE)
        assert all(mark.isprintable() for mark in str(error)), (
            "one line, and nothing that controls a terminal"
        )
        assert error.hint


@given(DOCUMENTS)
def test_any_document_gives_tables_or_an_error_for_people(document: dict[str, Any]) -> None:
    try:
        text = tomlkit.dumps(document)
    except (ValueError, TypeError):  # what TOML cannot hold at all
        return
    outcome(text)


@given(st.text(alphabet=string.printable + "é\x00\x1b", max_size=60))
@example("[a]\n[a.b]\n[a]")
@example("\ufeff[project]")
@example("a.b.c = 1\n" + "a." * 2000 + "d = 2")
@example("[workers.q.environment." + ".".join("a" * 2000) + "]")
def test_any_text_gives_tables_or_an_error_for_people(text: str) -> None:
    outcome(text)


def test_parse_toml_gives_plain_values() -> None:
    assert parse_toml('a = 1\nb = [true, "x"]', FILE) == {"a": 1, "b": [True, "x"]}
