"""Backend logrotate: stanzas for the logs that need one, as the user who may safely work in their directory."""

import pytest
from msgspec.structs import replace
from tests.small_server import ACCOUNT, DIRECTORY, SmallServer, project, schedule, site

from shiftboss.backends.contract import Wanted
from shiftboss.backends.logrotate import LogrotateBackend, rotated_elsewhere
from shiftboss.core.errors import UserError
from shiftboss.core.facts import PathFacts
from shiftboss.core.managed import read_seal
from shiftboss.core.plan import Override, Plan, RemoveFile, WriteFile
from shiftboss.core.spec import LogPolicy, Project, Unit, Worker

LOGROTATE = LogrotateBackend()
PLAIN = Override()
FILE = "/etc/logrotate.d/shiftboss-myapp"
LOGS = "/infra/logs/projects/myapp"
UID, GID = ACCOUNT.uid, ACCOUNT.gid


def server() -> SmallServer:
    return SmallServer.with_directories("/etc/logrotate.d", "/infra/logs/projects")


def worker(processes: int, backend: str = "supervisor", of: Project | None = None) -> Worker:
    return Worker(of or project(), "queue", "laravel-queue", backend, ("/usr/bin/php",), processes)


def plan(on: SmallServer, *units: Unit, override: Override = PLAIN, system: bool = True) -> Plan:
    wanted = Wanted(units[0].project if units else project(), units, site(system=system))
    return LOGROTATE.plan(wanted, on.answers(LOGROTATE.queries(wanted)), override)


def written(planned: Plan) -> str:
    (write,) = planned.actions
    assert isinstance(write, WriteFile)
    assert (write.path, write.mode) == (FILE, 0o644)
    return write.content


def stanza(text: str, path: str) -> list[str]:
    return [line.strip() for line in text.partition(f'"{path}" {{\n')[2].partition("}")[0].splitlines()]


def rotator(logs: PathFacts | None, parent: PathFacts = DIRECTORY, *, system: bool = True) -> list[str]:
    on = server()
    on.facts["/infra/logs/projects"] = parent
    if logs is not None:
        on.facts[LOGS] = logs
    if not system:
        on.facts["/etc/logrotate.d"] = PathFacts(UID, GID, 0o755, "directory")
    text = written(plan(on, schedule(), system=system))
    return [line for line in stanza(text, f"{LOGS}/scheduler.log") if line.startswith("su ")]


def test_stanza_of_a_log():
    text = written(plan(server(), schedule(log=LogPolicy(5_000_000, 3))))
    assert stanza(text, f"{LOGS}/scheduler.log") == [
        "su root myapp",
        "size 5000000",
        "rotate 3",
        "copytruncate",
        "missingok",
        "notifempty",
        "nocompress",
        "nodateext",
        "noolddir",
    ]


def test_file_is_sealed_for_the_project_and_says_what_the_bound_is():
    text = written(plan(server(), schedule()))
    seal = read_seal(text)
    assert seal is not None
    assert (seal.address, seal.intact) == ("myapp", True)
    assert "once a day" in text


def test_every_log_that_needs_it_has_its_stanza():
    text = written(plan(server(), worker(2), schedule()))
    assert stanza(text, f"{LOGS}/queue.log")
    assert stanza(text, f"{LOGS}/scheduler.log")


@pytest.mark.parametrize(
    ("unit", "needs"),
    [
        (worker(2), True),
        (worker(1), False),  # Supervisor rotates it itself
        (worker(2, "native"), False),
        (replace(worker(2), log=LogPolicy(max_bytes=0)), False),
        (schedule(), True),
        (schedule(backend="native"), False),
        (schedule(log=LogPolicy(max_bytes=0)), False),
    ],
)
def test_only_logs_with_several_writers_need_it(unit: Unit, needs: bool):
    assert LOGROTATE.holds(unit) is needs
    assert bool(plan(server(), unit).actions) is needs


def test_second_plan_is_empty_and_the_file_goes_with_its_last_log():
    on = server()
    on.perform(plan(on, worker(2)))
    assert plan(on, worker(2)) == Plan()
    assert plan(on, worker(1)).actions == (RemoveFile("myapp", FILE, on.texts[FILE]),)
    on.perform(plan(on))
    assert FILE not in on.texts
    assert plan(on) == Plan()


