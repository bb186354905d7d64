"""Why a program did not come up, told from what real programs print."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.core.cause import last_lines, likely_cause, port_in, telling_lines

PORT_TAKEN = [
    ("Error: listen EADDRINUSE: address already in use :::3000", 3000),
    ("Error: listen EADDRINUSE: address already in use 127.0.0.1:8080", 8080),
    ("Error: listen EADDRINUSE :::3000", 3000),
    ('Failed to listen on "tcp://0.0.0.0:8081": Address already in use (EADDRINUSE)', 8081),
    ("Failed to listen on localhost:8000 (reason: Address already in use)", 8000),
    ("ERROR: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use", 8000),
    ("[ERROR] Connection in use: ('127.0.0.1', 8005)", 8005),
    ("listen tcp :8090: bind: address already in use", 8090),
    ('bind(2) for "0.0.0.0": Address already in use - bind(2) for "0.0.0.0" port 9292 (Errno::EADDRINUSE)', 9292),
    ("Port 3000 is in use, trying 3001 instead.", 3000),
]  # fmt: skip


@pytest.mark.parametrize(("line", "port"), PORT_TAKEN)
def test_a_taken_port_is_found_with_its_number(line: str, port: int) -> None:
    assert likely_cause([line]) == f"port {port} is taken"
    assert (
        port_in(["earlier", line, "    at Server.setupListenHandle [as _listen2] (node:net:1463:16)"]) == port
    )


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 98] Address already in use",
        "Error: Address already in use (os error 98)",
        "Address already in use: unix:/run/app.sock",
    ],
)
def test_a_number_that_is_no_port_is_not_taken_for_one(line: str) -> None:
    assert likely_cause([line]) == "its port is taken"
    assert port_in([line]) is None


def test_a_number_that_no_port_can_have_names_nobody() -> None:
    assert port_in(["listen EADDRINUSE: address already in use :::99999"]) is None


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("can't find command 'php'", "php: command not found"),
        ("/bin/sh: 1: npx: not found", "npx: command not found"),
        ("sh: gulp: not found", "gulp: command not found"),
        ("/bin/sh: 1: exec: gulp: not found", "gulp: command not found"),
        ("bash: line 1: foo: command not found", "foo: command not found"),
        ("/usr/bin/env: \u2018node\u2019: No such file or directory", "node: command not found"),
        ("Could not open input file: artisan", "artisan is missing in the release"),
        ("Error: Cannot find module 'express'", "Node cannot find the module express"),
        ("Error: Cannot find module '/srv/shop/current/server.js'", "Node cannot find the module /srv/shop/current/server.js"),
        ("ModuleNotFoundError: No module named 'celery.app'", "Python cannot find the module celery.app"),
        ("/usr/bin/python3: No module named rq", "Python cannot find the module rq"),
        ('PHP Fatal error: Uncaught Error: Class "App\\Jobs\\Send" not found', "PHP cannot find the class App\\Jobs\\Send"),
        ('  There are no commands defined in the "thumbs" namespace.', "artisan has no such command"),
        ('  Command "horizon" is not defined.', "artisan has no such command"),
        ("SQLSTATE[HY000] [2002] Connection refused", "a server that it needs refuses the connection"),
        ("Error: EACCES: permission denied, open '/srv/x'", "permission denied for the project's user"),
        ("command at '/srv/x' is not executable", "the program is not executable"),
        ("", ""),
        ("GET /favicon.ico 404: not found", ""),
        ("everything is fine", ""),
    ],
)  # fmt: skip
def test_the_cause_is_told_in_plain_words(line: str, cause: str) -> None:
    assert likely_cause([line]) == cause


def test_the_more_telling_rule_wins_then_the_later_line() -> None:
    assert likely_cause(["x: command not found", "Permission denied"]) == "x: command not found"
    assert likely_cause(["x: command not found", "y: command not found"]) == "y: command not found"
    assert likely_cause([]) == ""


def test_last_lines_are_short_and_cannot_control_a_terminal() -> None:
    output = b"\x1b[31mred\x1b[0m\n\n  \n\x1b]0;title\x07bell\r\ncaf\xe9\n" + b"x" * 900

    assert last_lines(output) == ("red", " ]0;title bell", "caf�", "x" * 200)
    assert last_lines(output, 1) == ("x" * 200,)
    assert last_lines(b"") == ()


@given(st.binary(max_size=200))
def test_last_lines_of_anything_are_printable(output: bytes) -> None:
    for line in last_lines(output):
        assert line.isprintable()
        assert line.strip()
        assert len(line) <= 200


def test_the_line_that_tells_the_cause_is_shown_also_when_others_follow() -> None:
    lines = ["Error: Cannot find module 'x'", *(f"    at frame {number}" for number in range(9))]

    shown = telling_lines(lines, 3)

    assert shown == ("Error: Cannot find module 'x'", "    at frame 7", "    at frame 8")
    assert telling_lines(lines[1:], 3) == ("    at frame 6", "    at frame 7", "    at frame 8")
    assert telling_lines(["a", "php: command not found"], 3) == ("a", "php: command not found")
    assert telling_lines([]) == ()


@pytest.mark.parametrize("piece", ["a", "a:", "sh: ", "Address already in use "])
def test_no_text_costs_more_than_a_moment(piece: str) -> None:
    text = (piece * 65536)[:65536]
    began = time.process_time()

    assert "x" not in likely_cause([text])
    assert port_in([text]) is None

    assert time.process_time() - began < 2
