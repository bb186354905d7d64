"""Commands that only look: logs, next, explain, and everything that is printed for programs."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crond import TemporaryCron
from tests.e2e.server import INTERRUPTIBLE, SHIFTBOSS, Server, TestProject, on_both
from tests.e2e.shop import Shop
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

# `status --json` as the design names it, and as scripts rely on it
PROCESS = {
    "process",
    "state",
    "pid",
    "uptime_seconds",
    "restarts",
    "stale",
    "exit_reason",
    "memory_bytes",
    "cpu_percent",
    "deleted",
    "memory_peak_bytes",
    "cpu_seconds",
    "throttled_seconds",
    "read_bytes",
    "written_bytes",
    "tasks",
    "notes",
}
WORKER = {"name", "preset", "backend", "command", "processes", "limits"}
SCHEDULE = {"name", "backend", "cron", "timezone", "command", "next", "last", "state", "reason"}
LAST = {"due", "started", "duration_seconds", "exit_status", "outcome"}
PROJECT = {"project", "user", "release", "workers", "schedules", "from_release"}


@pytest.fixture
def project(server: Server) -> TestProject:
    """Give a project with two workers that write what they are told, and a schedule."""
    made = server.add_project()
    made.release()
    made.declare(
        '[workers.queue]\ncommand = "tail -n +1 -F ../../said"\nstart_seconds = 1\nprocesses = 2\n'
        '[workers.mail]\ncommand = "sleep 1000"\nstart_seconds = 1\n'
        '[schedules.backup]\ncommand = ["pg_dump", "-f", "a b"]\ncron = "30 4 * * *"\n'
        '[project.interpreters]\npg_dump = "/bin/true"\n'
    )
    return made


@on_both
def test_the_status_for_programs_has_exactly_the_documented_shape(
    server: Server, project: TestProject
) -> None:
    with TemporaryCron(server.directory):
        server.ok("apply")
    (project.logs / "backup.log").write_text("done\n")

    document = json.loads(server.ok("status", "--json").stdout)

    assert document.keys() == {"projects"}
    (found,) = document["projects"]
    assert found.keys() == PROJECT
    assert (found["project"], found["user"]) == (project.name, project.user)
    assert found["release"] == str(project.root / "releases" / "1")
    queue, mail = found["workers"]
    assert queue.keys() == mail.keys() == WORKER
    assert (queue["name"], queue["preset"], queue["backend"]) == ("queue", "custom", server.backend)
    assert queue["command"] == "/usr/bin/tail -n +1 -F ../../said"
    assert [process["process"] for process in queue["processes"]] == [1, 2]
    restarts = 0 if server.is_native else None  # Supervisor does not count them
    for process in (*queue["processes"], *mail["processes"]):
        assert process.keys() == PROCESS
        assert (process["state"], process["stale"], process["restarts"]) == ("RUNNING", False, restarts)
        assert Path(f"/proc/{process['pid']}").owner() == project.user
        assert process["memory_bytes"] > 0
    (backup,) = found["schedules"]
    assert backup.keys() == SCHEDULE
    assert backup["cron"] == "30 4 * * *"
    assert backup["command"] == "/bin/true -f 'a b'"
    assert "T04:30:00" in backup["next"]
    assert backup["last"].keys() == LAST
    assert backup["last"]["started"] is not None


@on_both
def test_the_plan_for_programs_has_exactly_the_documented_shape(server: Server, project: TestProject) -> None:
    document = json.loads(server.ok("plan", "--json").stdout)

    assert {"actions"} <= document.keys() <= {"actions", "conflicts", "notes"}
    assert all(
        action.keys() == {"kind", "target", "path", "diff", "restarts"} for action in document["actions"]
    )
    written = {
        "supervisor": (server.supervisord.conf_dir / f"{project.name}_queue.conf", "+[program:"),
        "native": (server.keeper.manifests / f"{project.name}.json", f'"address": "{project.name}/queue"'),
    }
    path, text = written[server.backend]
    (write,) = [action for action in document["actions"] if action["path"] == str(path)]
    assert text in write["diff"]
    assert not path.exists(), "it was only asked"


@on_both
def test_logs_are_shown_with_the_unit_since_a_time_and_as_many_as_wished(
    server: Server, project: TestProject
) -> None:
    project.logs.mkdir()
    (project.logs / "queue.log").write_text(
        "[2026-01-01 10:00:00] old\n[2026-01-02 10:00:00] new\n  and more of it\n"
    )
    (project.logs / "mail.log").write_text("one\ntwo\r 50 %\r100 %\u2028\nthree\n", newline="")
    name = project.name

    every = server.ok("logs", name).stdout.splitlines()
    last = server.ok("logs", f"{name}/mail", "-n", "2").stdout
    since = server.ok("logs", f"{name}/queue", "--since", "2026-01-01T12:00").stdout
    both = server.ok("logs", f"{name}/queue", f"{name}/mail", "-n", "1").stdout

    assert f"{name}/mail   | three" in every
    assert f"{name}/queue  | [2026-01-01 10:00:00] old" in every
    assert last == "two\n 50 %\n100 %\u2028\nthree\n", (
        "a newline alone ends a line; `text=True` reads \\r as one too"
    )
    assert since == "[2026-01-02 10:00:00] new\n  and more of it\n"
    assert both == f"{name}/queue |   and more of it\n{name}/mail  | three\n"


@on_both
def test_logs_reach_back_into_what_was_rotated(server: Server, project: TestProject) -> None:
    project.logs.mkdir()
    log = project.logs / "queue.log"
    log.with_name("queue.log.2").write_text("[2026-01-01 10:00:00] oldest\n")
    log.with_name("queue.log.1").write_text("[2026-01-02 10:00:00] older\n[2026-01-02 11:00:00] old\n")
    log.write_text("[2026-01-03 10:00:00] new\n")
    (project.logs / "mail.log").write_text("".join(f"{number}\n" for number in range(100)))
    name = f"{project.name}/queue"

    last = server.ok("logs", name, "-n", "2").stdout.splitlines()
    since = server.ok("logs", name, "--since", "2026-01-02T10:30").stdout.splitlines()
    every = server.ok("logs", name, "--since", "2025-01-01").stdout.splitlines()
    timeless = server.ok("logs", f"{project.name}/mail", "--since", "10m", "-n", "2").stdout

    assert [line.split()[-1] for line in last] == ["old", "new"]
    assert [line.split()[-1] for line in since] == ["old", "new"]
    assert [line.split()[-1] for line in every] == ["oldest", "older", "old", "new"]
    assert timeless == "98\n99\n", "as with -n"


@on_both
def test_logs_are_followed_through_a_rotation(server: Server, project: TestProject) -> None:
    project.logs.mkdir()
    logs = {name: project.logs / f"{name}.log" for name in ("queue", "mail")}
    for log in logs.values():
        log.write_text("before\n")
    names = [f"{project.name}/{name}" for name in logs]
    with following(server, *names) as shown:
        wait_until(lambda: shown().count("before") == 2, 20, what="the last lines")
        append(logs["queue"], "first of queue\n")
        append(logs["mail"], "first of mail\nhalf a ")
        wait_until(lambda: "| first of mail" in shown(), 20, what="new lines of both")
        logs["queue"].rename(logs["queue"].with_suffix(".log.1"))
        logs["queue"].write_text("after the rotation\n")
        append(logs["mail"], "line\n")
        wait_until(lambda: "after the rotation" in shown() and "half a line" in shown(), 20, what="the rest")

    width = len(names[0])
    assert sorted(shown().splitlines()) == sorted(
        f"{name.ljust(width)} | {line}"
        for name, lines in zip(
            names,
            (["before", "first of queue", "after the rotation"], ["before", "first of mail", "half a line"]),
            strict=True,
        )
        for line in lines
    )


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


@contextmanager
def following(server: Server, *targets: str) -> Iterator[object]:
    """Run `logs -f`, give what it has shown until now, and end it by Ctrl-C."""
    output = server.directory / "shown"
    environment = {**os.environ, "SHIFTBOSS_CONFIG": str(server.config)}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*INTERRUPTIBLE, "logs", "-f", *targets], env=environment, stdout=file, stderr=subprocess.PIPE
        )
        try:
            yield output.read_text
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert errors.strip() == b""  # there is nothing to finish
    assert process.returncode == 130, errors


def test_next_lists_what_is_due_in_the_order_of_time(server: Server, project: TestProject) -> None:
    project.declare(
        '[schedules.yearly]\ncommand = "true"\ncron = "0 0 1 1 *"\n'
        '[schedules.often]\ncommand = "true"\ncron = "* * * * *"\n'
    )

    told = server.ok("next", project.name, "-n", "2").stdout.splitlines()
    document = json.loads(server.ok("next", "--json").stdout)

    assert [line.split()[-6] for line in told[1:]] == [
        f"{project.name}/{n}" for n in ("often", "often", "yearly", "yearly")
    ]
    assert [row["target"].partition("/")[2] for row in document] == ["often"] * 3 + ["yearly"] * 3
    assert all(row.keys() == {"target", "due", "command"} for row in document)


def test_explain_for_programs_has_exactly_the_documented_shape(shop: Shop) -> None:
    line = (
        "explain",
        "30 2 * * *",
        "--timezone",
        "Europe/Riga",
        "--from",
        "2026-03-28",
        "--count",
        "2",
        "--json",
    )
    valid = json.loads(shop.server.ok(*line).stdout)
    refused = shop.server.run("explain", "61 * * * *", "--json")
    invalid = json.loads(refused.stdout)

    assert valid.keys() == invalid.keys() == {"valid", "error", "text", "next", "lint"}
    assert (valid["valid"], valid["error"]) == (True, None)
    assert valid["next"][0] == "2026-03-28T02:30:00+02:00"
    assert all(finding.keys() == {"code", "message"} for finding in valid["lint"])
    assert refused.status == 2
    assert (invalid["valid"], invalid["next"]) == (False, [])
    assert "61" in invalid["error"]


def test_bash_completes_commands_projects_and_units(shop: Shop) -> None:
    script = shop.server.ok("completion", "bash").stdout
    ended = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p"], capture_output=True, text=True, check=True
    )
    for program in ("shiftboss", "setup-supervisor", "setup-cron"):
        assert ended.stdout.count(f" {program}\n") == 1, ended.stdout

    assert "plain,status" in completed(shop, "shiftboss", "stat")
    name = shop.good.name
    assert completed(shop, "shiftboss", "stop", name) == [f"plain,{name}", f"plain,{name}/steady"]


def completed(shop: Shop, *words: str) -> list[str]:
    """Return what is proposed for the last word, as the script asks for it."""
    environment = ("env", "_SHIFTBOSS_COMPLETE=bash_complete", f"COMP_WORDS={' '.join(words)}")
    program = (*environment, f"COMP_CWORD={len(words) - 1}", *SHIFTBOSS)
    return shop.server.run(program=program).stdout.splitlines()


@pytest.mark.parametrize(("file", "key"), [("project", "workers"), ("config", "supervisor")])
def test_the_schema_describes_our_files(shop: Shop, file: str, key: str) -> None:
    schema = json.loads(shop.server.ok("schema", file).stdout)

    top = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    assert key in top["properties"]
    assert top["additionalProperties"] is False
    described = [
        p for d in schema["$defs"].values() for p in d.get("properties", {}).values() if "description" in p
    ]
    assert len(described) > 10
