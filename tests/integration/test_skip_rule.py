"""In CI a test that is skipped is a test that failed: the rule of tests/conftest.py, seen from outside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SKIPS = """
import pytest

def test_left_out():
    pytest.skip("php is missing")

@pytest.mark.skipif(True, reason="no redis here")
def test_left_out_by_mark():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False
"""
MODULE_SKIP = "import pytest\npytest.importorskip('no_such_module_here')\n"


def run_pytest(directory: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST.read_text())
    (directory / "test_it.py").write_text(code)
    kept = {k: v for k, v in os.environ.items() if k not in {"CI", "SHIFTBOSS_TESTS_REQUIRE_ALL"}}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    return subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", ".", "."],
        cwd=directory,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_skip_is_a_skip_on_a_machine_that_lacks_something(tmp_path: Path) -> None:
    finished = run_pytest(tmp_path, SKIPS)
    assert finished.returncode == 0, finished.stdout
    assert "2 skipped, 1 xfailed" in finished.stdout


@pytest.mark.parametrize("variable", [{"SHIFTBOSS_TESTS_REQUIRE_ALL": "1"}, {"CI": "true"}])
def test_where_everything_is_required_a_skip_fails_and_says_what_was_missing(
    tmp_path: Path, variable: dict[str, str]
) -> None:
    finished = run_pytest(tmp_path, SKIPS, **variable)
    assert finished.returncode == 1, finished.stdout
    assert (
        "1 failed, 1 xfailed, 1 error" in finished.stdout
    )  # a mark skips in setup, which pytest calls an error
    assert "php is missing" in finished.stdout
    assert "no redis here" in finished.stdout


def test_where_everything_is_required_a_skipped_module_fails_the_run(tmp_path: Path) -> None:
    finished = run_pytest(tmp_path, MODULE_SKIP, SHIFTBOSS_TESTS_REQUIRE_ALL="1")
    assert finished.returncode not in {0, 5}, finished.stdout
    assert "no_such_module_here" in finished.stdout
