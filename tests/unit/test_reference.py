"""The reference pages come from the code: how they are made, and that the committed ones are not stale."""

import subprocess
import sys
from pathlib import Path

import click

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "scripts"))

import generate_reference  # noqa: E402  # scripts are no package
import reference_cli  # noqa: E402
import reference_configuration  # noqa: E402
import reference_presets  # noqa: E402


@click.group()
@click.option("--config", metavar="FILE", help="The file to use.")
def program(config: str | None) -> None:
    """Do things."""


@program.command("greet", epilog="program greet ann\n\nprogram greet bob --loud")
@click.argument("name")
@click.argument("tone", type=click.Choice(["warm", "cold"]), required=False)
@click.option("--loud", is_flag=True, help="In capitals\n|of iron|.")
@click.option("--times", default=1, show_default=True, help="How often.")
@click.option("--secret", hidden=True)
def greet(name: str, tone: str, loud: bool, times: int, secret: str) -> None:
    """Greet somebody.

    Never greets twice
    on one day.

    \b
    a table
      kept as it is
    \f
    Only for programmers.
    """


@program.command("old", hidden=True)
def old() -> None:
    """Gone."""


@program.group("box")
def box() -> None:
    """Boxes."""


@box.command("open")
def box_open() -> None:
    """Open a box."""


GREET_PAGE = """
# program greet

## NAME

program greet - Greet somebody

## SYNOPSIS

    program greet [OPTIONS] NAME [warm|cold]

## DESCRIPTION

Greet somebody.

Never greets twice
on one day.

    a table
      kept as it is

## ARGUMENTS

- `TONE`: one of `warm`, `cold`

## OPTIONS

- `--loud`: In capitals |of iron|.
- `--times INTEGER`: How often. [default: 1]
- `--help`: Show this message and exit.

## EXIT STATUS
"""


def test_a_command_becomes_a_page_in_the_order_of_a_man_page() -> None:
    page = reference_cli.pages({"program": program})["program-greet.md"]
    made = page.removeprefix(reference_cli.GENERATED)
    assert made.startswith(GREET_PAGE)
    assert made.endswith("## EXAMPLES\n\n    program greet ann\n    program greet bob --loud\n")
    assert "programmers" not in page


def test_every_command_has_a_page_and_a_row_in_the_index_but_hidden_ones() -> None:
    pages = reference_cli.pages({"program": program})
    assert set(pages) == {
        "README.md",
        "program.md",
        "program-greet.md",
        "program-box.md",
        "program-box-open.md",
    }
    assert "| [`program box open`](program-box-open.md) | Open a box. |" in pages["README.md"]
    assert "- [`greet`](program-greet.md): Greet somebody." in pages["program.md"]
    assert "box open" not in pages["program.md"]


def test_a_schema_becomes_tables_of_keys() -> None:
    schema = {
        "$ref": "#/$defs/File",
        "$defs": {
            "File": {
                "type": "object",
                "properties": {
                    "paths": {"$ref": "#/$defs/Paths"},
                    "workers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Worker"}},
                },
            },
            "Paths": {
                "type": "object",
                "description": "Where things are.",
                "properties": {"run": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}},
            },
            "Worker": {
                "type": "object",
                "properties": {
                    "count": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 9,
                        "default": 2,
                        "description": "How\nmany.",
                    },
                    "scope": {"enum": ["a", "b"]},
                    "command": {
                        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
                    },
                },
            },
        },
    }
    assert list(reference_configuration.sections(schema)) == [
        "### `[paths]`",
        "Where things are.",
        "| key | value | default | meaning |\n| --- | --- | --- | --- |\n| `run` | text |  |  |",
        "### `[workers.NAME]`",
        "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
        "| `count` | number from 1 to 9 | `2` | How many. |\n"
        "| `scope` | `a` or `b` |  |  |\n"
        "| `command` | text or list of text |  |  |",
    ]


def test_a_preset_file_becomes_a_section_and_says_when_it_was_never_run(tmp_path: Path) -> None:
    (tmp_path / "bees.toml").write_text(
        'summary = "Bees."\nkind = "worker"\nunit = "bees"\nrank = 1\nverified = false\nsource = "bees manual"\n'
        'command = ["bees", "--jobs={jobs}", "a b"]\n'
        '[[detect]]\nfiles = ["bees.cfg"]\npython = ["bees", "wasps"]\n'
        '[stop]\nsignal = "INT"\nmargin = 5\noptions = ["jobs"]\ndefault = 9\n'
        '[options]\njobs = { type = "integer", default = 3, min = 1, help = "How many|much" }\n'
        '[exit_codes]\n4 = "stung"\n'
    )
    page = reference_presets.page(tmp_path)
    assert "| [bees](#bees) | worker | Bees. | not verified |" in page
    assert "- command: `bees --jobs={jobs} 'a b'`" in page
    assert "- proposed when: `bees.cfg` exists, `bees` or `wasps` is a dependency (python)" in page
    assert (
        "- stopped by SIGINT to the main process, by SIGKILL after `jobs` + 5 s (9 s if they are not set)"
        in page
    )
    assert "- exit status 4: stung" in page
    assert "| `jobs` | whole number from 1 | `3` | How many\\|much |" in page


def test_pages_that_differ_are_missing_or_left_over_are_stale(tmp_path: Path) -> None:
    made = {"cli/README.md": "index\n", "presets.md": "presets\n"}
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli/README.md").write_text("old\n")
    (tmp_path / "cli/gone.md").write_text("of a command that is gone\n")
    assert sorted(generate_reference.stale(made, tmp_path)) == ["cli/README.md", "cli/gone.md", "presets.md"]
    generate_reference.write(made, tmp_path)
    assert list(generate_reference.stale(made, tmp_path)) == []
    assert not (tmp_path / "cli/gone.md").exists()


def test_the_committed_pages_are_what_the_code_says() -> None:
    """Asked of a fresh process: a command that a test has run before carries what click added to it."""
    argv = [sys.executable, str(CHECKOUT / "scripts" / "generate_reference.py"), "--check"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