def test_hand_edited_and_foreign_files_are_left_until_allowed():
    on = server()
    on.perform(plan(on, schedule()))
    on.put(FILE, on.texts[FILE].replace("rotate 5", "rotate 50"))
    assert [c.remedy for c in plan(on, schedule()).conflicts] == ["--force"]
    assert "rotate 5\n" in written(plan(on, schedule(), override=Override(force=True)))
    on.put(FILE, "/var/log/mine { weekly }\n")
    assert [c.remedy for c in plan(on, schedule()).conflicts] == ["--adopt"]
    assert plan(on, schedule(), override=Override(adopt=True)).actions[0].keep_copy  # type: ignore[union-attr]


def test_root_rotates_where_nobody_else_can_plant_links():
    assert rotator(None) == ["su root myapp"]
    assert rotator(PathFacts(0, GID, 0o2750, "directory")) == ["su root myapp"]


@pytest.mark.parametrize(
    "logs",
    [
        PathFacts(UID, GID, 0o750, "directory"),
        PathFacts(0, GID, 0o2770, "directory"),
        PathFacts(0, 0, 0o777, "directory"),
    ],
)
def test_the_project_user_rotates_in_a_directory_that_it_can_write(logs: PathFacts):
    assert rotator(logs) == ["su myapp_user myapp"]


def test_the_project_user_rotates_in_a_directory_that_it_can_replace():
    parent = PathFacts(UID, GID, 0o755, "directory")
    assert rotator(PathFacts(0, GID, 0o2750, "directory"), parent) == ["su myapp_user myapp"]


def test_a_plain_user_rotates_as_itself():
    assert rotator(PathFacts(UID, GID, 0o750, "directory"), system=False) == []


def test_a_strangers_log_directory_is_left_alone_with_a_note():
    on = server()
    on.facts[LOGS] = PathFacts(4711, GID, 0o2750, "directory")
    planned = plan(on, schedule())
    assert (planned.actions, planned.conflicts) == ((), ())
    assert "nothing rotates the log of myapp/scheduler" in planned.notes[0]


def test_a_server_without_logrotate_gives_a_note_and_no_error():
    on = server()
    del on.facts["/etc/logrotate.d"]
    planned = plan(on, schedule())
    assert (planned.actions, planned.conflicts) == ((), ())
    assert "there is no directory /etc/logrotate.d" in planned.notes[0]


def test_a_plain_user_without_a_directory_of_its_own_gets_a_note():
    planned = plan(server(), schedule(), system=False)
    assert planned.actions == ()
    assert "belongs to uid 0" in planned.notes[0]


@pytest.mark.parametrize(
    "logs", ["/srv/a*b", '/srv/a"b', "/srv/a{b", "/srv/a\\b", "/srv/~b", "/srv/a\nb", "/srv/[a]"]
)
def test_paths_that_logrotate_would_take_for_patterns_are_refused(logs: str):
    on = server()
    on.facts |= {logs: DIRECTORY, "/srv": DIRECTORY}
    with pytest.raises(UserError, match="logrotate cannot be told the path"):
        plan(on, schedule(of=project(logs=logs)))


@pytest.mark.parametrize(
    "text",
    [
        "/infra/logs/projects/*/*.log {\n  weekly\n}\n",
        "# all\nweekly\n/var/log/x\n/infra/logs/projects/myapp/queue.log\n{\n}\n",
        '"/var/log/a b" "/infra/logs/projects/myapp/queue.log" {\n}\n',
        "/var/log/y {\n  daily\n}\n\n/infra/logs/projects/myapp/*.log{\n}\n",
    ],
)
def test_a_log_that_another_file_rotates_too_is_found(text: str):
    (note,) = rotated_elsewhere([f"{LOGS}/queue.log"], {"/etc/logrotate.d/mine": text})
    assert note.startswith("/etc/logrotate.d/mine rotates /infra/logs/projects/myapp/queue.log too")


@pytest.mark.parametrize(
    "text",
    [
        "/infra/logs/projects/*.log {\n}\n",
        "/infra/logs/projects/other/*.log {\n}\n",
        "# /infra/logs/projects/myapp/queue.log {\n",
        "/var/log/y {\n  postrotate\n  cat /infra/logs/projects/myapp/queue.log\n  endscript\n}\n",
        "",
    ],
)
def test_files_that_rotate_other_logs_are_not(text: str):
    assert rotated_elsewhere([f"{LOGS}/queue.log"], {"/etc/logrotate.d/mine": text}) == ()


def test_our_own_files_are_not_somebody_elses():
    text = written(plan(server(), worker(2)))
    assert rotated_elsewhere([f"{LOGS}/queue.log"], {FILE: text}) == ()
