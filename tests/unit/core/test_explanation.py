"""An expression explained: words, next times, lint, and the verdict."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.errors import UserError
from shiftboss.core.explanation import explain, known_zone

RIGA = ZoneInfo("Europe/Riga")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_a_good_expression_has_words_and_its_next_times_in_the_zone() -> None:
    found = explain("30 2 * * 1-5", "debian", RIGA, NOW, 2)

    assert found.valid
    assert found.error == ""
    assert "02:30" in found.text
    assert [moment.isoformat() for moment in found.next] == [
        "2026-11-24T02:30:00+02:00",
        "2026-11-25T02:30:00+02:00",
    ]


def test_an_expression_that_cron_refuses_says_why_and_what_to_write() -> None:
    found = explain("61 * * * *", "debian", RIGA, NOW, 5)

    assert not found.valid
    assert (found.text, found.next, found.lint) == ("", (), ())
    assert "61" in found.error
    assert not found.error.endswith(". ")


def test_an_expression_that_never_runs_is_not_valid_and_still_explained() -> None:
    found = explain("0 0 30 2 *", "debian", RIGA, NOW, 5)

    assert not found.valid
    assert "never" in found.error
    assert found.text
    assert found.next == ()


def test_shifts_of_the_clock_that_matter_are_told() -> None:
    found = explain("30 3 * * *", "debian", RIGA, NOW, 1)

    assert [finding.code for finding in found.lint if finding.code.startswith("dst-")]
    assert not [f for f in explain("30 12 * * *", "debian", RIGA, NOW, 1).lint if f.code.startswith("dst-")]


@pytest.mark.parametrize(
    ("text", "is_hashed"),
    [("H 2 * * *", True), ("0 H(1-5) * * *", True), ("H/15 * * * *", True), ("0 2 * MAR THU", False)],
)
def test_what_only_the_name_of_a_schedule_decides_is_not_told_as_if_it_were_known(
    text: str, is_hashed: bool
) -> None:
    found = explain(text, "native", RIGA, NOW, 1)
    assert found.valid
    assert ["name of the schedule" in f.message for f in found.lint if f.code == "hash"] == [True] * is_hashed


def test_no_times_are_no_error() -> None:
    assert explain("* * * * *", "native", RIGA, NOW, 0).next == ()
    assert explain("@reboot", "debian", RIGA, NOW, 3).next == ()


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)]
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_ends_of_time_are_no_error(moment: datetime, zone: str) -> None:
    assert explain("* * * * *", "debian", ZoneInfo(zone), moment, 3).valid


@given(st.text(max_size=20), st.sampled_from(["native", "debian", "cronie"]))
def test_any_text_is_explained_or_told_why_not(text: str, dialect: str) -> None:
    found = explain(text, dialect, RIGA, NOW, 1)
    assert found.text or found.error
    assert found.valid is not bool(found.error)


@pytest.mark.parametrize("name", ["Europe/Riga", "UTC", "America/Argentina/Buenos_Aires"])
def test_zones_are_known_by_their_iana_name(name: str) -> None:
    assert str(known_zone(name)) == name


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 500, "Riga\n"]
)
def test_other_zones_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="unknown time zone") as error:
        known_zone(name)
    assert "Europe/Riga" in error.value.hint
    assert "\n" not in error.value.message
    assert len(error.value.message) < 100
