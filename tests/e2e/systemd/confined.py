"""Runs tests of this checkout inside a machine under test: the same tests, on its kernel and its cgroups."""

import shutil
import sys
from pathlib import Path

from tests.e2e.systemd.bed import Bed
from tests.e2e.systemd.world import PACKAGES

_CHECKOUT = Path(__file__).resolve().parents[3]
_PLACE = "/srv/shiftboss"
_PLUGINS = "/srv/pytest"
_PYTEST = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "pytest_timeout")
_MAIN = "import pytest; raise SystemExit(pytest.main())"
_CONFINE = "tests/integration/confine"
_FILES = ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/waiting.py")
_MOST_SECONDS = 380


def bring_tests(bed: Bed, work: Path) -> None:
    """Bring pytest and the tests of limits and isolation; shiftboss itself is there already."""
    checkout, plugins = work / "checkout", work / "pytest"
    for name in _FILES:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_CHECKOUT / name, checkout / name)
    shutil.copytree(_CHECKOUT / _CONFINE, checkout / _CONFINE)
    _copy_pytest(plugins)
    bed.push(checkout, _PLACE)
    bed.push(plugins, _PLUGINS)
    bed.ok("ln", "-s", PACKAGES, f"{_PLACE}/src")


def _copy_pytest(target: Path) -> None:
    """Copy what this pytest itself has loaded, compiled as well: the machine is slow."""
    for name, module in list(sys.modules.items()):
        top, _, _ = name.partition(".")
        if top in _PYTEST and (file := getattr(module, "__file__", None)):
            below = (
                name.replace(".", "/")
                if file.endswith("__init__.py")
                else name.replace(".", "/").rpartition("/")[0]
            )
            _copy_module(Path(file), getattr(module, "__cached__", None), target / below)


def _copy_module(file: Path, compiled: str | None, target: Path) -> None:
    (target / "__pycache__").mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target)
    if compiled and Path(compiled).exists():
        shutil.copy2(compiled, target / "__pycache__")


def run_tests(bed: Bed, *tests: str) -> None:
    """Run them; every one must pass, and none may be skipped."""
    variables = (
        "PYTHONPATH=" + _PLUGINS,
        "SHIFTBOSS_TESTS_REQUIRE_ALL=1",
        "PYTHONDONTWRITEBYTECODE=1",
        "SHIFTBOSS_TESTS_DEADLINE=100",
    )
    pytest = (
        "/usr/bin/python3",
        "-P",
        "-c",
        _MAIN,
        "-p",
        "pytest_timeout",
        "-p",
        "no:cacheprovider",
        "-q",
    )
    where = [f"{_CONFINE}/{test}" for test in tests]
    answer = bed.run("env", "-C", _PLACE, *variables, *pytest, *where, timeout=_MOST_SECONDS)
    assert answer.status == 0, answer
