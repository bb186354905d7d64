"""A custom command and its environment arrive at the program exactly as written, as the project's user."""

import grp
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shiftboss.host.supervisord import Supervisord
from tests.e2e.server import CLASSIC, Server, TestProject
from tests.supervisord import DEBIAN_PYTHON
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

HARD = [
    "it's", 'say "hi"', "100%", "%(here)s", "%(ENV_HOME)s", "%%", "%s %d", "a;b", "a ;b", " ;", ";", "a #b", " #", "#",
    "back\\slash", "\\", "\\\\", "\\'", "two  spaces", " edges ", "\ttab\t", "žluťoučký kůň", "日本語", "🙂", "é;", "",
    "$HOME", "${HOME}", "`id`", "$(id)", "{}", "*", "?", "~", "|", ">", "<", "&&", "!", "a=b", "A,B", "[program:x]",
    "--flag=x y", "-", "\u00a0;", "\u2028#",
]  # fmt: skip
VARIABLES = {
    "QUOTE": "it's",
    "DOUBLE": 'say "hi" to',
    "PERCENT": "100% %(here)s %%",
    "COMMENT": "a ; b # c",
    "COMMA": "a,B=c,D='d' e",
    "UTF8": "žluťoučký 🙂",
    "SPACES": "  edges  ",
    "BACKSLASH": "C:\\dir",
    "DOLLAR": "$HOME `id`",
    "EMPTY": "",
}
_SHOW = """\
import json, os, sys, time
seen = {
    "argv": sys.argv[1:], "cwd": os.getcwd(), "groups": os.getgroups(), "umask": os.umask(0o22),
    "ids": [*os.getresuid(), *os.getresgid()], "environment": dict(os.environ),
}
name = "../../" + os.environ["UNIT"] + ".json"
with open(name + ".new", "w") as file:
    json.dump(seen, file)
os.rename(name + ".new", name)
time.sleep(1000)
"""


@pytest.fixture(params=["PyPI", "Debian", "native"])
def server(request: pytest.FixtureRequest, public_tmp: Path) -> Iterator[Server]:
    """Give a server with the Supervisor of PyPI or of Debian, or with our own engine."""
    backend = "native" if request.param == "native" else "supervisor"
    made = Server.make(
        public_tmp, backend, python=DEBIAN_PYTHON if request.param == "Debian" else sys.executable
    )
    try:
        with made.daemon:
            if not made.is_native:
                version = Supervisord(made.supervisord.site).facts().version
                assert version.startswith("4.2.") == (request.param == "Debian"), version
            yield made
    finally:
        made.close()


def test_words_and_variables_arrive_exactly_as_written(server: Server) -> None:
    """As a list and as one string, on the command line and in the file."""
    project = server.add_project()
    release = project.release()
    project.write(release, "show me.py", _SHOW)
    project.own(project.root)
    subprocess.run(
        ["usermod", "--append", "--groups", "games", project.user], check=True, capture_output=True
    )
    string = shlex.join(["python3", "show me.py", *HARD])
    quoted = 'python3 "show me.py" one\\ word \'$HOME\' "it\'s 100%" "a;b" \\; ""'
    project.declare(
        f'environment = {{ FROM_PROJECT = "100% o\'clock", UNIT = "both", BOTH = "project" }}\n'
        f"[workers.list]\ncommand = {toml(['python3', 'show me.py', *HARD])}\nstart_seconds = 1\n"
        f"environment = {table({**VARIABLES, 'UNIT': 'list', 'BOTH': 'worker'})}\n"
        f"[workers.string]\ncommand = {toml(string)}\nstart_seconds = 1\nenvironment.UNIT = 'string'\n"
        f"[workers.quoted]\ncommand = {toml(quoted)}\nstart_seconds = 1\nenvironment.UNIT = 'quoted'\n"
    )

    server.ok("apply")
    server.ok("setup", project.name, "custom", "--name", "line", "--", "python3", "show me.py", *HARD)
    classic = {"program": CLASSIC} if not server.is_native else {}
    command = "setup" if server.is_native else "setup-supervisor"
    server.ok(command, project.name, "custom", "--name", "classic", string, **classic)

    as_list = seen(project, "list")
    assert as_list["argv"] == HARD
    assert seen(project, "string")["argv"] == HARD
    assert seen(project, "quoted")["argv"] == ["one word", "$HOME", "it's 100%", "a;b", ";", ""]
    for name in ("line", "classic"):
        words = Path(f"/proc/{pid_of(server, project, name)}/cmdline").read_bytes().decode().split("\0")[:-1]
        assert words[1:] == ["show me.py", *HARD], name
    assert_environment(project, as_list["environment"])
    assert as_list["cwd"] == str(release.resolve())
    assert_identity(project, as_list)
    assert server.run("plan", "--check").status == 0


def assert_environment(project: TestProject, environment: dict[str, str]) -> None:
    """What was asked for, what a login of the user would have, and nothing of root's."""
    assert VARIABLES.items() <= environment.items()
    assert environment["FROM_PROJECT"] == "100% o'clock"
    assert environment["BOTH"] == "worker"
    assert environment["HOME"] == str(project.root)
    assert environment["USER"] == environment["LOGNAME"] == project.user
    assert environment["PATH"].split(":")[-1] == "/bin"
    assert environment["LANG"] == "C.UTF-8"
    assert str(Path.home()) not in {value for name, value in environment.items() if name != "OLDPWD"}


def assert_identity(project: TestProject, process: dict[str, Any]) -> None:
    facts = project.current.stat()
    uid, gid = facts.st_uid, facts.st_gid
    assert process["ids"] == [uid, uid, uid, gid, gid, gid]
    assert sorted(process["groups"]) == sorted([gid, grp.getgrnam("games").gr_gid])
    assert uid != 0


def toml(value: object) -> str:
    """Return a value of TOML: its strings and lists are those of JSON."""
    return json.dumps(value, ensure_ascii=False)


def table(values: dict[str, str]) -> str:
    """Return an inline table of TOML."""
    return "{ " + ", ".join(f"{name} = {toml(value)}" for name, value in values.items()) + " }"


def seen(project: TestProject, unit: str) -> dict[str, Any]:
    path = project.root / f"{unit}.json"
    wait_until(path.exists, 20, what=str(path))
    assert path.owner() == project.user
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def pid_of(server: Server, project: TestProject, worker: str) -> int:
    answer = json.loads(server.ok("status", f"{project.name}/{worker}", "--json").stdout)
    return int(answer["projects"][0]["workers"][0]["processes"][0]["pid"])
