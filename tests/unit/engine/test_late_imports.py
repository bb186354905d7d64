"""The engine imports everything before it gives up root: where it comes from may be closed to who it becomes."""

import ast
import json
import subprocess
import sys
from pathlib import Path

_LOADED = """\
import json, sys
sys.modules["ssl"] = None
import shiftboss.engine.main
from shiftboss.engine import privilege, wiring
print(json.dumps({name: getattr(module, "__file__", "") for name, module in sys.modules.items() if module}))
"""
# never called in the engine
_OF_OTHERS = {("shiftboss.core.wire.entry", "revision"), ("shiftboss.host.accounts", "create")}


def late_imports(name: str, source: str) -> list[tuple[str, str]]:
    """Return what functions import, as (function, module)."""
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        (function.name, module)
        for function in functions
        if (name, function.name) not in _OF_OTHERS
        for node in ast.walk(function)
        for module in _modules(node)
    ]


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_what_its_functions_import_is_there_before() -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    loaded: dict[str, str] = json.loads(done.stdout)
    ours = {name: path for name, path in loaded.items() if name.startswith("shiftboss.") and path}
    found = {
        (name, function, module)
        for name, path in ours.items()
        for function, module in late_imports(name, Path(path).read_text())
    }
    assert ("shiftboss.core.names", "suggest", "difflib") in found, "this test sees no late imports any more"
    assert {late for late in found if late[2] not in loaded} == set()
