"""A project's own people use the command line without root: exactly their project, and nothing of anybody else's."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.public_copy import program_as
from tests.e2e.refusals import REFUSED_BY_HOST, WRONG_USE, assert_refused, nothing_changes
from tests.e2e.server import Answer, Server, TestProject, on_native
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, on_native]

COMMAND = 'command = ["sh", "-c", "echo this is $USER; exec sleep 1000"]\nstart_seconds = 1\n'


@dataclass
class Town:
    """A server with two projects, and people."""

    server: Server
    shop: TestProject
    other: TestProject
    operator: str
    viewer: str
    stranger: str
    copy: Path

    def run(self, user: str, *words: str) -> Answer:
        """Run shiftboss as a user, with this server's config.toml, as root would."""
        ended = subprocess.run(
            self.argv(user, *words), timeout=90, check=False, capture_output=True, text=True, **self.options()
        )
        return Answer(ended.returncode, ended.stdout, ended.stderr)

    def argv(self, user: str, *words: str) -> list[str]:
        return [*program_as(user, self.copy), *words]

    def options(self) -> dict[str, Any]:
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "NO_COLOR": "1"}
        environment["SHIFTBOSS_CONFIG"] = str(self.server.config)
        return {"env": environment, "stdin": subprocess.DEVNULL}

    def ok(self, user: str, *words: str) -> Answer:
        answer = self.run(user, *words)
        assert answer.status == 0, answer
        return answer

    def states(self, user: str) -> dict[str, list[str]]:
        document = json.loads(self.run(user, "status", "--json").stdout)
        return {
            f"{project['project']}/{worker['name']}": [process["state"] for process in worker["processes"]]
            for project in document["projects"]
            for worker in project["workers"]
        }


@pytest.fixture
def town(server: Server, public_copy: Path) -> Town:
    """Give two projects of root's that run, and the people of the first one."""
    people = [server.add_project().user for _ in range(3)]
    made = Town(server, server.add_project(), server.add_project(), *people, public_copy)
    for project in (made.shop, made.other):
        project.release()
    grants = f'operators = ["@{made.operator}"]\nviewers = ["{made.viewer}"]\n'
    made.shop.declare(f"{grants}[workers.queue]\n{COMMAND}processes = 2\nscale_max = 3\n")
    made.other.declare(f"[workers.vault]\n{COMMAND}")
    server.ok("apply")
    made.server.config.parent.joinpath("projects").chmod(0o700)  # root may close it: nobody else needs it
    return made


@pytest.mark.parametrize("who", ["own user", "operator"])
def test_a_projects_people_control_it_and_see_nothing_else(town: Town, who: str) -> None:
    user = town.shop.user if who == "own user" else town.operator
    queue = f"{town.shop.name}/queue"
    said = [town.ok(user, "status")]
    assert town.states(user) == {queue: ["RUNNING", "RUNNING"]}

    said.append(town.ok(user, "logs", queue))
    assert f"this is {town.shop.user}" in said[-1].stdout
    said.append(town.ok(user, "stop", f"{queue}:2"))
    assert town.states(user)[queue] == ["RUNNING", "STOPPED"]
    said.append(town.run(user, "status"))
    assert said[-1].status == 3
    said.append(town.ok(user, "start", town.shop.name))
    assert town.states(user)[queue] == ["RUNNING", "RUNNING"]
    said.append(town.ok(user, "restart", queue))
    assert said[-1].stdout.count(" -> ") == 2
    said.append(town.ok(user, "scale", queue, "3"))
    assert town.states(user)[queue] == ["RUNNING"] * 3
    uses = json.loads(town.ok(user, "top", "--json").stdout)["processes"]
    assert {use["target"] for use in uses} == {f"{queue}:{number}" for number in (1, 2, 3)}
    assert all(use["pid"] and use["memory_bytes"] for use in uses), uses
    said.append(town.ok(user, "history", town.shop.name))
    for verb in ("stop", "start", "restart", "scale to 3"):
        assert f"{verb} asked by {user}" in said[-1].stdout
    said.append(town.ok(user, "history"))
    with following(town, user, "events", "--json") as events, following(town, user, "logs", "-f") as lines:
        town.server.ok("restart", f"{town.other.name}/vault")
        wait_until(lambda: _restarted(town, user, queue) and '"start"' in events(), 60, what="events")
        wait_until(lambda: lines().count("this is") > 3, 30, what="lines of the log")
        said.append(Answer(0, events(), lines()))
    for answer in said:
        assert town.other.name not in answer.stdout + answer.stderr
        assert "vault" not in answer.stdout + answer.stderr


