"""The import rule: which room of the code may import which (design, section 3), and what the pure rooms may not."""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import shiftboss

PACKAGE = Path(shiftboss.__path__[0])

# room -> what of ours it may import: a room, or a part of one
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "core.wire": set(),  # the keeper runs it as root
    "presets": set(),
    "backends": {"core"},
    # the engine is asked as Supervisor is: through a port (docs/adr/0010); what the launcher's cgroups count is read
    "host": {
        "core",
        "api",
        "confine.limits",
        "confine.mounts",  # a program of a project leaves root's keys
        "confine.remains",  # what a stop left behind in them is ended
        "confine.usage",
    },
    "api": {"core"},
    # presets are data, a package only so that their files are found
    "setup": {"core", "backends", "host", "presets"},
    "confine": set(),
    "keeper": {"confine", "core.wire"},
    "launcher": {"confine", "core.wire"},
    "engine": {"core", "host", "api", "confine.usage"},  # reads what the keeper's cgroups count
    "web": {"core", "api"},
    # the project of the demo is data too: it runs as a project's code, not as ours
    "demo": {"core"},
    "cli": {"core", "setup", "api"},
}
# only what starts a process of its own may import its room
STARTERS: dict[str, set[str]] = {
    "__main__.py": {"cli"},
    "cli/cmd_demo.py": {"demo"},
    "cli/cmd_up.py": {"engine", "keeper"},
    "cli/cmd_web.py": {"web"},
}
FREE_FOR_ALL = {"version"}
PURE = {"core", "core.wire", "backends"}
STANDARD_LIBRARY_ONLY = {"keeper", "launcher", "confine", "core.wire"}
EFFECTS = {
    "asyncio", "io", "logging", "os", "pathlib", "random", "shutil", "signal", "socket", "subprocess", "sys",
    "tempfile", "threading", "time",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module, spelled absolutely, and where."""

    line: int
    module: str


def imports(path: Path, package: Path) -> Iterator[Import]:
    """Yield every import of a file: at its top, in functions, and those for type checkers only."""
    inside = ("shiftboss", *path.relative_to(package).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            parts = [] if not node.level else list(inside[: len(inside) - node.level + 1])
            start = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, f"{start}.{alias.name}")


def violations(package: Path) -> list[str]:
    """Return one line for each import below `package` that the table forbids."""
    return [
        f"{path.relative_to(package)}:{found.line}: {complaint}"
        for path in sorted(package.rglob("*.py"))
        for found in imports(path, package)
        if (complaint := _complaint(path.relative_to(package), found.module))
    ]


def _complaint(path: Path, module: str) -> str:
    room = _room(path)
    top, _, rest = module.partition(".")
    if top == "shiftboss":
        return "" if _is_open(path, room, rest) else f"{room or path} may not import {module}"
    if room in PURE and top in EFFECTS:
        return f"{room} is pure and may not import {top}"
    if room in STANDARD_LIBRARY_ONLY and top not in sys.stdlib_module_names:
        return f"{room} may import the standard library only, not {top}"
    return ""


def _room(path: Path) -> str:
    part = ".".join(path.parts[:2])
    return part if part in MAY_IMPORT else path.parts[0] if len(path.parts) > 1 else ""


def _is_open(path: Path, room: str, target: str) -> bool:
    # modules beside the rooms are constants and import nothing
    own = {room} | FREE_FOR_ALL if room else set()
    allowed = own | MAY_IMPORT.get(room, set()) | STARTERS.get(str(path), set())
    return any(target == name or target.startswith(f"{name}.") for name in allowed)


def test_every_import_keeps_the_rule() -> None:
    assert violations(PACKAGE) == []


def test_every_room_is_in_the_table() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= MAY_IMPORT.keys()


def test_package_files_are_empty_so_that_a_start_stays_cheap() -> None:
    full = [str(path) for path in PACKAGE.rglob("__init__.py") if path.stat().st_size]
    assert full == []


PLANTED = [
    ("core/clock.py", "import time", "core is pure and may not import time"),
    ("core/files.py", "def f():\n    from os import path", "core is pure and may not import os"),
    ("core/upward.py", "from shiftboss.host import files", "core may not import shiftboss.host.files"),
    ("core/relative.py", "from ..setup import apply", "core may not import shiftboss.setup.apply"),
    ("core/beside.py", "from .. import host", "core may not import shiftboss.host"),
    ("core/whole.py", "import shiftboss", "core may not import shiftboss"),
    ("backends/b.py", "import shiftboss.host.files", "backends may not import shiftboss.host.files"),
    ("backends/s.py", "import subprocess as s", "backends is pure and may not import subprocess"),
    ("host/h.py", "from shiftboss.setup.apply import perform", "host may not import shiftboss.setup.apply.perform"),
    ("cli/status.py", "from shiftboss.engine import loop", "cli may not import shiftboss.engine.loop"),
    ("keeper/main.py", "import msgspec", "keeper may import the standard library only, not msgspec"),
    ("keeper/plan.py", "from shiftboss.core import plan", "keeper may not import shiftboss.core.plan"),
    ("core/wire/a.py", "import msgspec", "core.wire may import the standard library only, not msgspec"),
    ("core/wire/b.py", "from shiftboss.core import names", "core.wire may not import shiftboss.core.names"),
    ("core/wire/c.py", "import os", "core.wire is pure and may not import os"),
    ("keeper/wired.py", "from shiftboss.core import wires", "keeper may not import shiftboss.core.wires"),
    ("attic/a.py", "import shiftboss.core.names", "attic may not import shiftboss.core.names"),
    ("loose.py", "import shiftboss.core.names", "loose.py may not import shiftboss.core.names"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "code", "complaint"), PLANTED, ids=[row[0] for row in PLANTED])
def test_the_rule_catches_a_planted_violation(tmp_path: Path, path: str, code: str, complaint: str) -> None:
    planted = tmp_path / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(code)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{path}:")
    assert found.endswith(f": {complaint}")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (
            "core/a.py",
            "import json, re, dataclasses, tomllib, msgspec\nfrom shiftboss.core.names import suggest",
        ),
        ("cli/cmd_up.py", "from shiftboss.keeper import main\nfrom shiftboss.version import VERSION"),
        ("core/wire/a.py", "import json\nfrom shiftboss.core.wire.values import plain"),
        ("keeper/a.py", "import os, socket\nfrom shiftboss.core.wire import codec"),
        ("setup/a.py", "from ..backends import contract"),
    ],
)
def test_the_rule_lets_pass_what_the_table_allows(tmp_path: Path, path: str, code: str) -> None:
    allowed = tmp_path / path
    allowed.parent.mkdir(parents=True)
    allowed.write_text(code)
    assert violations(tmp_path) == []


# The keeper must not fail and runs as root: it stays small enough to be read in one sitting (docs/adr/0011).
KEEPER_LINES = 600
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(text: str) -> int:
    """Count the lines with code on them: none that is blank, or a comment, or part of a docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_the_keeper_stays_small() -> None:
    counted = {path.name: code_lines(path.read_text()) for path in (PACKAGE / "keeper").glob("*.py")}
    assert 0 < sum(counted.values()) <= KEEPER_LINES, counted


def test_lines_are_counted_without_blank_ones_comments_and_docstrings() -> None:
    text = (
        '"""Two\nlines."""\n\n# why\n\ndef f(  # one\n    a,\n):\n    """Say."""\n    return """x\n\ny"""\n'
    )
    assert code_lines(text) == 6
