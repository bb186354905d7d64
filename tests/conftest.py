"""Fixtures and rules of general use for every test; what only one room needs lives in that room."""

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# In CI nothing may be left out for a missing package: a skip is then a failure with the skip's reason.
REQUIRE_ALL = os.environ.get("SHIFTBOSS_TESTS_REQUIRE_ALL") == "1" or os.environ.get("CI") == "true"


# A background job and nohup start programs with these ignored, and an ignored signal stays so in every program that
# is started from there; with a handler here, the programs that the tests start have the usual ones again.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


# files that take many minutes, mostly of waiting: begun first, they do not hold up the end of a parallel run
_LONGEST = {"test_service.py", "test_five_minutes.py", "test_cron_scheduler.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take longest first."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs root where we are not root."""
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skipped test a failed one where everything is required."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a skipped module an error where everything is required."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (REQUIRE_ALL and report.skipped):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped, and here everything must run: {reason}"


@pytest.fixture
def public_tmp() -> Iterator[Path]:
    """Give a directory below /tmp that every user may enter (pytest's tmp_path is closed to others)."""
    directory = Path(tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
