"""The text of the systemd unit."""

import configparser

import pytest

from shiftboss.core.managed import read_seal
from shiftboss.core.service_unit import ADDRESS, command_line, unit_text

ARGV = ["/opt/shiftboss/current/bin/python", "-I", "-m", "shiftboss.keeper.main", "--", "engine"]


def read(text: str) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser(strict=True, comment_prefixes="#")
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return found


def test_it_is_sealed_and_says_what_the_design_asks_for() -> None:
    text = unit_text(ARGV, digest="abc", system=True)

    seal = read_seal(text)
    assert seal is not None
    assert (seal.address, seal.intact) == (ADDRESS, True)
    unit = read(text)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    service = unit["Service"]
    asked = ("Type", "Delegate", "KillMode", "Restart", "OOMPolicy", "ExecStart", "Environment")
    assert [service[name] for name in asked] == [
        "notify", "yes", "mixed", "always", "continue", " ".join(ARGV), "SHIFTBOSS_KEEPER=abc",
    ]  # fmt: skip
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_nothing_in_it_is_a_sandbox_that_workers_would_inherit() -> None:
    keys = read(unit_text(ARGV, digest="abc", system=True))["Service"].keys()
    inherited = (
        "Protect",
        "Private",
        "NoNewPrivileges",
        "Restrict",
        "SystemCall",
        "ReadOnly",
        "RuntimeDirectory",
    )
    assert [key for key in keys if key.startswith(inherited)] == []


def test_a_user_s_own_waits_for_nothing_of_the_server_and_gives_up_no_capability() -> None:
    unit = read(unit_text(ARGV, digest="abc", system=False))
    assert "After" not in unit["Unit"]
    assert "CapabilityBoundingSet" not in unit["Service"]
    assert unit["Install"]["WantedBy"] == "default.target"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/opt/a-b_c.d", "/opt/a-b_c.d"),
        ("/home/my files", '"/home/my files"'),
        ("50%", "50%%"),
        ("$HOME", '"$$HOME"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("two\nlines", '"two\\nlines"'),
        ("", '""'),
        (";", '";"'),
    ],
)
def test_words_reach_the_program_as_they_are(word: str, written: str) -> None:
    assert command_line(["x", word]) == f"x {written}"
