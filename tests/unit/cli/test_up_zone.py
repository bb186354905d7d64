"""A container is often told its time zone by TZ, which our schedules do not go by: nobody shall find out at night."""

import pytest

from shiftboss.cli.cmd_up import zone_note


@pytest.mark.parametrize(
    ("own", "asked", "is_said"),
    [
        ("Etc/UTC", "Europe/Riga", True),
        ("Etc/UTC", ":Europe/Riga", True),
        ("Europe/Riga", "UTC", True),
        ("Etc/UTC", "", False),
        ("Etc/UTC", "UTC", False),
        ("Europe/Riga", "Europe/Riga", False),
    ],
)
def test_a_zone_of_the_environment_that_does_not_count_is_told(own: str, asked: str, is_said: bool) -> None:
    note = zone_note(own, asked)
    assert (own in note and "timezone" in note) if is_said else note == ""
