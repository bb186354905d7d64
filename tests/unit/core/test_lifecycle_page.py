"""The page about the life of a process is drawn from the table (that it is not stale: tests/unit/test_reference.py)."""

import sys
from pathlib import Path

from shiftboss.core.lifecycle import TABLE, State

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

import generate_reference  # scripts are no package
import reference_lifecycle


def test_make_docs_writes_the_page() -> None:
    assert generate_reference.pages()["lifecycle.md"] == reference_lifecycle.page()


def test_the_diagram_shows_every_state_and_the_way_out_of_it() -> None:
    drawn = reference_lifecycle.diagram()
    for state in State:
        assert f"    {state.value} --> " in drawn
    assert "RUNNING --> STOPPING: Stop, Restart" in drawn


def test_every_pair_has_a_cell() -> None:
    rows = [line for line in reference_lifecycle.table().splitlines()[2:] if line]
    assert len(rows) == len(TABLE)
    assert {line.count("|") for line in rows} == {12}
