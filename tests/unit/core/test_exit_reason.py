import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.exit_reason import (
    SHOWN,
    Ending,
    Starved,
    clean_line,
    exit_reason,
    is_missing,
    outcome,
    port_taken,
    spawn_reason,
)

LARAVEL = {"12": "memory limit reached, recycled", "137": "its own job timeout, or somebody"}
NODE = [
    "Server starting",
    "node:events:495",
    "      throw er; // Unhandled 'error' event",
    "Error: listen EADDRINUSE: address already in use :::3000",
    "    at Server.setupListenHandle [as _listen2] (node:net:1463:16)",
    "    at listenInCluster (node:net:1511:12)",
    "  code: 'EADDRINUSE',",
    "Node.js v20.19.2",
]
PHP = [
    "PHP Fatal error:  Uncaught RuntimeException: no queue in /srv/a.php:3",
    "Stack trace:",
    "#0 {main}",
    "  thrown in /srv/a.php on line 3",
]
PYTHON = [
    "Traceback (most recent call last):",
    '  File "/srv/w.py", line 3, in <module>',
    "    raise ValueError('no broker')",
    "ValueError: no broker",
]

CASES = [
    (Ending(0), "exit 0"),
    (Ending(0, lines=["Error: of long ago"]), "exit 0"),
    (Ending(12), "exit 12: memory limit reached, recycled"),
    (Ending(-9), "SIGKILL, which shiftboss did not send: its own job timeout, or somebody"),
    (Ending(-9, sent="KILL"), "killed (SIGKILL by shiftboss)"),
    (Ending(137), "exit 137: its own job timeout, or somebody"),
    (Ending(1), "exit 1"),
    (Ending(127), "exit 127: command not found"),
    (Ending(126), "exit 126: permission denied or not a program"),
    (Ending(143), "exit 143: a program in it ended by SIGTERM"),
    (Ending(255), "exit 255"),
    (Ending(-11, core_dumped=True), "crashed: segmentation fault (SIGSEGV, core dumped)"),
    (Ending(-15), "ended by SIGTERM, which shiftboss did not send"),
    (Ending(-15, sent="TERM", asked=True), "stopped (SIGTERM)"),
    (Ending(-9, sent="KILL", asked=True), "killed: it did not end in time after the stop signal"),
    (Ending(0, sent="TERM", asked=True), "stopped"),
    (Ending(3, sent="TERM", asked=True, lines=["Error: x"]), "stopped (exit 3)"),
    (Ending(-64), "ended by SIG64, which shiftboss did not send"),
    (Ending(1, lines=PYTHON), "exit 1; log: ValueError: no broker"),
    (
        Ending(255, lines=PHP),
        "exit 255; log: PHP Fatal error: Uncaught RuntimeException: no queue in /srv/a.php:3",
    ),
    (
        Ending(1, lines=NODE, listener="user www-data"),
        "exit 1: port 3000 is taken by user www-data; "
        "log: Error: listen EADDRINUSE: address already in use :::3000",
    ),
    (
        Ending(1, lines=[*NODE, *["started again"] * 20, "Error: boom"]),
        "exit 1; log: Error: boom",  # the port is the trouble of an earlier run
    ),
    (
        Ending(12, lines=NODE, listener="pid 7 of games (node server.js)"),
        "exit 12: memory limit reached, recycled: port 3000 is taken by pid 7 of games (node server.js); "
        "log: Error: listen EADDRINUSE: address already in use :::3000",
    ),
    (
        Ending(127, lines=["sh: 1: php: not found"]),
        "exit 127: php: command not found; log: sh: 1: php: not found",
    ),
    (
        Ending(
            1, lines=["Permission denied, but never mind", "ModuleNotFoundError: No module named 'flask'"]
        ),
        "exit 1: Python cannot find the module flask; log: ModuleNotFoundError: No module named 'flask'",
    ),
    (
        Ending(1, lines=["\x1b[31mConnection refused\x1b[0m " + "x" * 300]),
        "exit 1: a server that it needs refuses the connection; log: Connection refused " + "x" * 180 + "…",
    ),
    (
        Ending(-11, lines=["Connection refused"]),
        "crashed: segmentation fault (SIGSEGV); log: Connection refused",
    ),
    (Ending(-10, sent="USR1"), "ended by SIGUSR1, sent by shiftboss"),
]