def test_a_projects_people_run_pause_and_ask_about_its_schedules(town: Town) -> None:
    user, name, vault = town.operator, f"{town.shop.name}/report", f"{town.other.name}/secret"
    table = '[schedules.{}]\ncommand = ["sh", "-c", "echo sold nothing; exit 3"]\ncron = "0 4 * * *"\nbackend = "native"\n'
    for project, schedule in ((town.shop, "report"), (town.other, "secret")):
        file = project.project_file()
        file.write_text(file.read_text() + table.format(schedule))
    town.server.ok("apply")

    ran = town.run(user, "run", name)
    assert ran.status == 3
    assert "sold nothing" in ran.stdout
    assert "it failed (exit 3" in town.ok(user, "why", name).stdout
    assert "made due at" in town.ok(user, "why", name).stdout
    assert f"by {user}" in town.ok(user, "history", name).stdout
    run = json.loads(town.ok(user, "history", name, "--json").stdout)[-1]["run"]
    assert "sold nothing" in town.ok(user, "logs", name, "--run", str(run)).stdout
    for person in (user, town.viewer):
        [due] = json.loads(town.ok(person, "next", "--json").stdout)
        assert (due["target"], due["due"][11:16]) == (name, "04:00")
        assert name in town.ok(person, "next").stdout
        assert town.other.name not in town.ok(person, "next").stdout
    assert_refused(town.run(user, "next", "--tasks"), REFUSED_BY_HOST, "only root may do that")
    assert json.loads(town.ok(user, "explain", "0 4 * * *", "--json").stdout)["valid"]
    town.ok(user, "pause", name)
    said = town.run(user, "status")
    assert f"{name} does not run: paused by {user}" in said.stdout
    assert town.other.name not in said.stdout + said.stderr
    town.ok(user, "resume", name)
    assert town.ok(user, "stop", name).stderr.strip() == f"nothing of {name} runs"
    assert_refused(town.run(user, "stop", name, "--keep"), WRONG_USE, f"shiftboss pause {name}")
    calls = (("run", vault), ("pause", vault), ("stop", vault), ("why", vault), ("logs", vault, "--run", "2"))
    for words in calls:
        for person in (user, town.viewer, town.stranger):
            answer = town.run(person, *words)
            assert answer.status in (1, 2), answer
            assert "secret" not in answer.stdout
    for verb in ("run", "stop"):
        assert town.run(town.viewer, verb, name).status in (1, 2)
    assert "it failed" in town.ok(town.viewer, "why", name).stdout


def _restarted(town: Town, user: str, queue: str) -> Answer:
    """Let something happen: who follows may have come too late for what happened before."""
    return town.ok(user, "restart", f"{queue}:1")


@contextmanager
def following(town: Town, user: str, *words: str) -> Iterator[Callable[[], str]]:
    """Run a command that goes on; give what it said so far, from the first line on."""
    path = town.server.directory / f"said-{words[0]}"
    with path.open("wb") as sink:
        process = subprocess.Popen(
            town.argv(user, *words), stdout=sink, stderr=subprocess.STDOUT, **town.options()
        )
    try:
        wait_until(lambda: words[0] == "events" or path.stat().st_size, 30, what="the first line")
        yield path.read_text
    finally:
        process.terminate()
        process.wait(30)


def test_roots_number_and_one_that_was_scaled_without_root(town: Town) -> None:
    """The file is root's; a scale without root stands beside it until root says a number."""
    queue = f"{town.shop.name}/queue"
    town.ok(town.operator, "scale", queue, "1")

    status = town.server.ok("status", town.shop.name)
    assert "was scaled to 1 without root; its file says 2" in status.stdout
    assert "nothing to change" in town.server.ok("apply").stdout
    town.server.ok("restart", queue)
    assert town.states(town.operator)[queue] == ["RUNNING"]

    grants = f'operators = ["@{town.operator}"]\n'
    town.shop.declare(f"{grants}[workers.queue]\n{COMMAND}processes = 2\nscale_max = 3\n")
    town.ok(town.operator, "scale", queue, "3")
    town.server.ok("apply")  # it changes who may, not how many run
    assert town.states(town.operator)[queue] == ["RUNNING"] * 3

    town.server.ok("scale", queue, "2")
    assert town.states(town.operator)[queue] == ["RUNNING", "RUNNING"]
    refused = town.run(town.operator, "scale", queue, "4")
    assert_refused(refused, WRONG_USE, "at most 3 are allowed")


