"""Locks of withoutOverlapping that nobody holds, and what artisan can do in which version."""

import pytest

from shiftboss.core.laravel_lock import LockFacts, LockState, judge_lock
from shiftboss.core.laravel_version import (
    clear_command,
    has_json_list,
    has_list,
    interrupt_command,
    lists_repeats,
    tells_failures,
)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (LockFacts(locked=None), "unknown"),
        (LockFacts(locked=None, lives=False, seen_seconds=9999), "unknown"),
        (LockFacts(locked=False, lives=False, seen_seconds=9999), "free"),
        (LockFacts(locked=True, lives=True), "busy"),
        (LockFacts(locked=True, lives=True, seen_seconds=9999), "busy"),
        (LockFacts(locked=True, lives=False), "unknown"),
        (LockFacts(locked=True, lives=False, seen_seconds=1), "busy"),
        (LockFacts(locked=True, lives=False, seen_seconds=5), "busy"),
        (LockFacts(locked=True, lives=False, seen_seconds=6), "stuck"),
        (LockFacts(locked=True, lives=None, seen_seconds=9999), "unknown"),
    ],
)
def test_a_lock_is_stuck_when_nobody_holds_it_on_a_second_look(facts: LockFacts, state: LockState) -> None:
    assert judge_lock(facts) == state


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("8.18.1", (False, False, False)),
        ("v8.83.26", (True, False, False)),
        ("9.20.0", (True, False, False)),
        ("9.21.0", (True, False, True)),
        ("11.49.9", (True, False, True)),
        ("11.50.0", (True, True, True)),
        ("12.3.0", (True, True, True)),
        ("12.4.0", (True, True, False)),
        ("13.0.0", (True, True, False)),
        ("dev-main", (True, True, None)),
        ("12.x-dev", (True, True, False)),
        (None, (True, True, None)),
    ],
)
def test_what_a_version_can_do(version: str | None, known: tuple[bool, bool, bool | None]) -> None:
    assert (has_list(version), has_json_list(version), tells_failures(version)) == known


@pytest.mark.parametrize(
    ("version", "listed"),
    [
        *(("v8.83.26", None), ("10.14.1", None), ("10.15.0", False), ("10.16.0", True), ("12.1.0", True)),
        *(("dev-main", False), (None, False)),
    ],
)
def test_tasks_that_repeat_within_the_minute_are_known_of_most_versions(
    version: str | None, listed: bool | None
) -> None:
    assert lists_repeats(version) is listed


def test_commands_exist_in_the_version_they_are_for() -> None:
    assert interrupt_command("10.14.1") is None
    assert interrupt_command("10.15.0") == ("php", "artisan", "schedule:interrupt")
    assert interrupt_command(None, ("/usr/bin/php8.3", "artisan")) == (
        "/usr/bin/php8.3",
        "artisan",
        "schedule:interrupt",
    )
    assert clear_command("8.77.0") == ("php", "artisan", "cache:clear")
    assert clear_command("8.78.0") == ("php", "artisan", "schedule:clear-cache")
