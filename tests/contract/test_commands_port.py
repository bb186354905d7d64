"""What the `Commands` and `Accounts` ports promise: looking programs up, running them to the end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shiftboss.host.accounts import RealAccounts
from shiftboss.host.commands import RealCommands
from shiftboss.host.fake import FakeAccounts, fake_machine
from shiftboss.host.ports import Accounts
from tests.contract.worlds import STRANGER, FakeWorld, RealWorld, World
from tests.waiting import wait_until

OWN = RealAccounts().own()
needs_root = pytest.mark.needs_root


@pytest.fixture(params=["real", "memory"])
def world(request: pytest.FixtureRequest, public_tmp: Path) -> World:
    return RealWorld(public_tmp) if request.param == "real" else FakeWorld()


@needs_root
def test_a_program_of_another_user_does_not_get_the_keys_of_our_session() -> None:
    """The kernel lets every process of a session use its keys, also one of another user."""
    account = f"Account('x', {STRANGER.uid}, {STRANGER.gid}, 'x', '/')"
    code = f"""
import ctypes, os
from shiftboss.core.spec import Account
from shiftboss.host.commands import RealCommands
add, control = {{"x86_64": (248, 250)}}.get(os.uname().machine, (217, 219))
call = ctypes.CDLL(None).syscall
call(control, 1, None)  # a session of this test's own
call(add, b"user", b"shiftboss-test", b"of root", ctypes.c_size_t(7), -3)
keys = "cat", "/proc/keys"
print(RealCommands().run(keys).stdout, "@@", RealCommands().run(keys, account={account}).stdout)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    ours, theirs = ended.stdout.split("@@")
    assert "shiftboss-test" in ours or not os.path.exists("/proc/keys")
    assert "shiftboss-test" not in theirs
    assert ("_ses" in theirs) == ("_ses" in ours), "it has a session, and that is another one"


def test_find_takes_the_first_executable_file_in_the_order_of_the_path(world: World) -> None:
    root = world.root
    for place in ("first", "second"):
        world.directory(f"{root}/{place}")
        world.write(f"{root}/{place}/php", b"#!/bin/sh\n", mode=0o755)
    world.directory(f"{root}/odd/php")
    world.directory(f"{root}/plain")
    world.write(f"{root}/plain/php", b"no program")
    world.directory(f"{root}/linked")
    world.link(f"{root}/linked/php", "../second/php")

    def found(*places: str) -> str | None:
        return world.commands.find("php", ":".join(f"{root}/{place}" for place in places), OWN)

    assert found("absent", "odd", "plain", "first", "second") == f"{root}/first/php"
    assert found("second", "first") == f"{root}/second/php"
    assert found("linked") == f"{root}/linked/php"
    assert found("odd", "plain") is None
    assert world.commands.find("nope", f"{root}/first", OWN) is None


def test_find_passes_over_places_that_are_not_absolute(world: World) -> None:
    assert world.commands.find("sh", "", OWN) is None
    assert world.commands.find("setup.py", ".:", OWN) is None


@needs_root
def test_find_sees_with_the_eyes_of_the_account(world: World) -> None:
    world.directory(f"{world.root}/closed", mode=0o700)
    world.write(f"{world.root}/closed/php", b"#!/bin/sh\n", mode=0o755)
    world.write(f"{world.root}/private", b"#!/bin/sh\n", mode=0o700)

    assert world.commands.find("private", world.root, OWN) == f"{world.root}/private"
    assert world.commands.find("private", world.root, STRANGER) is None
    assert world.commands.find("php", f"{world.root}/closed", STRANGER) is None


def test_a_program_that_is_missing_ends_with_127(world: World) -> None:
    finished = world.commands.run((f"{world.root}/absent", "word"))

    assert (finished.status, finished.stderr) == (127, f"{world.root}/absent: no such file or directory")


def test_a_program_in_memory_ends_as_its_answer_says() -> None:
    machine = fake_machine()
    machine.commands.install("/usr/bin/php")

    assert machine.commands.run(("php", "-v")).status == 0
    assert machine.commands.ran == [("php", "-v")]


class TestRunning:
    """What only real programs can show."""

    def test_tells_status_and_both_outputs(self) -> None:
        finished = RealCommands().run(("sh", "-c", "echo out; echo err >&2; exit 3"))

        assert (finished.status, finished.stdout, finished.stderr) == (3, "out\n", "err\n")

    def test_tells_a_signal_as_a_shell_does(self) -> None:
        assert RealCommands().run(("sh", "-c", "kill -9 $$")).status == 137

    def test_gives_no_input_and_a_clean_environment(self) -> None:
        os.environ["SHIFTBOSS_TEST_SECRET"] = "secret"
        try:
            finished = RealCommands().run(("sh", "-c", "cat; env"), account=OWN)
        finally:
            del os.environ["SHIFTBOSS_TEST_SECRET"]

        assert "secret" not in finished.stdout
        assert f"HOME={OWN.home}\n" in finished.stdout

    def test_names_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        finished = RealCommands().run(("ls",), directory=f"{tmp_path}/absent")

        assert (finished.status, finished.stderr) == (127, f"{tmp_path}/absent: no such file or directory")

    def test_ends_a_program_and_its_children_at_the_deadline(self, tmp_path: Path) -> None:
        """A child that holds the output keeps us until the deadline; then it must not live on."""
        begun = time.monotonic()
        finished = RealCommands().run(
            ("sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; echo begun"), timeout=0.3
        )

        assert (finished.status, finished.stdout) == (124, "begun\n")
        assert time.monotonic() - begun < 5
        child = Path("/proc") / (tmp_path / "pid").read_text().strip()
        wait_until(lambda: not child.exists() or " Z " in (child / "stat").read_text(), what="its end")

    def test_cuts_an_output_without_end(self) -> None:
        begun = time.monotonic()
        finished = RealCommands().run(("yes",), timeout=60)

        assert time.monotonic() - begun < 30
        assert len(finished.stdout) == 1024 * 1024
        assert finished.status != 0

    @needs_root
    def test_runs_as_the_account_with_its_groups_only(self) -> None:
        finished = RealCommands().run(("id",), account=STRANGER)

        assert finished.stdout.startswith("uid=65534(nobody) gid=65534(nogroup)")
        assert "0(root)" not in finished.stdout


@pytest.mark.parametrize("accounts", [RealAccounts(), FakeAccounts(OWN)], ids=["real", "memory"])
def test_accounts_are_found_by_name(accounts: Accounts) -> None:
    assert accounts.by_name(OWN.name) == accounts.own() == OWN
    for name in ("nobody-of-that-name", "", "a\0b", "../x"):
        assert accounts.by_name(name) is None
