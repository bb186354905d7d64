"""The launcher's own manners: whom it trusts, what it says when it cannot start something, and its exit status."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confine_rig import DEADLINE, World, world

from shiftboss.core.spec import Limits
from shiftboss.core.wire.entry import Confinement

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(60)]


@pytest.fixture(name="made")
def fixture_made() -> Iterator[World]:
    with world() as made:
        yield made


def launch(made: World, *arguments: str) -> tuple[int, str]:
    """Run the launcher with other arguments; return exit status and its last line."""
    command = [*made.command()[:4], *arguments]
    finished = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)
    lines = finished.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert finished.stdout == b""
    return finished.returncode, lines[0]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"argv": ("no-such-program",)}, 127, "cannot run no-such-program: not found in"),
        ({"argv": ("/no/such",)}, 127, "cannot run /no/such: No such file or directory"),
        ({"argv": ("/etc/passwd",)}, 126, "cannot run /etc/passwd: it is no file that this user may execute"),
        ({"argv": ("/etc",)}, 126, "cannot run /etc: it is no file that this user may execute"),
        ({"directory": "/no/such"}, 127, "cannot enter /no/such: No such file or directory"),
        ({"directory": "/root"}, 125, "cannot enter /root: "),
        ({"env_file": "/etc/shadow"}, 125, "cannot read /etc/shadow: Permission denied"),
        ({"rlimits": {"BOGUS": (1, 1)}}, 125, "cannot set the limit BOGUS: this system has none"),
        ({"confinement": Confinement(steps=(("fly",),))}, 125, "cannot isolate: there is no step fly"),
    ],
)
def test_what_cannot_be_started_is_said_on_one_line(
    made: World, fields: dict[str, Any], status: int, words: str
) -> None:
    entry = made.entry("/bin/true")._replace(**fields)
    finished = made.run(entry)
    (line,) = finished.stderr.decode().splitlines()
    assert finished.returncode == status, line
    assert line.startswith(f"shiftboss-exec: {made.mine.name}/queue:1: {words}")
    assert "(step " in line


def test_the_exit_status_and_the_streams_are_the_programs_own(made: World) -> None:
    finished = made.run(made.confined("/bin/sh", "-c", "echo out; echo err >&2; exit 9", level="strict"))
    assert (finished.returncode, finished.stdout, finished.stderr) == (9, b"out\n", b"err\n")


def test_a_relative_command_is_taken_from_the_release(made: World) -> None:
    program = made.top / "projects" / made.mine.name / "releases/1/hello"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    finished = made.run(made.confined("./hello", level="strict"))
    assert finished.stdout.decode().strip() == f"{made.mine.root}/releases/1"


def test_the_env_file_is_read_as_the_project(made: World) -> None:
    path = made.top / "projects" / made.mine.name / ".env"
    path.write_text("GREETING=hello\nHOME=/elsewhere\n")
    entry = made.entry("/usr/bin/env", env_file=str(path), environment={"GREETING": "over"})
    lines = made.run(entry).stdout.decode().splitlines()
    assert {"GREETING=over", "HOME=/elsewhere", f"USER={made.mine.name}"} <= set(lines)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "queue",
        "../queue",
        "a/b/c",
        "a/../../etc",
        "A/b",
        "a/b:",
        "a/b:0",
        "a/b:x",
        "a/b:123456",
        "a/b:²",
        "-a/b",
        "a/b#c",
    ],
)
def test_an_address_that_is_none_is_refused(made: World, address: str) -> None:
    status, line = launch(made, "--orders", str(made.order(made.entry("/bin/true"))), address)
    assert status == 125
    assert line.endswith("that is not an address such as myapp/queue:1")


@pytest.mark.parametrize(
    "arguments", [(), ("--help",), ("--orders", "x"), ("a/b", "c"), ("--uid", "0", "a/b")]
)
def test_any_other_use_is_answered_by_the_usage(made: World, arguments: tuple[str, ...]) -> None:
    status, line = launch(made, *arguments)
    assert status == 125
    assert "usage" in line or "not an address" in line or "cannot read" in line


def test_an_unknown_unit_or_project_is_named(made: World) -> None:
    orders = str(made.order(made.entry("/bin/true")))
    assert launch(made, "--orders", orders, f"{made.mine.name}/other:1") == (
        125,
        f"shiftboss-exec: {made.mine.name}/other:1: {orders}/{made.mine.name}.json has no {made.mine.name}/other",
    )
    status, line = launch(made, "--orders", orders, "ghost/other")
    assert status == 125
    assert line.endswith(f"cannot read {orders}/ghost.json: No such file or directory")


Spoil = Callable[[Path, Path, int], object]
SPOILED: dict[str, Spoil] = {
    "file of a user": lambda _, file, uid: os.chown(file, uid, -1),
    "directory of a user": lambda orders, _, uid: os.chown(orders, uid, -1),
    "writable for a group": lambda _, file, __: file.chmod(0o664),
    "directory writable for all": lambda orders, _, __: orders.chmod(0o777),
    "a link": lambda orders, file, _: (file.rename(orders / "real"), file.symlink_to(orders / "real")),
    "a fifo": lambda _, file, __: (file.unlink(), os.mkfifo(file, 0o600)),
    "not JSON": lambda _, file, __: file.write_text("{"),
    "more than JSON": lambda _, file, __: file.write_text(file.read_text() + "{}"),
    "a list": lambda _, file, __: file.write_text("[]"),
    "deep": lambda _, file, __: file.write_text("[" * 100_000),
    "another version": lambda _, file, __: file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 2})),
    "another project": lambda _, file, __: file.write_text(json.dumps(json.loads(file.read_text()) | {"project": "x"})),
    "no entries": lambda _, file, __: file.write_text(json.dumps(json.loads(file.read_text()) | {"entries": 1})),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_only_a_whole_file_that_is_roots_alone_is_trusted(made: World, how: str) -> None:
    orders = made.order(made.entry("/bin/echo", "ran"))
    SPOILED[how](orders, orders / f"{made.mine.name}.json", made.mine.account.uid)
    status, line = launch(made, "--orders", str(orders), f"{made.mine.name}/queue:1")
    assert status == 125
    assert line.startswith(f"shiftboss-exec: {made.mine.name}/queue:1: ")


def test_a_hard_limit_that_cannot_be_raised_is_a_note(made: World) -> None:
    with open("/proc/sys/fs/nr_open") as file:
        beyond = int(file.read()) + 1
    finished = made.run(made.confined("/bin/true", bounds=Limits(nofile=beyond)))
    assert finished.returncode == 0
    assert b": note: the limit NOFILE stays at " in finished.stderr
