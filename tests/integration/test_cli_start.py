"""A start of the command line is cheap: what a command does not need is not imported."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

PROGRAM = """
import sys
from shiftboss.cli.main import cli, run
code = run(cli, sys.argv[1:], "shiftboss")
print(code, *sys.modules)
"""
SLOW = {"msgspec", "xmlrpc", "tomlkit", "psutil", "rich", "subprocess", "asyncio", "sqlite3", "tempfile"}
# what makes and performs plans, what judges ends of programs, and the messages between keeper and engine
NO_STATUS_NEEDS = {
    "shiftboss.backends.contract",
    "shiftboss.backends.registry",
    "shiftboss.core.cause",
    "shiftboss.core.exit_reason",
    "shiftboss.core.plan",
    "shiftboss.core.wire",
    "shiftboss.setup.apply",
    "shiftboss.cli.guest",
    *("asyncio", "configparser", "difflib", "json", "logging", "pathlib", "psutil", "rich", "shutil"),
    *("sqlite3", "subprocess", "tempfile", "tomlkit"),
}
OF_SUPERVISOR = {"shiftboss.setup.live_supervisor", "shiftboss.host.supervisord", "xmlrpc", "http", "urllib"}
OF_NATIVE = {"shiftboss.setup.live_native", "shiftboss.host.native_engine", "shiftboss.api", "selectors"}
OF_SCHEDULES = {"shiftboss.setup.due", "shiftboss.core.cron", "zoneinfo"}
WORKER = '[workers.queue]\ncommand = "sleep 1000"\n'
SCHEDULE = '[schedules.backup]\ncron = "0 2 * * *"\ncommand = "true"\n'


def started(*arguments: str) -> tuple[int, set[str]]:
    """Run a command line in a process of its own; return its exit code and the modules that it imported."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    code, *modules = ended.stdout.splitlines()[-1].split()
    return int(code), set(modules)


def packages(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("arguments", [("--version",), ("--help",)])
def test_looking_at_the_program_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    code, modules = started(*arguments)

    assert code == 0
    assert packages(modules) & SLOW == set()


def test_looking_at_an_empty_server_imports_nothing_of_any_backend(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")

    code, modules = started("--config", str(config), "status")

    assert code == 0
    assert modules & (NO_STATUS_NEEDS | OF_SUPERVISOR | OF_NATIVE | OF_SCHEDULES) == set()


def server(directory: Path, backend: str, units: str) -> str:
    """Make a server with one project whose workers run on a backend that does not answer; return its config.toml."""
    config = directory / "config.toml"
    (directory / "projects" / "shop" / "current").mkdir(parents=True)
    (directory / "files").mkdir()
    config.write_text(
        f'[layout]\nprojects = "projects"\nlogs = "logs"\n[paths]\nprojects_d = "files"\n'
        f'[backend]\nworkers = "{backend}"\nschedules = "native"\n'
        f'[supervisor]\nserver = "unix://{directory}/none.sock"\nconf_dir = "{directory}/files"\n'
    )
    user = pwd.getpwuid(os.geteuid()).pw_name
    (directory / "files" / "shop.toml").write_text(f'[project]\nuser = "{user}"\n{units}')
    return str(config)


def test_the_status_of_our_own_engine_imports_its_client_and_no_translator(tmp_path: Path) -> None:
    code, modules = started("--config", server(tmp_path, "native", WORKER + SCHEDULE), "status")

    assert code == 1  # the engine does not run, which is only known after it was asked
    assert modules >= OF_NATIVE
    assert modules & (NO_STATUS_NEEDS | OF_SUPERVISOR | {"shiftboss.backends.native"}) == set()


def test_the_status_of_supervisor_imports_nothing_of_our_own_engine(tmp_path: Path) -> None:
    code, modules = started("--config", server(tmp_path, "supervisor", WORKER), "status")

    assert code == 1
    assert "xmlrpc" in modules
    needed = {"configparser", "shutil"}  # its configuration is one; XML-RPC brings gzip, which brings shutil
    ours = {name for name in OF_NATIVE if name.startswith("shiftboss.")}
    assert (
        modules & (NO_STATUS_NEEDS - needed | OF_SCHEDULES | ours | {"shiftboss.backends.supervisor"})
        == set()
    )


def test_explaining_an_expression_imports_no_client(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")

    code, modules = started("--config", str(config), "explain", "0 2 * * *")

    assert code == 0
    assert packages(modules) & {"xmlrpc", "tomlkit", "psutil", "rich", "asyncio", "sqlite3"} == set()


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
