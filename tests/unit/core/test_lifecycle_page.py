"""The diagram in the docs is drawn from the table."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from shiftboss.core.lifecycle import TABLE, State

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "generate_lifecycle.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_lifecycle", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script: ModuleType) -> None:
    page: Path = script.PAGE
    assert page.read_text(encoding="utf-8") == script.page(), "run scripts/generate_lifecycle.py"


def test_the_diagram_shows_every_state_and_the_way_out_of_it(script: ModuleType) -> None:
    drawn = script.diagram()
    for state in State:
        assert f"    {state.value} --> " in drawn
    assert "RUNNING --> STOPPING: Stop, Restart" in drawn


def test_every_pair_has_a_cell(script: ModuleType) -> None:
    rows = [line for line in script.table().splitlines()[2:] if line]
    assert len(rows) == len(TABLE)
    assert {line.count("|") for line in rows} == {12}
