"""A start of the command line is cheap: what a command does not need is not imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from shiftboss.cli.main import cli, run
code = run(cli, sys.argv[1:], "shiftboss")
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
SLOW = {"msgspec", "xmlrpc", "tomlkit", "psutil", "rich", "subprocess", "asyncio", "sqlite3", "tempfile"}


def started(*arguments: str) -> tuple[int, set[str]]:
    """Run a command line in a process of its own; return its exit code and the packages that it imported."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    code, modules = json.loads(ended.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",)])
def test_looking_at_the_program_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    code, modules = started(*arguments)

    assert code == 0
    assert modules & SLOW == set()


def test_looking_at_the_server_imports_no_editor_and_no_client(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")

    code, modules = started("--config", str(config), "status")

    assert code == 0
    assert modules & {"xmlrpc", "tomlkit", "rich", "asyncio", "sqlite3"} == set()


def test_explaining_an_expression_imports_no_client(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")

    code, modules = started("--config", str(config), "explain", "0 2 * * *")

    assert code == 0
    assert modules & {"xmlrpc", "tomlkit", "psutil", "rich", "asyncio", "sqlite3"} == set()


def unread(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command line whose output nobody reads any more."""
    reads, writes = os.pipe()
    os.close(reads)
    try:
        return subprocess.run(
            [sys.executable, "-m", "shiftboss", *arguments],
            stdout=writes,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writes)


@pytest.mark.parametrize("arguments", [("--help",), ("schema", "project"), ("explain", "0 2 * * *")])
def test_who_has_seen_enough_ends_a_look_without_an_error(arguments: tuple[str, ...]) -> None:
    """As in `shiftboss logs | head`, under `set -o pipefail` too."""
    ended = unread(*arguments)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_change_whose_output_nobody_reads_does_not_claim_to_be_made(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")

    ended = unread("--config", str(config), "apply")

    assert (ended.returncode, ended.stderr) == (1, b"")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".toml")] == ["config.toml"]
