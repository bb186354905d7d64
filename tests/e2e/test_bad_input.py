"""Bad input: one clear line, a hint, exit 2 or 1, and nothing is changed. What is wrong comes from the user here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.refusals import REFUSED_BY_HOST, WRONG_USE, assert_refused, nothing_changes
from tests.e2e.server import CLASSIC, SHIFTBOSS, Server, TestProject
from tests.e2e.shop import Shop, shop_on_both

pytestmark = pytest.mark.needs_root

_CASES = Path(__file__).parents[1] / "unit" / "core" / "cron_cases.json"
_BAD_TIMES = [
    case["expr"]
    for case in json.loads(_CASES.read_text())["cases"]
    if case["dialect"] in {"cron5", "cron5+ext", "cron5+ext2", "cron6-seconds-first", "cron-macro"}
    and (case.get("valid") is False or case.get("must_lint") or case["group"] == "never")
]
_TOO_LONG = "x" * 300
_NAME = "A name has 1 to 27 characters"


REFUSED: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "unknown project": (("setup", "nosuch", "queue"), 2, ("unknown project 'nosuch'", "project add nosuch")),
    "unknown project, classic": (("setup-supervisor", "nosuch", "queue"), 2, ("unknown project 'nosuch'",)),
    "unknown project, cron": (("setup-cron", "nosuch"), 2, ("unknown project 'nosuch'",)),
    "unknown project, status": (("status", "nosuch"), 2, ("unknown project 'nosuch'",)),
    "unknown project, misspelt": (("apply", "{good}x"), 2, ("did you mean '{good}'?",)),
    "unknown project, add": (("project", "add", "nosuch"), 2, ("there is no directory", "--root")),
    "no release": (("setup", "{bare}", "node"), 1, ("{bare} has no release yet", "Deploy it first")),
    "no release, classic": (("setup-supervisor", "{bare}", "queue"), 1, ("{bare} has no release yet",)),
    "no release, cron": (("setup-cron", "{bare}"), 1, ("{bare} has no release yet",)),
    "no release, custom": (("setup", "{bare}", "custom", "sleep 9"), 1, ("{bare} has no release yet",)),
    "no user": (("setup", "{lost}", "queue"), 1, ("the user {lost}_user of project {lost} does not exist",)),
    "no user, custom": (("setup", "{lost}", "custom", "sleep 9"), 1, ("{lost}_user", "--create-user")),
    "no user, add": (("project", "add", "{lost}"), 1, ("there is no user {lost}_user", "--create-user")),
    "project ../x": (("setup", "../x", "queue"), 2, ("'../x' is not a project name", _NAME)),
    "project a b": (("setup", "a b", "queue"), 2, ("'a b' is not a project name", _NAME)),
    "project x:y": (("setup", "x:y", "queue"), 2, ("'x:y' is not a project name", _NAME)),
    "project of 300 characters": (("setup", _TOO_LONG, "queue"), 2, ("(300 characters)", _NAME)),
    "project without a name": (("setup", "", "queue"), 2, ("the project name is empty", _NAME)),
    "project in capitals": (("setup", "Myapp", "queue"), 2, ("'Myapp' is not a project name", _NAME)),
    "project with a newline": (("setup", "a\nb", "queue"), 2, ("is not a project name", _NAME)),
    "project -x": (("setup", "--", "-x", "queue"), 2, ("'-x' is not a project name", _NAME)),
    "project ../x, classic": (("setup-supervisor", "../x", "queue"), 2, ("'../x' is not a project name",)),
    "project ../x, cron": (("setup-cron", "../x"), 2, ("'../x' is not a project name",)),
    "project ../x, apply": (("apply", "../x"), 2, ("'../x' is not a project name",)),
    "project ../x, remove": (("remove", "../x", "--yes"), 2, ("project name",)),
    "project ../x, logs": (("logs", "../x"), 2, ("project name",)),
    "project ../x, add": (("project", "add", "../x"), 2, ("'../x' is not a project name",)),
    "worker ../x": (("setup", "{good}", "custom", "--name", "../x", "sleep 9"), 2, ("worker name", _NAME)),
    "worker of 300 characters": (
        ("setup", "{good}", "custom", "--name", _TOO_LONG, "sleep 9"),
        2,
        ("(300 characters)", _NAME),
    ),
    "worker without a name": (("setup", "{good}", "custom", "--name", "", "sleep 9"), 2, ("is empty", _NAME)),
    "schedule a b": (("cron", "{good}", "a b", "* * * * *", "--", "true"), 2, ("schedule name", _NAME)),
    "no such worker": (("stop", "{good}/stedy"), 2, ("no worker or schedule 'stedy'", "mean 'steady'?")),
    "no such process": (("stop", "{good}/steady:2"), 2, ("has no process 2", "It has 1")),
    "process 0": (("stop", "{good}/steady:0"), 2, ("is not a target",)),
    "unknown kind": (("setup", "{good}", "quue"), 2, ("'quue'", "did you mean 'queue'?")),
    "unknown kind, classic": (("setup-supervisor", "{good}", "quue"), 2, ("'quue'", "mean 'queue'?")),
    "unknown command": (("statsu",), 2, ("unknown command 'statsu'", "did you mean 'status'?")),
    "unknown option": (("setup", "{good}", "custom", "--proceses=2"), 2, ("--proceses",)),
    "workers 0": (("setup", "{good}", "custom", "--workers", "0", "sleep 9"), 2, ("'0' is not", "1 to 1000")),
    "workers -1": (("setup", "{good}", "custom", "--workers", "-1", "sleep 9"), 2, ("'-1' is not",)),
    "workers 1000000": (("setup", "{good}", "custom", "--workers=1000000", "sleep 9"), 2, ("'1000000' is",)),
    "workers two": (("setup", "{good}", "custom", "--workers=two", "sleep 9"), 2, ("'two' is not",)),
    "workers 0, classic": (
        ("setup-supervisor", "{good}", "custom", "--workers=0", "sleep 9"),
        2,
        ("'0' is",),
    ),
    "workers two, classic": (
        ("setup-supervisor", "{good}", "custom", "--workers=two", "x"),
        2,
        ("'two' is",),
    ),
    "scale to 0": (("scale", "{good}/steady", "0"), 2, ("'0' is not a number of processes",)),
    "scale to -1": (("scale", "{good}/steady", "-1"), 2, ("-1",)),
    "scale to 1000000": (("scale", "{good}/steady", "1000000"), 2, ("'1000000' is not",)),
    "scale to two": (("scale", "{good}/steady", "two"), 2, ("'two' is not a number of processes",)),
    "custom without a command": (("setup", "{good}", "custom"), 2, ("needs a command", "after --")),
    "custom without a command, classic": (("setup-supervisor", "{good}", "custom"), 2, ("needs a command",)),
    "an empty command": (("setup", "{good}", "custom", "--name", "no", ""), 2, ("the command is empty",)),
    "a command with a newline": (
        ("setup", "{good}", "custom", "sleep 9\nid"),
        2,
        ("control character ('\\n')",),
    ),
    "a list with a newline": (("setup", "{good}", "custom", "--", "sleep", "9\n"), 2, ("control character",)),
    "a command with a newline, classic": (
        ("setup-supervisor", "{good}", "custom", "sleep 9\nid"),
        2,
        ("control character",),
    ),
    "a command with a newline, cron": (
        ("cron", "{good}", "no", "* * * * *", "--", "sleep 9\nid"),
        2,
        ("control character",),
    ),
    "a quote that is not closed": (
        ("setup", "{good}", "custom", "echo 'x"),
        2,
        ("cannot split the command",),
    ),
    "a shell that is not there": (
        ("setup", "{good}", "custom", "a | b"),
        2,
        ("no shell runs it", "shell = true"),
    ),
    "a program that is not there": (
        ("setup", "{good}", "custom", "nosuchprogram 9"),
        1,
        ("cannot find nosuchprogram",),
    ),
    "another command for a worker": (
        ("setup", "{good}", "custom", "--name", "no", "--nope"),
        2,
        ("--nope",),
    ),
    "queue on no Laravel": (("setup", "{good}", "queue"), 2, ("artisan",)),
    "scheduler on no Laravel": (("setup-cron", "{good}"), 2, ("no artisan", "shiftboss cron {good} backup")),
    "no times": (("cron", "{good}", "no"), 2, ("it needs times and a command",)),
    "no config file": (("--config", "/nonexistent/config.toml", "status"), 2, ("there is no such file",)),
}


@shop_on_both
@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_request_is_refused(shop: Shop, what: str) -> None:
    line, status, words = REFUSED[what]
    program = CLASSIC if line[0] in {"setup-supervisor", "setup-cron"} else SHIFTBOSS

    with nothing_changes(shop.server):
        answer = shop.server.run(*shop.named(line), program=program)

    assert_refused(answer, status, *shop.named(words))


@pytest.mark.parametrize("expression", _BAD_TIMES)
def test_a_schedule_that_cron_would_not_run_as_it_reads_is_refused(shop: Shop, expression: str) -> None:
    with nothing_changes(shop.server):
        answer = shop.server.run("cron", "--", shop.good.name, "no", expression, "true")

    assert_refused(answer, WRONG_USE, f"{shop.good.name}/no")


WRONG_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "broken TOML": ("[workers.no\n", ("not valid TOML", "line 1")),
    "a word for a number": (
        '[workers.no]\ncommand = "sleep 9"\nprocesses = "two"',
        ("workers.no.processes", "must be"),
    ),
    "a number for a command": ("[workers.no]\ncommand = 5", ("workers.no.command", "must be")),
    "a number for a table": ("workers = 3", ("workers", "must be a table")),
    "a list for variables": ('[project]\nenvironment = ["A"]', ("project.environment", "must be a table")),
    "0 processes": ('[workers.no]\ncommand = "sleep 9"\nprocesses = 0', ("must be at least 1",)),
    "-1 processes": ('[workers.no]\ncommand = "sleep 9"\nprocesses = -1', ("must be at least 1",)),
    "1000000 processes": (
        '[workers.no]\ncommand = "sleep 9"\nprocesses = 1000000',
        ("must be at most 1000",),
    ),
    "an unknown key": (
        '[workers.no]\ncommand = "sleep 9"\nproceses = 2',
        ("did you mean 'processes'?", "Known keys"),
    ),
    "an unknown table": (
        '[worker.no]\ncommand = "sleep 9"',
        ("worker: unknown key (did you mean 'workers'?)",),
    ),
    "an unknown preset": ('[workers.no]\npreset = "laravel-quue"', ("did you mean 'laravel-queue'?",)),
    "an unknown backend": (
        '[workers.no]\ncommand = "sleep 9"\nbackend = "supervisr"',
        ("mean 'supervisor'?",),
    ),
    "a name that is none": ('[workers."a b"]\ncommand = "sleep 9"', ("'a b' is not a worker name",)),
    "no command": ("[workers.no]\n", ("the command is missing",)),
    "NUL in a command": ('[workers.no]\ncommand = "sleep 9\\u0000"', ("control character ('\\x00')",)),
    "NUL in a list": ('[workers.no]\ncommand = ["sleep", "\\u0000"]', ("control character ('\\x00')",)),
    "a newline in a command": ('[workers.no]\ncommand = """sleep 9\nid"""', ("control character ('\\n')",)),
    "NUL in a variable": ('[project.environment]\nA = "\\u0000"', ("A contains a line break or NUL",)),
    "no name of a variable": ('[project.environment]\n"A-B" = "1"', ("'A-B' is not a variable name",)),
    "both kinds of quotes": (
        '[workers.no]\ncommand = "sleep 9"\nenvironment.A = "a\'b\\"c"',
        ("both kinds of quotes",),
    ),
    "one name for two": (
        '[workers.no]\ncommand = "sleep 9"\n[schedules.no]\ncommand = "true"\ncron = "@daily"',
        ("'no' is a worker and a schedule",),
    ),
    "a signal that is none": ('[workers.no]\ncommand = "sleep 9"\nstop_signal = "TREM"', ("TREM",)),
    "times that are none": ('[schedules.no]\ncommand = "true"\ncron = "61 * * * *"', ("/no",)),
}


_RIGHT_ON_NATIVE = {"both kinds of quotes"}  # which no file of Supervisor can hold


@pytest.mark.parametrize(
    ("shop", "what"),
    [
        *(("supervisor", what) for what in WRONG_FILES),
        *(("native", what) for what in WRONG_FILES if what not in _RIGHT_ON_NATIVE),
    ],
    indirect=["shop"],
)
def test_a_wrong_project_file_is_refused(shop: Shop, what: str) -> None:
    text, words = WRONG_FILES[what]
    with project_file(shop.filed, text), nothing_changes(shop.server):
        answer = shop.server.run("apply", shop.filed.name)

    assert_refused(answer, WRONG_USE, *words)


@shop_on_both
@pytest.mark.parametrize("content", [b"\xff\xfe[project]\n", b"#" * (2 << 20)], ids=["not UTF-8", "2 MiB"])
def test_a_project_file_that_is_no_text_hides_no_other(shop: Shop, content: bytes) -> None:
    path = shop.filed.project_file()
    path.write_bytes(content)
    try:
        own = shop.server.run("apply", shop.filed.name)
        other = shop.server.run("status", shop.good.name)
        every = shop.server.run("status")
    finally:
        path.unlink()

    assert_refused(own, REFUSED_BY_HOST, str(path))
    assert other.status == 0, other
    assert every.status == REFUSED_BY_HOST, every
    assert f"{shop.good.name}/steady  RUNNING" in every.stdout, every
    assert str(path) in every.stderr, every


@shop_on_both
@pytest.mark.parametrize("command", ["plan", "apply", "status", "next"])
def test_a_wrong_file_among_others_is_named_and_hides_no_other(shop: Shop, command: str) -> None:
    with project_file(shop.filed, "[workers.no]\nproceses = 2\n"), nothing_changes(shop.server):
        answer = shop.server.run(command)

    assert answer.status == WRONG_USE, answer
    notes = [line for line in answer.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1, answer
    assert "did you mean 'processes'?" in notes[0], answer
    assert "Known keys" in notes[0], f"no hint: {answer}"


@shop_on_both
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_two_files_with_the_same_project_are_refused(shop: Shop, command: str) -> None:
    twin = shop.server.directory / "etc" / "projects" / "zz-twin.toml"
    twin.write_text(f'[project]\nroot = "{shop.good.root}/"\nuser = "{shop.good.user}"\n')
    try:
        with nothing_changes(shop.server):
            answer = shop.server.run(command, "zz-twin")
    finally:
        twin.unlink()

    assert_refused(answer, WRONG_USE, f"describes the same project as {shop.good.project_file()}", "Keep one")


def test_two_units_that_would_have_one_name_at_supervisor_are_refused(shop: Shop) -> None:
    other = f"{shop.good.name}_a"
    path = shop.server.directory / "etc" / "projects" / f"{other}.toml"
    path.write_text(
        f'[project]\nroot = "{shop.filed.root}"\nuser = "{shop.filed.user}"\n'
        '[workers.b]\ncommand = "sleep 1000"\n'
    )
    try:
        with nothing_changes(shop.server):
            answer = shop.server.run("setup", shop.good.name, "custom", "--name", "a_b", "sleep 1000")
    finally:
        path.unlink()

    assert_refused(answer, WRONG_USE, f"would both be called {other}_b", "another name")


WRONG_CONFIGS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "broken TOML": ("[layout\n", WRONG_USE, ("not valid TOML",)),
    "a number for a path": (
        "[layout]\nprojects = 5\n",
        WRONG_USE,
        ("layout.projects", "must be text in quotes"),
    ),
    "an unknown key": ("[supervisor]\nconf-dir = '/'\n", WRONG_USE, ("did you mean 'conf_dir'?",)),
    "an unknown table": ("[supervizor]\n", WRONG_USE, ("did you mean 'supervisor'?",)),
    "an unknown backend": ("[backend]\nworkers = 'supervisr'\n", WRONG_USE, ("did you mean 'supervisor'?",)),
    "no address": ("[supervisor]\nserver = 'localhost:9001'\n", WRONG_USE, ("unix:///",)),
    "no supervisord.conf": (
        "[supervisor]\nconf_file = '/nonexistent/s.conf'\n",
        REFUSED_BY_HOST,
        ("/nonexistent/s.conf",),
    ),
}


@pytest.mark.parametrize("what", WRONG_CONFIGS)
def test_a_wrong_configuration_is_refused(shop: Shop, what: str) -> None:
    text, status, words = WRONG_CONFIGS[what]
    with configuration(shop.server, text), nothing_changes(shop.server):
        answer = shop.server.run("setup", shop.good.name, "custom", "--name", "no", "--", "sleep", "1000")

    assert_refused(answer, status, *words)


@contextmanager
def project_file(project: TestProject, text: str) -> Iterator[None]:
    """Let a project have this file for a while."""
    project.project_file().write_text(text)
    try:
        yield
    finally:
        project.project_file().unlink()


@contextmanager
def configuration(server: Server, text: str) -> Iterator[None]:
    """Let a server have another config.toml for a while; what the text does not say is as it was."""
    before = server.config.read_text()
    sections = dict(section.split("]", 1) for section in before.split("[") if section)
    name = text.partition("]")[0].removeprefix("[")
    sections.pop(name, None)
    server.config.write_text("".join(f"[{key}]{value}" for key, value in sections.items()) + text)
    try:
        yield
    finally:
        server.config.write_text(before)
