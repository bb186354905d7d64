"""What the documents show is so: commands, links, TOML, cron expressions, files and functions of the code."""

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from shiftboss.cli.classic import setup_cron_command, setup_supervisor_command
from shiftboss.cli.main import EXIT_BUG, EXIT_INTERRUPTED, cli, run
from shiftboss.core.config import project_file, site_file
from shiftboss.core.cron_lint import lint
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.options import option_values
from shiftboss.core.plan import Conflict, Plan, WriteFile
from shiftboss.core.plan_text import plan_as_json
from shiftboss.core.propose import SHORT_NAMES
from shiftboss.core.release import ReleaseFacts
from shiftboss.core.status import ProcessStatus
from shiftboss.setup.detect import load_preset, load_presets
from shiftboss.setup.report import LastRun, ProjectReport, ScheduleReport, WorkerReport
from tests.unit.documents import (
    CHECKOUT,
    Shown,
    anchors,
    blocks,
    documents,
    inline_code,
    inline_commands,
    links,
    name_of,
    prose,
    shown_commands,
)

PROGRAMS: Mapping[str, click.Command] = {
    "shiftboss": cli,
    "setup-supervisor": setup_supervisor_command,
    "setup-cron": setup_cron_command,
}
DOCUMENTS = documents()
BY_HAND = [path for path in DOCUMENTS if "Made by `make docs`" not in path.read_text()[:60]]
SHOWN = [shown for path in DOCUMENTS for shown in shown_commands(path)]
TOML = [block for path in DOCUMENTS for block in blocks(path) if block.language == "toml"]
LANGUAGES = {"console", "sh", "toml", "ini", "js", "php", "text", "mermaid"}
CONTEXT = {"project": "shop", "unit": "queue", "root": "/shop", "shared": "/shop/shared"}
_CODE_PLACE = re.compile(r"`([\w/]+\.py)`: `(\w+)`")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)


def reached(shown: Shown, *, resilient: bool = False) -> tuple[click.Command, Mapping[str, Any]]:
    """Walk a command line down the command tree; return where it ends, and its values. Raises UsageError."""
    command, words = PROGRAMS[shown.program], list(shown.words)
    while isinstance(command, click.Group):
        # click keeps the first help option it makes, and `-h` comes from these settings
        context = click.Context(command, info_name=shown.program, **command.context_settings)
        _, rest, _ = command.make_parser(context).parse_args(words)
        if not rest:
            break
        _, child, words = command.resolve_command(context, rest)
        assert child is not None
        command = child
    context = command.make_context(shown.program, list(words), resilient_parsing=resilient)
    return command, context.params


def problem(shown: Shown, *, resilient: bool = False) -> str:
    """Say what is wrong with a command line, nothing if it can be typed."""
    try:
        reached(shown, resilient=resilient)
    except click.exceptions.Exit:  # --help, --version
        return ""
    except (click.ClickException, ShiftbossError) as error:
        return f"{shown.place}: {error}"
    return ""


def values_of(name: str) -> list[tuple[Shown, Mapping[str, Any]]]:
    """Return every shown use of a command with its values."""
    return [(shown, reached(shown)[1]) for shown in SHOWN if shown.words[:1] == (name,)]


# Commands


def test_the_documents_show_commands_at_all() -> None:
    assert len(SHOWN) > 100
    assert {shown.program for shown in SHOWN} == set(PROGRAMS)


def test_every_command_line_in_a_block_can_be_typed() -> None:
    assert [found for shown in SHOWN if (found := problem(shown))] == []


def test_every_command_in_running_text_exists() -> None:
    shown = [shown for path in DOCUMENTS for shown in inline_commands(path)]
    assert [found for one in shown if (found := problem(one, resilient=True))] == []


@pytest.mark.parametrize(
    "words", [("statsu",), ("status", "--jsn"), ("scale", "shop/queue"), ("scale", "shop/queue", "two")]
)
def test_a_command_line_that_cannot_be_typed_is_found(words: tuple[str, ...]) -> None:
    assert problem(Shown("somewhere", "shiftboss", words))


def test_every_kind_that_is_set_up_is_known() -> None:
    presets = load_presets()
    known = {*SHORT_NAMES, *presets, *(alias for preset in presets.values() for alias in preset.aliases)}
    known |= {name.rpartition("-")[2] for name in presets}
    uses = [*values_of("setup"), *((s, reached(s)[1]) for s in SHOWN if s.program == "setup-supervisor")]
    assert [shown.place for shown, values in uses if values["kind"] not in {None, *known}] == []


def test_every_explanation_with_a_date_says_what_it_says_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("SHIFTBOSS_CONFIG", str(tmp_path / "config.toml"))
    told = [
        shown
        for shown in SHOWN
        if shown.words[:1] == ("explain",) and "--from" in shown.words and shown.output
    ]
    assert len(told) > 5
    for shown in told:
        run(cli, shown.words, "shiftboss")
        assert (shown.place, capsys.readouterr().out.rstrip("\n")) == (shown.place, shown.output)


# Links


