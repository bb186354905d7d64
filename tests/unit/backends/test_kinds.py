"""What a backend runs is said without importing it; the table of the backends has the same names."""

from shiftboss.backends.kinds import KINDS
from shiftboss.backends.registry import BACKENDS


def test_every_backend_is_in_both_tables() -> None:
    only_after_logs = {"logrotate"}  # it runs nothing

    assert BACKENDS.keys() == KINDS.keys() | only_after_logs


def test_each_backend_that_runs_something_runs_a_known_kind() -> None:
    assert all(kinds and kinds <= {"worker", "schedule"} for kinds in KINDS.values())