def test_a_viewer_looks_and_touches_nothing(town: Town) -> None:
    queue = f"{town.shop.name}/queue"
    for words in (("status",), ("logs", queue), ("history",)):
        town.ok(town.viewer, *words)
    with nothing_changes(town.server):
        for words in (("stop", queue), ("restart", town.shop.name), ("scale", queue, "1"), ("start", queue)):
            refused = town.run(town.viewer, *words)
            assert_refused(refused, REFUSED_BY_HOST, "permission denied: you may look at", "operators")


def test_what_is_others_is_as_if_it_were_not_there(town: Town) -> None:
    with nothing_changes(town.server):
        for words in (("status",), ("stop",), ("logs",), ("restart",)):
            answers = [
                town.run(town.operator, *words, name) for name in (f"{town.other.name}/vault", "nix/vault")
            ]
            assert_refused(answers[0], WRONG_USE, "no unit of project")
            assert answers[0].stderr.replace(town.other.name, "nix") == answers[1].stderr


def test_a_stranger_is_told_who_could_help(town: Town) -> None:
    with nothing_changes(town.server):
        for words in (("status",), ("history",), ("stop", town.shop.name), ("events",), ("logs",)):
            refused = town.run(town.stranger, *words)
            assert_refused(refused, REFUSED_BY_HOST, "nothing that runs here is yours", "sudo")
            assert town.shop.name not in refused.stdout


ROOTS = (
    ("setup", "SHOP", "custom", "--", "sleep", "1"),
    ("cron", "SHOP", "backup", "@daily", "--", "true"),
    ("apply",),
    ("plan",),
    ("remove", "SHOP", "--yes"),
    ("project", "add", "another"),
    ("project", "list"),
    ("up",),
    ("up", "--no-apply"),
)


def test_what_runs_is_roots_to_change(town: Town) -> None:
    with nothing_changes(town.server):
        for words in ROOTS:
            told = (town.shop.name if word == "SHOP" else word for word in words)
            assert_refused(town.run(town.operator, *told), REFUSED_BY_HOST, "only root may", "sudo")


UNKNOWN = {
    'operators = ["nobody-of-that-name"]': "project.operators: there is no user 'nobody-of-that-name'",
    'viewers = ["@no-group"]': "project.viewers: there is no group 'no-group'",
    'viewers = [""]': "project.viewers",
    "operators = [7]": "project.operators",
}


def test_whom_nobody_knows_is_refused_with_file_and_key(town: Town) -> None:
    for line, words in UNKNOWN.items():
        town.shop.declare(f"{line}\n[workers.queue]\n{COMMAND}")
        with nothing_changes(town.server):
            answer = town.server.run("apply", town.shop.name)
            assert_refused(answer, WRONG_USE, words, str(town.shop.project_file()))


def test_who_has_nothing_of_ones_own_asks_the_server_of_root(town: Town) -> None:
    """Without a word about any config.toml, where root's engine is at its usual place."""
    usual = "mount -t tmpfs none /run && mkdir /run/shiftboss && mount --bind $0 /run/shiftboss"
    run = town.server.config.parent / "run"
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'{usual} && exec "$@"', str(run))

    def shiftboss(user: str, *words: str) -> Answer:
        argv = [*inside, *town.argv(user, *words)]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1"}
        ended = subprocess.run(argv, env=environment, timeout=60, check=False, capture_output=True, text=True)
        return Answer(ended.returncode, ended.stdout, ended.stderr)

    answer = shiftboss(town.operator, "status")
    assert answer.status == 0, answer
    assert f"{town.shop.name}/queue:1" in answer.stdout
    assert_refused(shiftboss(town.stranger, "status"), REFUSED_BY_HOST, "nothing that runs here is yours")
    assert_refused(shiftboss(town.operator, "setup", town.shop.name), REFUSED_BY_HOST, "only root may")


def test_rights_change_without_a_restart(town: Town) -> None:
    before = town.server.keeper.pids()
    town.shop.declare(f'operators = ["{town.stranger}"]\n[workers.queue]\n{COMMAND}processes = 2\n')
    town.server.ok("apply")
    assert town.server.keeper.pids() == before
    town.ok(town.stranger, "status")
    assert_refused(town.run(town.viewer, "status"), REFUSED_BY_HOST, "nothing that runs here is yours")