@each_document
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reachable: set[Path] = set()
    waiting = [CHECKOUT / "docs/index.md"]
    while waiting:
        path = waiting.pop()
        if path in reachable or path.suffix != ".md":
            continue
        reachable.add(path)
        targets = (link.partition("#")[0] for link in links(path) if not re.match(r"[a-z]+:", link))
        waiting += [(path.parent / target).resolve() for target in targets if target]
    pages = {path for path in DOCUMENTS if path.is_relative_to(CHECKOUT / "docs")}
    assert {name_of(path) for path in pages - reachable} == set()


@each_document
def test_every_block_says_what_it_is(path: Path) -> None:
    assert {block.language for block in blocks(path)} <= LANGUAGES


# TOML and cron


@pytest.mark.parametrize("block", TOML, ids=str)
def test_every_toml_block_is_a_file_of_ours(block: Any) -> None:
    if not {"project", "workers", "schedules"} & tomllib.loads(block.text).keys():
        site_file(block.text, str(block))
        return
    tables = project_file(block.text, str(block))
    for name, table in {**tables.workers, **tables.schedules}.items():
        if table.preset:
            option_values(table.options, load_preset(table.preset), ReleaseFacts(), CONTEXT, name)
        assert table.preset or table.command, f"{block}: {name} runs nothing"


def test_every_schedule_that_is_shown_would_be_written() -> None:
    """Those that are refused stand with their refusal; `explain` may be asked about any."""
    shown = [
        (shown.place, values["expression"])
        for shown, values in values_of("cron")
        if values["expression"] and "error:" not in shown.output
    ]
    shown += [
        (str(block), table["cron"])
        for block in TOML
        for table in tomllib.loads(block.text).get("schedules", {}).values()
        if "cron" in table
    ]
    assert len(shown) > 5
    assert [place for place, text in shown if any(finding.fatal for finding in lint(text, "debian"))] == []


def test_what_is_said_to_be_taken_without_a_word_and_wrong_is_found_by_the_lint() -> None:
    page = CHECKOUT / "docs/explanation/cron.md"
    listed = re.findall(r"^\| `([^`|]+)` \|", prose(page), re.M)
    assert len(listed) > 5
    expressions = [text for text in listed if not text.startswith("CRON_TZ")]
    assert [text for text in expressions if not lint(text, "debian")] == []


# The code


def test_every_file_and_function_that_is_named_in_the_architecture_exists() -> None:
    text = " ".join(prose(CHECKOUT / "ARCHITECTURE.md").split())
    places = _CODE_PLACE.findall(text)
    assert len(places) > 25
    assert [f"{file}: {name}" for file, name in places if name not in functions(source(file))] == []


@each_document
def test_every_source_file_that_is_named_exists(path: Path) -> None:
    named = {
        code
        for code in inline_code(path)
        if re.fullmatch(r"[a-z][\w/.-]*/[a-z][a-z_0-9.-]*\.(py|json|sh)", code)
    }
    assert {name for name in named if not source(name).exists()} == set()


def source(name: str) -> Path:
    return next(
        (path for top in ("", "src/shiftboss") if (path := CHECKOUT / top / name).exists()), CHECKOUT / name
    )


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("kind", [ProjectReport, WorkerReport, ProcessStatus, ScheduleReport, LastRun])
def test_every_key_of_status_is_described(kind: type) -> None:
    described = inline_code(CHECKOUT / "docs/reference/json.md")
    assert set(kind.__struct_fields__) - set(described) == set()  # type: ignore[attr-defined]


def test_every_key_of_a_plan_is_described() -> None:
    plan = Plan((WriteFile("shop", "/f", "new", None),), (Conflict("shop", "/f", "why", "hint"),))
    made = plan_as_json(plan)
    keys = {*made, *made["actions"][0], *made["conflicts"][0]}
    assert keys - set(inline_code(CHECKOUT / "docs/reference/json.md")) == set()


def test_every_exit_code_is_described() -> None:
    codes = re.findall(r"^\| (\d+) \|", prose(CHECKOUT / "docs/reference/exit-codes.md"), re.M)
    assert codes == ["0", "1", "2", "3", str(EXIT_BUG), str(EXIT_INTERRUPTED)]


# The house


def test_every_decision_has_its_four_parts_and_a_place_in_the_index() -> None:
    records = sorted((CHECKOUT / "docs/adr").glob("*.md"))
    assert len(records) >= 8
    index = links(CHECKOUT / "docs/index.md")
    for number, path in enumerate(records, 1):
        assert path.name.startswith(f"{number:04}-")
        assert f"adr/{path.name}" in index
        parts = re.findall(r"^## (.+)$", path.read_text(), re.M)
        assert (path.name, parts) == (path.name, ["Context", "Decision", "Rejected", "Consequence"])


def test_the_targets_of_the_readme_are_in_the_makefile() -> None:
    targets = re.findall(r"(?m)^([a-z]+):", (CHECKOUT / "Makefile").read_text())
    named = re.findall(r"make ([a-z]+)", (CHECKOUT / "README.md").read_text())
    assert {"demo", "test", "install", "uninstall"} <= set(named) <= {*targets}
