"""The launcher's own account of the runs that cron started: no line of it spoils another one."""

import json
from pathlib import Path

from shiftboss.launcher.spool import Spool


def test_a_line_that_was_cut_off_spoils_only_itself(tmp_path: Path) -> None:
    """By a power cut, for example: the next line is one, and its run has a number of its own."""
    spool = Spool(str(tmp_path), "shop", "job")
    assert spool.add({"began": 1.0}) == 1
    file = tmp_path / "shop" / "job"
    file.write_text(file.read_text() + '{"run": 2, "beg')
    assert spool.add({"began": 3.0}) == 3
    assert [json.loads(line)["run"] for line in file.read_text().splitlines() if line.endswith("}")] == [1, 3]
    assert spool.add({"run": 3, "ended": 4.0}) == 3
    assert len(file.read_text().splitlines()) == 4
