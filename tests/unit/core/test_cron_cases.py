"""The acceptance cases that were collected from cron daemons, libraries and manuals (cron_cases.json)."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shiftboss.core.cron import Expression, parse
from shiftboss.core.cron_lint import lint
from shiftboss.core.cron_times import DstPolicy, next_time, previous_time, times
from shiftboss.core.errors import UserError

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("cron_cases.json").read_text())["cases"]

# Each dialect of the file is read by these dialects of ours …
DIALECTS = {
    "cron5": ("debian", "native"),
    "cron-macro": ("debian", "native"),
    "cron5+ext": ("native",),
    "cron5+ext2": ("native",),
    "cron6-seconds-first": ("native",),
}
# … and these are not expressions of ours: OnCalendar= is systemd's, a whole crontab is the backend's.
NOT_OURS = {"systemd-oncalendar", "crontab-file"}
# The rows of the file that describe our two policies. cronsim does not treat gaps specially for six fields,
# which is our `skip`; with us a seconds field does not turn a nightly backup off.
POLICIES: dict[str, DstPolicy] = {
    "debian": "debian",
    "any": "debian",
    "cronsim-6field": "skip",
    "wall-clock-skip": "skip",
}

# Other programs refuse 1-1_0; `crontab -n` takes it, and the daemon reads 1-1.
TAKEN_BY_DEBIAN = {"invalid-021"}

OURS = [c for c in CASES if c["dialect"] not in NOT_OURS]
RUNS = [(c, dialect) for c in OURS for dialect in DIALECTS[c["dialect"]]]


def runs(*groups: str, dialects: tuple[str, ...] = ("debian", "native")) -> pytest.MarkDecorator:
    chosen = [(c, d) for c, d in RUNS if c["group"] in groups and d in dialects]
    return pytest.mark.parametrize(("case", "dialect"), chosen, ids=[f"{c['id']}-{d}" for c, d in chosen])


def rows(case: dict[str, Any]) -> list[tuple[DstPolicy, list[str]]]:
    """Return the expected times with the policy that they are expected from."""
    if "expected" in case:
        return [(POLICIES[case.get("dst_policy", "any")], case["expected"])]
    return [(POLICIES[name], row) for name, row in case["expected_by_policy"].items() if name in POLICIES]


def start_of(case: dict[str, Any]) -> datetime:
    start = datetime.fromisoformat(case["start"])
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def instants(texts: list[str]) -> list[datetime]:
    moments = [datetime.fromisoformat(text) for text in texts]
    return [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments]


TIMED = (
    *("basic", "dow", "domdow", "leap", "ext", "seconds", "macro", "never"),
    *("dst-debian", "dst-zones", "dst-policy", "debian-observed"),
)


@runs(*TIMED)
def test_times_are_the_expected_ones(case: dict[str, Any], dialect: str) -> None:
    """The next times after the start are exactly the expected ones, with offset, and no more until the end."""
    expr, zone = parse(case["expr"], dialect), ZoneInfo(case["tz"])
    for policy, row in rows(case):
        found = times(expr, start_of(case), zone, len(row), policy)
        assert shown(found, zone) == shown(instants(row), zone)
        if "until" in case:
            last = found[-1] if found else start_of(case)
            following = next_time(expr, last, zone, policy)
            assert following is None or following > datetime.fromisoformat(case["until"])


def shown(moments: Iterable[datetime | None], zone: ZoneInfo) -> list[str]:
    """Return moments with their offset: datetimes in a repeated hour are not equal across zones (PEP 495)."""
    return [moment.astimezone(zone).isoformat() if moment else "none" for moment in moments]


@runs(*TIMED)
def test_times_are_the_same_backwards(case: dict[str, Any], dialect: str) -> None:
    """Going back from the last expected time visits the others in reverse order."""
    expr, zone = parse(case["expr"], dialect), ZoneInfo(case["tz"])
    for policy, row in rows(case):
        expected = instants(row)
        found = [previous_time(expr, later, zone, policy) for later in expected[1:]]
        assert shown(found, zone) == shown(expected[:-1], zone)


@runs("never")
def test_what_never_runs_is_a_fatal_finding(case: dict[str, Any], dialect: str) -> None:
    """A date that no year has is legal for cron, has no next time, and must not be written."""
    assert next_time(parse(case["expr"], dialect), start_of(case), ZoneInfo("UTC")) is None
    assert any(finding.code == "never" and finding.fatal for finding in lint(case["expr"], dialect))


@runs("invalid")
def test_what_cron_refuses_is_refused(case: dict[str, Any], dialect: str) -> None:
    """A text that cron refuses is an error of the user, and lint says so without raising."""
    fatal = [finding.code for finding in lint(case["expr"], dialect) if finding.fatal]
    if case["id"] in TAKEN_BY_DEBIAN and dialect == "debian":
        assert fatal == ["ignored-tail"]
        return
    with pytest.raises(UserError):
        parse(case["expr"], dialect)
    assert fatal == ["invalid"]


@runs("debian-lint", dialects=("debian",))
def test_what_debian_silently_misreads_is_found(case: dict[str, Any], dialect: str) -> None:
    """What Debian's cron takes and runs otherwise than it reads is fatal, and parsed as what it really does."""
    assert any(finding.fatal for finding in lint(case["expr"], dialect))
    expr = parse(case["expr"], dialect)
    if case["debian_effective"] == "never":
        assert next_time(expr, datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")) is None
    else:
        assert meaning(expr) == meaning(parse(case["debian_effective"], dialect))


def meaning(expr: Expression) -> Expression:
    """Return the expression without what only its spelling decides."""
    return replace(expr, text="")


@runs("debian-lint", dialects=("native",))
def test_native_never_reads_what_debian_would_misread(case: dict[str, Any], dialect: str) -> None:
    """Native refuses these texts, or runs them as they read (sat-sun is a weekend, 0#1 the first Sunday)."""
    try:
        expr = parse(case["expr"], dialect)
    except UserError:
        return
    assert case["expr"].split()[-1] in {"sat-sun", "0#1"}
    assert next_time(expr, datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")) is not None


@runs("basic", "dow", "leap")
def test_lint_raises_no_false_alarm(case: dict[str, Any], dialect: str) -> None:
    """Ordinary expressions have no fatal finding, and no note but the one on two day fields."""
    assert {(finding.code, finding.fatal) for finding in lint(case["expr"], dialect)} <= {
        ("either-day", False)
    }


def test_no_case_is_overlooked() -> None:
    """Every case of the file is run, or belongs to a dialect that is excluded by name."""
    counted = Counter(case["group"] for case in OURS)
    assert counted == {
        **{"basic": 7, "dow": 6, "domdow": 7, "leap": 4, "ext": 11, "seconds": 3, "macro": 3, "never": 3},
        **{"dst-debian": 12, "dst-zones": 14, "dst-policy": 4, "debian-observed": 7},
        **{"invalid": 15, "debian-lint": 6},
    }
    assert {case["dialect"] for case in CASES} == set(DIALECTS) | NOT_OURS
    assert (len(CASES), len(OURS), len(RUNS)) == (107, 102, 188)
    assert set(counted) == {*TIMED, "invalid", "debian-lint"}
