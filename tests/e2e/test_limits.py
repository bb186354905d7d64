"""Limits and isolation, on native, through Supervisor and on cron, as a server's root gets them. About 90 s."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from shiftboss.confine import limits
from shiftboss.confine.descendants import read_process
from tests.crond import ONE_RUN_SECONDS, TemporaryCron
from tests.e2e.server import Server, TestProject, on_both, on_supervisor
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(120)]
PYTHON = "/usr/bin/python3"
# tries all of it again and again, with what stands in its own `targets`, and keeps the last answers
PROBE = """
import ctypes, glob, json, os, signal, time
libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        return action()
    except OSError as error:
        return type(error).__name__

def trace(pid):
    return libc.ptrace(16, pid, None, None)

def commands():
    lines = (attempt(lambda: open(path).read()) for path in glob.glob("/proc/[0-9]*/cmdline"))
    return sum("the-secret-argument" in line for line in lines)

print("probing", flush=True)
while True:
    at = json.load(open("../../targets"))
    found = {
        "env": attempt(lambda: open(at["root"] + "/.env").read()),
        "log": attempt(lambda: open(at["log"]).read(5)),
        "signal": attempt(lambda: os.kill(at["pid"], 0)),
        "trace": trace(at["pid"]),
        "commands": commands(),
        "neighbours": sorted(os.listdir(at["projects"])),
        "number": at["number"],
        "release": attempt(lambda: open(os.path.realpath("../../current/mark")).read()),
        "privileges": [line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")],
    }
    with open("../../answers~", "w") as file:
        json.dump(found, file)
    os.rename("../../answers~", "../../answers")
    time.sleep(0.1)
"""
SLEEPER = "import sys, time; print('up', flush=True); time.sleep(1000)"
EATER = "print('eating', flush=True)\nheld = []\nwhile True: held.append(b'x' * 1024**2)\n"
BUSY = "print('busy', flush=True)\nwhile True: pass\n"


def answers(hostile: TestProject, number: int) -> dict[str, Any]:
    """Return what the probe found after it had read the targets of this number."""
    path = hostile.root / "answers"

    def fresh() -> dict[str, Any] | None:
        found = json.loads(path.read_text()) if path.exists() else {}
        return found if found.get("number") == number else None

    found = wait_until(fresh, 20, what=f"answers of the probe for targets {number}")
    assert found
    return found


def set_targets(
    hostile: TestProject, victim: TestProject, pid: int, number: int, root: Path | None = None
) -> None:
    """Tell the probe what to try."""
    targets = {
        "root": str(root or victim.root),
        "log": str(victim.logs / "held.log"),
        "pid": pid,
        "projects": str(victim.root.parent),
        "number": number,
    }
    path = hostile.root / "targets"
    path.with_name("targets~").write_text(json.dumps(targets))
    path.with_name("targets~").rename(path)


def pid_of(server: Server, target: str) -> int:
    found = json.loads(server.ok("status", target, "--json").stdout)
    pid = found["projects"][0]["workers"][0]["processes"][0]["pid"]
    assert isinstance(pid, int)
    return pid


def worker_of(server: Server, project: TestProject) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.run("status", project.name, "--json").stdout)
    worker: dict[str, Any] = found["projects"][0]["workers"][0]
    return worker


def project_with(server: Server, program: str, text: str) -> TestProject:
    """Make a project whose release has one program."""
    project = server.add_project()
    release = project.release()
    project.write(release, program, text)
    project.own(release)
    return project


@on_both
def test_a_hostile_project_gets_at_nothing_of_another_and_sees_its_own_new_releases(server: Server) -> None:
    victim, hostile = project_with(server, "held.py", SLEEPER), project_with(server, "probe.py", PROBE)
    (victim.root / ".env").write_text("SECRET")  # readable by everybody, as they often are
    hostile.own(hostile.root)
    hostile.root.chmod(0o755)
    held = ("--name", "held", "--", PYTHON, "held.py", "the-secret-argument")
    server.ok("setup", victim.name, "custom", *held)
    pid = pid_of(server, f"{victim.name}/held")
    set_targets(hostile, victim, pid, 1)
    server.ok(
        "setup",
        hostile.name,
        "custom",
        "--name",
        "probe",
        "--isolation",
        "none",
        "--",
        PYTHON,
        "probe.py",
    )
    open_ = answers(hostile, 1)
    assert (open_["env"], open_["commands"] > 0) == ("SECRET", True)  # so the test can tell

    set_targets(hostile, victim, pid, 2)
    (hostile.root / "answers").unlink()
    server.ok(
        "setup",
        hostile.name,
        "custom",
        "--name",
        "probe",
        "--isolation",
        "standard",
        "--",
        PYTHON,
        "probe.py",
    )
    closed = answers(hostile, 2)
    assert (closed["env"], closed["log"]) == ("FileNotFoundError", "FileNotFoundError")
    assert (closed["signal"], closed["trace"], closed["commands"]) == ("PermissionError", -1, 0)
    assert closed["neighbours"] == [hostile.name]
    assert closed["privileges"] == ["NoNewPrivs:\t1\n"]
    assert (hostile.root / "answers").stat().st_mode & 0o777 == 0o640

    later = project_with(server, "held.py", SLEEPER)
    release = hostile.root / "releases" / "2"
    release.mkdir()
    (release / "mark").write_text("second")
    hostile.own(release)
    hostile.switch(2)
    set_targets(hostile, later, pid, 3)
    after = answers(hostile, 3)
    assert after["neighbours"] == [hostile.name]
    assert after["release"] == "second"


@on_both
def test_a_project_added_outside_of_the_layout_is_hidden_from_the_next_start_on(server: Server) -> None:
    hostile, victim = project_with(server, "probe.py", PROBE), server.add_project()
    hostile.own(hostile.root)
    elsewhere = server.directory / "elsewhere" / victim.name
    elsewhere.mkdir(parents=True)
    (elsewhere / ".env").write_text("SECRET")
    probe = ("--name", "probe", "--isolation", "standard", "--", PYTHON, "probe.py")
    set_targets(hostile, victim, 1, 1, root=elsewhere)
    server.ok("setup", hostile.name, "custom", *probe)
    pid = pid_of(server, f"{hostile.name}/probe")
    assert answers(hostile, 1)["env"] == "SECRET"  # nobody knows yet that it is a project's

    server.ok("project", "add", victim.name, "--root", str(elsewhere))
    assert "nothing to change" in server.ok("plan", hostile.name).stdout
    server.ok("apply", hostile.name)
    assert pid_of(server, f"{hostile.name}/probe") == pid, "nobody restarts for it"

    server.ok("restart", f"{hostile.name}/probe")
    set_targets(hostile, victim, 1, 2, root=elsewhere)
    assert answers(hostile, 2)["env"] == "FileNotFoundError"


@on_both
def test_limits_are_shown_in_the_plan_and_in_the_status_with_who_holds_them(server: Server) -> None:
    project = project_with(server, "busy.py", BUSY)
    command = ("setup", project.name, "custom", "--name", "busy")
    answer = server.ok(*command, "--memory", "256M", "--cpu", "30", "--", PYTHON, "busy.py")
    assert f"{project.name}/busy: memory 256M, held by cgroup v" in answer.stdout + answer.stderr
    assert f"limits of {project.name}/busy: memory 256M (cgroup v" in server.ok("status").stdout

    worker = worker_of(server, project)
    assert [(limit["limit"], limit["value"]) for limit in worker["limits"]] == [
        ("memory", "256M"),
        ("cpu", "30%"),
    ]
    before, began = worker["processes"][0]["cpu_seconds"], worker["processes"][0]["uptime_seconds"]
    assert before is not None
    wait_until(
        lambda: worker_of(server, project)["processes"][0]["uptime_seconds"] > began + 3, 20, what="3 s"
    )
    start, used = time.monotonic(), worker_of(server, project)["processes"][0]["cpu_seconds"]
    wait_until(lambda: time.monotonic() > start + 3, 20, what="3 s")
    share = (worker_of(server, project)["processes"][0]["cpu_seconds"] - used) / (time.monotonic() - start)
    assert 0.1 < share < 0.36, share  # at least as much only while nothing else wants the machine

    [heading, row] = server.ok("top", project.name, "--once").stdout.splitlines()
    shown = dict(zip(heading.replace("HELD BACK", "HELD").split(), row.split(), strict=True))
    assert shown["WORKER"] == f"{project.name}/busy:1"
    assert 10 <= int(shown["CPU"].removesuffix("%")) <= 35, row
    assert int(shown["HELD"].removesuffix("%")) > 10, row
    [use] = json.loads(server.ok("top", project.name, "--json").stdout)["processes"]
    assert (use["target"], use["state"]) == (f"{project.name}/busy:1", "RUNNING")
    assert 10 <= use["cpu_percent"] <= 36, use
    assert use["held_back_percent"] > 10, use
    assert use["memory_bytes"] > 0
    assert set(use) == {
        *("target", "state", "pid", "uptime_seconds", "cpu_percent", "held_back_percent"),
        *("memory_bytes", "memory_peak_bytes", "tasks", "read_bytes", "written_bytes"),
    }
    changed = server.ok("plan", project.name).stdout
    assert "nothing to change" in changed
    answer = server.ok(*command, "--memory", "128M")
    words = answer.stdout + answer.stderr
    assert f"{project.name}/busy: memory 128M instead of 256M, held by cgroup v" in words
    assert "cpu" not in words.partition("limits of")[0]


@on_both
def test_a_worker_that_wants_more_memory_than_it_may_have_is_refused_by_name(server: Server) -> None:
    project = project_with(server, "eat.py", EATER)
    answer = server.run(
        "setup", project.name, "custom", "--name", "eat", "--memory", "32M", "--", PYTHON, "eat.py"
    )

    assert answer.status == 1
    assert "out of memory: killed by the kernel (its limit is 32M" in answer.stderr
    [process] = worker_of(server, project)["processes"]
    assert process["exit_reason"].startswith("out of memory")
    wait_until(lambda: worker_of(server, project)["processes"][0]["state"] == "BACKOFF", 10, what="the wait")


TELLER = """
import os, signal, sys, time
def leave(number, _):
    print("asked to end by", number, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("pid", os.getpid(), os.getppid(), os.environ.get("SHIFTBOSS_REVISION"), os.environ.get("FROM_FILE"), flush=True)
while True: time.sleep(0.1)
"""


def processes(server: Server, project: TestProject) -> dict[str, int]:
    """Return the pids of all processes by worker and number."""
    found = json.loads(server.ok("status", project.name, "--json").stdout)["projects"][0]["workers"]
    return {f"{w['name']}:{p['process']}": p["pid"] for w in found for p in w["processes"]}


@on_supervisor
def test_nothing_of_ours_stays_between_supervisor_and_the_program(server: Server) -> None:
    """The pid is the program's, signals reach it, and only what was changed is started again."""
    project = project_with(server, "tell.py", TELLER)
    command = ("setup", project.name, "custom")
    server.ok(*command, "--name", "one", "--memory", "64M", "--workers", "2", "--", PYTHON, "tell.py")
    server.ok(*command, "--name", "two", "--memory", "64M", "--", PYTHON, "tell.py")
    server.ok(*command, "--name", "plain", "--", PYTHON, "tell.py")
    conf = server.supervisord.conf_dir
    orders = server.directory / "etc/state/launch/supervisor" / f"{project.name}.json"
    assert "launcher/main.py" not in (conf / f"{project.name}_plain.conf").read_text()
    assert (orders.stat().st_uid, orders.stat().st_mode & 0o777) == (0, 0o600)

    before = processes(server, project)
    assert sorted(before) == ["one:1", "one:2", "plain:1", "two:1"]
    told = [line.split()[1:] for line in project.log("one").splitlines() if line.startswith("pid")]
    daemon = server.supervisord.pid
    assert sorted(told) == sorted([str(before[f"one:{n}"]), str(daemon), "None", "None"] for n in (1, 2))

    server.ok("setup", project.name, "custom", "--name", "one", "--memory", "65M")
    after = processes(server, project)
    assert {name for name in before if before[name] != after[name]} == {"one:1", "one:2"}
    assert project.log("one").count("asked to end by 15") == 2

    server.ok("remove", f"{project.name}/one", "--yes")
    assert processes(server, project) == {name: after[name] for name in ("plain:1", "two:1")}
    server.ok("remove", f"{project.name}/two", "--yes")
    assert not orders.exists()
    assert processes(server, project) == {"plain:1": before["plain:1"]}


# a child in a session of its own, deaf to TERM: Supervisor's signals to the process group do not reach it
LEAVER = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("child", os.getpid(), flush=True)
while True: time.sleep(1)
"""


def left_by(project: TestProject, worker: str, count: int) -> set[int]:
    """Return the pids of so many children, once they have told them."""

    def told() -> set[int]:
        return {int(line.split()[1]) for line in project.log(worker).splitlines() if line.startswith("child")}

    wait_until(lambda: len(told()) >= count, 20, what="the children")
    return told()


def living(pids: set[int]) -> set[int]:
    return {pid for pid in pids if read_process(pid)}


@on_supervisor
def test_what_a_worker_leaves_running_is_ended_when_it_is_stopped_scaled_down_or_removed(
    server: Server,
) -> None:
    project = project_with(server, "leave.py", LEAVER)
    command = ("setup", project.name, "custom", "--name", "leave", "--memory", "64M", "--workers", "2")
    server.ok(*command, "--", PYTHON, "leave.py")
    first = left_by(project, "leave", 2)
    assert living(first) == first

    answer = server.ok("stop", f"{project.name}/leave")

    assert living(first) == set(), answer
    assert "had left running (pid " in answer.stdout + answer.stderr
    assert not limits.find(f"{limits.LAUNCHER_TREE}/{project.name}")
    server.ok("start", f"{project.name}/leave")
    second = left_by(project, "leave", 4) - first
    server.ok("scale", f"{project.name}/leave", "1")
    third = left_by(project, "leave", 5) - first - second
    assert (living(second), living(third)) == (set(), third)
    server.ok("remove", f"{project.name}/leave", "--yes")
    assert living(third) == set()


@on_supervisor
def test_a_worker_of_supervisor_gets_a_file_of_variables_through_the_launcher(server: Server) -> None:
    project = project_with(server, "tell.py", TELLER)
    (project.root / "worker.env").write_text("FROM_FILE='with; both \"quotes\"'\n")
    project.own(project.root / "worker.env")
    project.declare(
        f'[workers.tell]\npreset = "custom"\nenv_file = "worker.env"\ncommand = "{PYTHON} tell.py"\n'
    )
    server.ok("apply", project.name)
    wait_until(lambda: 'with; both "quotes"' in project.log("tell"), 10, what="the variable")


@on_supervisor
def test_the_log_says_that_memory_ran_out_in_the_run_before(server: Server) -> None:
    project = project_with(server, "eat.py", EATER)
    server.run("setup", project.name, "custom", "--name", "eat", "--memory", "32M", "--", PYTHON, "eat.py")
    words = f"{project.name}/eat:1: note: its last run: out of memory: killed by the kernel"
    wait_until(lambda: words in project.log("eat"), 20, what="the note of the launcher")


LOOK = """
import json, os, sys
def attempt(action):
    try:
        return action()
    except OSError as error:
        return type(error).__name__
root, log, projects = sys.argv[1:]
print(json.dumps([attempt(lambda: open(root + "/.env").read()), attempt(lambda: open(log).read(4)), os.listdir(projects)]))
"""
FORKS = """
import os, time
children = 0
while True:
    try:
        pid = os.fork()
    except BlockingIOError:
        sys.exit(f"only {children} children")
    if pid == 0:
        time.sleep(3)
        os._exit(0)
    children += 1
"""


@pytest.mark.timeout(200)
def test_on_cron_limits_and_isolation_hold_and_the_history_says_what_they_ended(server: Server) -> None:
    """Set up by shiftboss, started by a real cron."""
    victim, project = project_with(server, "held.py", SLEEPER), project_with(server, "eat.py", EATER)
    (victim.root / ".env").write_text("SECRET")  # readable by everybody, as they often are
    server.ok("setup", victim.name, "custom", "--name", "held", "--", PYTHON, "held.py")
    release = project.current.resolve()
    project.write(release, "look.py", LOOK)
    project.write(release, "forks.py", f"import sys\n{FORKS}")
    neighbour = f"{victim.root} {victim.logs}/held.log {victim.root.parent}"
    # the same glance with and without isolation: so the test can tell
    project.declare(
        f"""
[schedules.eat]
cron = "* * * * *"
command = "{PYTHON} eat.py"
memory = "32M"
[schedules.forks]
cron = "* * * * *"
command = "{PYTHON} forks.py"
tasks_max = 20
timeout = "30s"
[schedules.shut]
cron = "* * * * *"
command = "{PYTHON} look.py {neighbour}"
memory = "64M"
isolation = "standard"
[schedules.open]
cron = "* * * * *"
command = "{PYTHON} look.py {neighbour}"
isolation = "none"
"""
    )
    with TemporaryCron(server.directory):
        answer = server.ok("apply", project.name)
        assert f"{project.name}/eat: memory 32M, held by cgroup v" in answer.stdout + answer.stderr
        rows = project.ends(4, ONE_RUN_SECONDS + 35)
    assert (rows["eat"]["outcome"], rows["eat"]["exit_status"]) == ("failed", 137)
    assert rows["eat"]["reason"].startswith("out of memory: killed by the kernel (its limit is 32M")
    assert rows["forks"]["reason"] == "exit 1; log: only 19 children"
    told = {name: json.loads(said_by(project, name)[0]) for name in ("shut", "open")}
    assert told["shut"] == ["FileNotFoundError", "FileNotFoundError", [project.name]]
    assert told["open"][0] == "SECRET"
    assert sorted(told["open"][2]) == sorted([victim.name, project.name])
    assert "out of memory" in server.ok("why", f"{project.name}/eat").stdout


def said_by(project: TestProject, schedule: str) -> list[str]:
    """Return what the runs of a schedule wrote, without the lines that frame them."""
    return [line for line in project.log(schedule).splitlines() if not line.startswith("--- run ")]