@pytest.mark.parametrize(("ending", "reason"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_an_end_is_told_in_plain_words(ending: Ending, reason: str) -> None:
    assert exit_reason(ending, LARAVEL).replace("  ", " ") == reason


def test_a_kill_that_we_did_not_send_says_so() -> None:
    assert "did not send" in exit_reason(Ending(-9), {})
    assert "did not send" in exit_reason(Ending(-9, sent="TERM", asked=True), {})


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("Error: listen EADDRINUSE: address already in use :::3000", 3000),
        ("Error: listen EADDRINUSE: address already in use 127.0.0.1:8080", 8080),
        (
            "[Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
            8000,
        ),
        ("Port 5173 is already in use", 5173),
        ("bind: address already in use", None),
        ("listen tcp :99999: bind: address already in use", None),
        ("listening on :3000", None),
    ],
)
def test_a_port_that_is_taken_is_read_from_the_log(line: str, port: int | None) -> None:
    assert port_taken([line]) == port


def test_the_last_line_is_shown_where_none_looks_like_an_error() -> None:
    assert exit_reason(Ending(1, lines=["one", "two", "  "]), {}) == "exit 1; log: two"


def test_only_a_missing_release_or_command_is_waited_for() -> None:
    assert is_missing("directory", 2)
    assert is_missing("command", 2)
    assert not is_missing("directory", 13)
    assert not is_missing("exec", 2)


def test_a_failed_start_names_what_the_machine_lacks() -> None:
    said = spawn_reason("fork", 11, "cannot fork: Resource temporarily unavailable")
    assert said.startswith("cannot fork")
    assert "too many processes" in said
    assert spawn_reason("command", 13, "cannot run x") == "cannot run x (permission denied)"
    assert spawn_reason("command", 2, "x: command not found") == "x: command not found"
    limit = "cannot run /bin/sh: Resource temporarily unavailable"
    assert (
        spawn_reason("exec", 11, limit)
        == f"{limit} (its user has as many processes as its limit NPROC allows)"
    )
    said = spawn_reason("exec", 12, "cannot run /bin/sh: Cannot allocate memory")
    assert said == "cannot run /bin/sh: Cannot allocate memory (the machine has no memory left)"
    assert spawn_reason("uid", 1, "") == "the start failed at step uid"


@given(st.text())
def test_what_is_shown_of_a_log_is_one_short_printable_line(line: str) -> None:
    shown = clean_line(line)
    assert len(shown) <= SHOWN
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)


@given(st.integers(-70, 255), st.lists(st.text(max_size=300), max_size=5), st.booleans())
def test_every_end_has_a_reason(code: int, lines: list[str], asked: bool) -> None:
    reason = exit_reason(Ending(code, lines=lines, asked=asked), LARAVEL)
    assert reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("code", "asked", "named"),
    [
        (0, False, "ran"),
        (3, False, "failed"),
        (-9, False, "failed"),
        (-15, True, "stopped"),
        (0, True, "stopped"),
    ],
)
def test_the_outcome_of_an_end_is_named_as_that_of_a_schedule(code: int, asked: bool, named: str) -> None:
    assert outcome(code, asked=asked) == named


M = 1024**2


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (
            Ending(-9, starved=Starved(1, True, 64 * M, 64 * M)),
            "out of memory: killed by the kernel (its limit is 64M, peak 64M)",
        ),
        (
            Ending(-9, starved=Starved(1, False, None, 91 * M)),
            "out of memory: killed by the kernel (the budget of its project, or the machine, was used up, peak 91M)",
        ),
        (
            Ending(3, lines=["Error: a child died"], starved=Starved(2, True, 64 * M, 64 * M)),
            "out of memory: the kernel killed 2 processes of it (its limit is 64M, peak 64M); then: exit 3",
        ),
        (Ending(-15, sent="TERM", asked=True, starved=Starved(1, True, 64 * M)), "stopped (SIGTERM)"),
    ],
)
def test_out_of_memory_is_told_with_limit_and_peak(ending: Ending, reason: str) -> None:
    assert exit_reason(ending, {}) == reason


def test_long_lines_hold_nobody_up() -> None:
    lines = ["Error: the queue is gone " + "x" * 65000] * 40
    began = time.process_time()
    reason = exit_reason(Ending(1, lines=lines), {})
    port_taken(lines)
    assert time.process_time() - began < 1
    assert reason.startswith("exit 1; log: Error: the queue is gone xxx")


@pytest.mark.parametrize("piece", ["a", "error", "Error: Could not open input file: ", "sh: ", " ", "\x1b["])
def test_no_line_costs_more_than_a_moment_or_makes_a_reason_long(piece: str) -> None:
    """The engine serves nobody else while it looks for a reason."""
    lines = [(piece * 65536)[:65536]] * 40
    began = time.process_time()

    reason = exit_reason(Ending(1, lines=lines), {})

    assert time.process_time() - began < 2
    assert len(reason) < 5000
