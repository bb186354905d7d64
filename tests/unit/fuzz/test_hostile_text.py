"""Whatever stands in a file or on a command line: a value or an error for people, never another exception."""

import string
from collections.abc import Callable, Iterable

import msgspec
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftboss.backends.crontab import read_crontab
from shiftboss.confine.env_file import parse as parse_env_file
from shiftboss.core import cron, tables
from shiftboss.core.config import project_file, site_file
from shiftboss.core.doctor_doubles import supervisor_programs, text_signatures
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.log_lines import harmless
from shiftboss.core.names import check_name, parse_target
from shiftboss.core.options import option_values
from shiftboss.core.release import ReleaseFacts, read_env
from shiftboss.core.resolve import parse_percent, parse_size
from shiftboss.core.words import command_words
from shiftboss.setup.detect import load_presets

PRESETS = load_presets()
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def refuses_or_reads(read: Callable[[], object], *, hinted: bool = True) -> object:
    """Return what was read, None if it was refused with a message of one line and (if `hinted`) a hint."""
    try:
        return read()
    except ShiftbossError as error:
        refused = error
    assert refused.message
    assert "\n" not in refused.message
    assert refused.hint or not hinted
    return None


def keys_of(*kinds: type[msgspec.Struct]) -> st.SearchStrategy[str]:
    names = sorted({field for kind in kinds for field in kind.__struct_fields__})
    return st.sampled_from(names) | st.text(max_size=8)


words = st.sampled_from(
    ["10M", "50%", "* * * * *", "native", "laravel-queue", "a b", "TERM", "", "/", "../x", "\x1b[0m"]
)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30) | words
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def tables_of(*kinds: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(keys_of(*kinds), values, max_size=6)


units = st.dictionaries(
    st.sampled_from(["queue", "a", "A!", ""]),
    tables_of(tables.WorkerTable, tables.ScheduleTable) | values,
    max_size=2,
)
project_documents = st.fixed_dictionaries(
    {}, optional={"project": tables_of(tables.ProjectTable, tables.BudgetTable) | values, "workers": units | values,
                  "schedules": units | values, "x": values}
)  # fmt: skip
site_documents = st.dictionaries(
    keys_of(tables.SiteFile),
    tables_of(tables.LayoutTable, tables.SupervisorTable, tables.PathsTable, tables.LimitsTable) | values,
)


def without_none(value: object) -> object:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_none(inner) for inner in value if inner is not None]
    return value


def toml(document: object) -> str:
    made = without_none(document)
    assert isinstance(made, dict)
    return tomlkit.dumps(made)


@quick
@given(project_documents)
def test_project_files_with_known_keys_and_any_values(document: dict[str, object]) -> None:
    read = refuses_or_reads(lambda: project_file(toml(document), "shop.toml"))
    assert read is None or isinstance(read, tables.ProjectFile)


@quick
@given(site_documents)
def test_config_files_with_known_keys_and_any_values(document: dict[str, object]) -> None:
    read = refuses_or_reads(lambda: site_file(toml(document), "config.toml"))
    assert read is None or isinstance(read, tables.SiteFile)


@quick
@given(
    st.text(alphabet=st.sampled_from("[]{}=\"'\n.,#\\ax1-_:\x00\x85\ud800") | st.characters(), max_size=60)
)
def test_files_that_are_no_toml(text: str) -> None:
    refuses_or_reads(lambda: project_file(text, "shop.toml"))
    refuses_or_reads(lambda: site_file(text, "config.toml"))


lines = st.text(alphabet=st.sampled_from(string.printable) | st.characters(), max_size=200)


@quick
@given(lines)
def test_environment_files_give_names_and_texts(text: str) -> None:
    for found in (parse_env_file(text), read_env(text)):
        assert all("=" not in name and "\0" not in name + value for name, value in found.items())


@quick
@given(
    st.lists(
        st.sampled_from(["*", "*/5", "1-7", "@daily", "root", "A=b", "%", "\\%", "#", "\n", "'", "cd /x &&"])
        | lines,
        max_size=10,
    )
)
def test_crontabs(parts: list[str]) -> None:
    text = " ".join(parts)
    refuses_or_reads(lambda: read_crontab(f"{text}\n", {"root"}))
    assert isinstance(text_signatures(text, "/", {"/r": "/c"}), set)


@quick
@given(lines)
def test_files_of_supervisor(text: str) -> None:
    assert all(len(program) == 3 for program in supervisor_programs(f"[program:a]\n{text}\n[x]"))


@quick
@given(st.text(alphabet="*/,-0123456789LW#H@ \tadilyMONjan", max_size=30) | lines)
def test_cron_expressions(text: str) -> None:
    for dialect in ("native", "debian", "cronie"):
        refuses_or_reads(lambda dialect=dialect: cron.parse(text, dialect), hinted=False)  # type: ignore[misc]


@quick
@given(lines)
def test_names_addresses_sizes_and_commands(text: str) -> None:
    name = refuses_or_reads(lambda: check_name(text, "worker"))
    assert name is None or (name == text and "/" not in text and not text.startswith("."))
    target = refuses_or_reads(lambda: parse_target(text))
    assert target is None or str(target).partition(":")[0] == text.partition(":")[0]
    for read in (lambda: parse_size(text, "x"), lambda: parse_percent(text, "x")):
        size = refuses_or_reads(read)
        assert size is None or (isinstance(size, int) and size > 0)
    argv = refuses_or_reads(lambda: command_words(text))
    assert argv is None or (isinstance(argv, tuple) and all("\0" not in word for word in argv))


@quick
@given(st.text(max_size=80))
def test_lines_of_logs_do_not_control_a_terminal(line: str) -> None:
    assert not any(ord(mark) < 32 and mark != "\t" for mark in harmless(line).replace("\n", ""))


def given_options(names: Iterable[str]) -> st.SearchStrategy[dict[str, object]]:
    kinds = st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | lines
    return st.dictionaries(st.sampled_from(sorted(names)) | st.text(max_size=5), kinds, max_size=4)


@quick
@given(st.data())
def test_options_of_presets(data: st.DataObject) -> None:
    preset = PRESETS[data.draw(st.sampled_from(sorted(PRESETS)))]
    options = data.draw(given_options([*preset.options, "x"]))
    context = {"project": "shop", "unit": "queue", "root": "/shop", "shared": "/shop/shared"}
    read = refuses_or_reads(lambda: option_values(options, preset, ReleaseFacts(), context, "f"))  # type: ignore[arg-type]
    assert read is None or set(read) <= set(preset.options)  # type: ignore[call-overload]
