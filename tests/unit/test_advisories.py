"""`make audit`: what pip-audit says is read; what it could not look up is never called clean."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import check_advisories as advisories  # scripts are no package

CLEAN = {"name": "click", "version": "8.2", "vulns": []}
HOLE = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": [], "description": ""}],
}
SKIPPED = {"name": "huey", "skip_reason": "Dependency not found: huey (3.5)"}


def found(*packages: dict[str, object]) -> advisories.Found:
    return advisories.read(json.dumps({"dependencies": packages, "fixes": []}), "")


def test_a_hole_is_named_with_the_version_that_mends_it() -> None:
    seen = found(CLEAN, HOLE)

    assert seen == (2, (), ("jinja2 2.10: PYSEC-2019-217, mended in 2.10.1",))
    assert list(advisories.lines("dev", seen)) == [
        "error: dev.lock: jinja2 2.10: PYSEC-2019-217, mended in 2.10.1"
    ]


def test_what_was_not_looked_up_is_told() -> None:
    assert list(advisories.lines("dev", found(CLEAN, SKIPPED))) == [
        "dev.lock: 1 packages looked up, others not: Dependency not found: huey (3.5)"
    ]


@pytest.mark.parametrize("output", ["", "Traceback", "[]", "{}"])
def test_without_an_answer_nothing_was_looked_up(output: str) -> None:
    assert advisories.read(output, "warning\nerror: no route\n") == (0, ("error: no route",), ())


@pytest.mark.parametrize(
    ("packages", "strict", "lenient"),
    [((CLEAN,), 0, 0), ((CLEAN, SKIPPED), 3, 0), ((SKIPPED, HOLE), 1, 1), ((HOLE,), 1, 1)],
)
def test_a_hole_always_fails_what_is_unknown_only_where_it_must_be_known(
    packages: tuple[dict[str, object], ...], strict: int, lenient: int
) -> None:
    assert advisories.status([found(*packages)], unreachable_ok=False) == strict
    assert advisories.status([found(*packages)], unreachable_ok=True) == lenient


def test_every_exception_has_a_reason() -> None:
    assert all(len(reason) > 20 for reason in advisories.ACCEPTED.values())
