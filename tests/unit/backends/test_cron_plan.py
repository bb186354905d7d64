"""Backend cron: what it plans for a project, what it refuses before anything is written, what it leaves alone."""

import pytest
from msgspec.structs import replace
from tests.small_server import ACCOUNT, SmallServer, project, schedule, site

from shiftboss.backends.contract import Wanted
from shiftboss.backends.cron import CronBackend
from shiftboss.backends.crontab import read_crontab
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.facts import PathFacts
from shiftboss.core.plan import Conflict, CreateFile, MakeDirectory, Override, Plan, RemoveFile, WriteFile
from shiftboss.core.run_policy import Policy
from shiftboss.core.spec import Limits, Schedule, Worker
from shiftboss.core.wire.manifest import read_manifest

CRON = CronBackend()
PLAIN = Override()
FILE = "/etc/cron.d/shiftboss-myapp"
LOGS = "/infra/logs/projects/myapp"
ORDERS = "/var/lib/shiftboss/launch/cron/myapp.json"
PAUSED = "/var/lib/shiftboss/launch/cron/myapp.paused"
LOG = f"{LOGS}/scheduler.log"
BACKUP = schedule("backup", "0 2 * * *", ("/usr/bin/pg_dump", "shop"))


def server(zone: str = "Europe/Riga") -> SmallServer:
    made = SmallServer.with_directories("/etc/cron.d", "/infra/logs/projects")
    made.put("/etc/timezone", f"{zone}\n")
    return made


def wanted(*schedules: Schedule, system: bool = True) -> Wanted:
    of = schedules[0].project if schedules else project()
    return Wanted(of, schedules, site(system=system))


def plan(on: SmallServer, *schedules: Schedule, override: Override = PLAIN, system: bool = True) -> Plan:
    what = wanted(*schedules, system=system)
    return CRON.plan(what, on.answers(CRON.queries(what)), override)


def perform(on: SmallServer, *schedules: Schedule, override: Override = PLAIN) -> None:
    on.perform(plan(on, *schedules, override=override))


def conflict(on: SmallServer, *schedules: Schedule) -> Conflict:
    (only,) = plan(on, *schedules).conflicts
    return only


def test_first_schedule_makes_the_log_directory_the_log_and_the_file():
    made = plan(server(), schedule())
    write = made.actions[-1]
    assert made.actions[:-1] == (
        MakeDirectory("myapp", LOGS, 0, ACCOUNT.gid, 0o2750),
        CreateFile("myapp/scheduler", LOG, ACCOUNT.uid, ACCOUNT.gid, 0o640),
    )
    assert isinstance(write, WriteFile)
    assert (write.target, write.path, write.before, write.mode) == ("myapp", FILE, None, 0o644)
    assert write.content.endswith("schedule:run --no-ansi >> /infra/logs/projects/myapp/scheduler.log 2>&1\n")
    assert (made.conflicts, made.notes, made.restarts) == ((), (), ())


def test_second_plan_is_empty():
    on = server()
    perform(on, schedule(), BACKUP)
    again = plan(on, schedule(), BACKUP)
    assert again == Plan()


def test_order_of_schedules_does_not_matter():
    on = server()
    perform(on, schedule(), BACKUP)
    assert plan(on, BACKUP, schedule()).actions == ()


def test_one_schedule_less_rewrites_the_file_and_none_removes_it():
    on = server()
    perform(on, schedule(), BACKUP)
    (write,) = plan(on, schedule()).actions
    assert isinstance(write, WriteFile)
    assert "pg_dump" not in write.content
    (remove,) = plan(on).actions
    assert remove == RemoveFile("myapp", FILE, on.texts[FILE])
    perform(on)
    assert FILE not in on.texts
    assert plan(on) == Plan()


def test_without_schedules_only_our_file_is_asked_for():
    assert {getattr(query, "path", "") for query in CRON.queries(wanted())} == {FILE, ORDERS, PAUSED}


def test_holds_schedules_of_its_name_only():
    worker = Worker(project(), "queue", "laravel-queue", "cron", ("/usr/bin/php",))
    assert CRON.holds(schedule())
    assert not CRON.holds(schedule(backend="native"))
    assert not CRON.holds(worker)


def test_a_file_changed_by_hand_is_left_until_forced():
    on = server()
    perform(on, schedule())
    on.put(FILE, on.texts[FILE] + "0 3 * * * root /root/mine\n")
    assert conflict(on, schedule()).remedy == "--force"
    assert conflict(on).remedy == "--force"
    perform(on, schedule(), override=Override(force=True))
    assert "/root/mine" not in on.texts[FILE]


def test_a_foreign_file_is_left_until_adopted_and_then_a_copy_is_kept():
    on = server()
    on.put(FILE, "* * * * * root /root/mine\n")
    assert conflict(on, schedule()).remedy == "--adopt"
    assert plan(on, schedule(), override=Override(force=True)).conflicts
    assert plan(on) == Plan()
    adopted = plan(on, schedule(), override=Override(adopt=True)).actions[-1]
    assert isinstance(adopted, WriteFile)
    assert adopted.keep_copy == "/var/lib/shiftboss/adopted/shiftboss-myapp"
    assert adopted.before == "* * * * * root /root/mine\n"


def test_a_link_in_the_place_of_the_file_is_no_file_of_ours():
    on = server()
    on.facts[FILE] = PathFacts(0, 0, 0o777, "link")
    assert conflict(on, schedule()).remedy == ""


@pytest.mark.parametrize(("uid", "mode"), [(0, 0o664), (0, 0o646), (1001, 0o644)])
def test_a_file_that_cron_would_pass_over_is_written_again(uid: int, mode: int):
    on = server()
    perform(on, schedule())
    on.put(FILE, on.texts[FILE], uid, mode)
    made = plan(on, schedule())
    (write,) = made.actions
    assert isinstance(write, WriteFile)
    assert write.content == write.before == on.texts[FILE]
    assert f"{mode:04o}" in made.notes[0]


def test_a_file_with_variables_of_the_project_is_closed_to_other_users():
    of = project(environment=(("DB_PASSWORD", "secret"),))
    write = plan(server(), schedule(of=of)).actions[-1]
    assert isinstance(write, WriteFile)
    assert write.mode == 0o600


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("50-10 * * * *", "never"),
        ("0 22-2 * * *", "never"),
        ("* * * * fri-mon", "never"),
        ("0 0 * * 1#1", "1"),
        ("0 0 31 2 *", "never"),
        ("61 * * * *", "61"),
        ("* * * *", "4 fields"),
        ("@every 5m", "@every"),
        ("CRON_TZ=UTC 0 0 * * *", "time zone"),
        ("0 0 * * *\n* * * * * root id", "control character"),
        ("0 0 L * *", "L"),
    ],
)
def test_what_cron_would_refuse_or_never_run_is_refused_with_the_reason(expression: str, why: str):
    with pytest.raises(UserError, match=r"^cannot schedule myapp/odd at ") as refused:
        plan(server(), schedule("odd", expression))
    assert why in refused.value.message
    assert refused.value.hint.endswith((".", "'"))
    assert "\n" not in refused.value.message


def test_seconds_are_refused_and_the_native_backend_named():
    with pytest.raises(UserError, match="cannot schedule myapp/odd") as refused:
        plan(server(), schedule("odd", "*/10 * * * * *"))
    assert "native" in refused.value.hint


def test_reboot_is_allowed():
    assert "\n@reboot myapp_user cd " in plan(server(), schedule(cron="@reboot")).actions[-1].content  # type: ignore[union-attr]


def test_what_a_reader_may_not_expect_is_a_note():
    (note,) = plan(server(), schedule("odd", "0 0 1 * mon")).notes
    assert note.startswith("myapp/odd: ")


@pytest.mark.parametrize(
    ("zone", "same"), [("Europe/Riga", "Europe/Riga"), ("Etc/UTC", "UTC"), ("UTC", "Etc/UTC")]
)
def test_time_zone_of_the_server_is_allowed(zone: str, same: str):
    assert plan(server(zone), schedule(timezone=same)).actions


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vilnius"])
def test_another_time_zone_is_refused(zone: str):
    with pytest.raises(
        UserError, match=rf"in {zone}: cron has only the time zone of the server \(Europe/Riga\)"
    ):
        plan(server(), schedule(timezone=zone))


def test_any_time_zone_is_refused_where_that_of_the_server_is_unknown():
    on = server()
    del on.texts["/etc/timezone"]
    with pytest.raises(UserError, match="unknown"):
        plan(on, schedule(timezone="Europe/Riga"))


def test_environment_of_one_schedule_is_refused_because_it_would_hold_for_those_below():
    with pytest.raises(UserError, match="holds for all lines below") as refused:
        plan(server(), schedule(environment=(("TOKEN", "secret"),)))
    assert "secret" not in refused.value.message + refused.value.hint


def test_schedules_of_a_plain_user_are_refused_on_cron():
    with pytest.raises(UserError, match="root's") as refused:
        plan(server(), schedule(), system=False)
    assert "native" in refused.value.hint


def test_no_cron_directory_is_an_error_of_the_server():
    on = server()
    del on.facts["/etc/cron.d"]
    with pytest.raises(HostError, match=r"there is no directory /etc/cron\.d") as refused:
        plan(on, schedule())
    assert "apt install cron" in refused.value.hint


def test_a_log_that_the_project_user_cannot_open_stops_the_plan():
    on = server()
    on.facts |= {LOGS: PathFacts(0, ACCOUNT.gid, 0o2750, "directory"), LOG: PathFacts(0, 0, 0o644, "file")}
    found = conflict(on, schedule())
    assert (found.target, found.path, found.remedy) == ("myapp/scheduler", LOG, "")
    assert f"chown {ACCOUNT.name}:{ACCOUNT.group} {LOG}" in found.hint


def test_a_log_directory_that_is_a_link_is_a_conflict_without_remedy():
    on = server()
    on.facts[LOGS] = PathFacts(0, 0, 0o777, "link")
    assert (conflict(on, schedule()).path, conflict(on, schedule()).remedy) == (LOGS, "")


def test_a_log_policy_does_not_change_the_crontab():
    on = server()
    perform(on, schedule())
    other = schedule()
    assert plan(on, replace(other, log=replace(other.log, max_bytes=1))).actions == ()


# ---- what cron cannot express is refused or named, never dropped in silence


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"cron": "", "every": 90}, "cannot schedule myapp/backup every 90 seconds on cron"),
        ({"cron": "", "after": "myapp/dump"}, 'cannot schedule myapp/backup after "myapp/dump" on cron'),
        ({"dst": "skip", "asked": ("dst",)}, "cannot respect dst of myapp/backup"),
        ({"only_if": ("/bin/true",), "asked": ("only_if",)}, "cannot respect only_if of myapp/backup"),
        ({"policy": Policy(catch_up="once"), "asked": ("catch_up",)}, "cannot respect catch_up"),
        (
            {"policy": Policy(deadline_seconds=5), "asked": ("starting_deadline",)},
            "cannot respect starting_deadline",
        ),
        ({"policy": Policy(jitter_seconds=5), "asked": ("jitter",)}, "cannot respect jitter"),
        ({"policy": Policy(spread=True), "asked": ("spread",)}, "cannot respect spread"),
        ({"policy": Policy(retries=1), "asked": ("retries",)}, "cannot respect retries"),
    ],
)
def test_wishes_that_cron_cannot_respect_are_refused(more: dict[str, object], complaint: str) -> None:
    values = {"cron": "0 2 * * *"} | more
    with pytest.raises(UserError) as refused:
        plan(server(), schedule("backup", **values))  # type: ignore[arg-type]
    assert complaint in refused.value.message
    assert "native" in refused.value.hint


@pytest.mark.parametrize(
    ("policy", "asked", "notes"),
    [
        (Policy(timeout_seconds=60), ("timeout",), ["timeout"]),
        (
            Policy(overlap="queue", expect_within=60),
            ("overlap", "expect_within"),
            ["overlap", "expect_within"],
        ),
        (Policy(overlap="allow"), ("overlap",), []),
        (Policy(), (), []),
        (Policy(catch_up="none", retries=0), ("catch_up", "retries", "dst"), []),
    ],
)
def test_what_cron_does_not_watch_is_named(policy: Policy, asked: tuple[str, ...], notes: list[str]) -> None:
    made = plan(server(), schedule("backup", "0 2 * * *", policy=policy, asked=asked))
    assert [note.split()[1] for note in made.notes] == notes
    assert all(note.startswith("myapp/backup: ") for note in made.notes)


# ---- lines that call the launcher

COMMAND = "/opt/python -I -S /opt/launcher/main.py --orders /var/lib/shiftboss/launch/cron --run /var/lib/shiftboss/spool"


def launched(name: str = "backup", **more: object) -> Schedule:
    return schedule(name, "0 2 * * *", ("/usr/bin/pg_dump", "shop"), plain=False, **more)  # type: ignore[arg-type]


def written(made: Plan) -> dict[str, WriteFile]:
    return {action.path: action for action in made.actions if isinstance(action, WriteFile)}


def test_a_line_calls_the_launcher_and_its_orders_say_the_rest() -> None:
    asked = launched(
        policy=Policy(timeout_seconds=60, overlap="queue"),
        environment=(("TOKEN", "secret"),),
        limits=Limits(memory_bytes=1 << 26),
    )
    on = server()
    files = written(plan(on, asked))
    assert files[FILE].content.splitlines()[1:] == [
        "",
        "# myapp/backup",  # everybody can read this file: its command is in the orders alone
        f"0 2 * * * root {COMMAND} myapp/backup",
    ]
    assert (files[FILE].mode, files[ORDERS].mode) == (0o644, 0o600)
    [entry] = read_manifest(files[ORDERS].content.encode(), "myapp")
    assert (entry.argv, entry.environment) == (("/usr/bin/pg_dump", "shop"), {"TOKEN": "secret"})
    assert entry.policy.log_path == f"{LOGS}/backup.log"
    assert entry.policy.options == {"overlap": "queue", "timeout_seconds": 60, "keeps_output": 0}
    assert entry.confinement.v2["memory.max"] == str(1 << 26)
    perform(on, asked)
    assert plan(on, asked) == Plan()
    perform(on)
    assert {FILE, ORDERS}.isdisjoint(on.texts)


def test_variables_of_a_project_reach_plain_lines_only() -> None:
    """A library that the project may change must not be loaded into a program of root."""
    of = replace(project(), environment=(("LD_PRELOAD", "/srv/myapp/evil.so"),))
    text = written(plan(server(), launched(of=of), schedule(of=of)))[FILE].content
    jobs = {
        job.command.rpartition(" ")[2]: dict(job.environment)
        for job in read_crontab(text, {ACCOUNT.name, "root"})
    }
    assert jobs["myapp/backup"] == {}
    assert jobs["2>&1"]["LD_PRELOAD"] == "/srv/myapp/evil.so"


def test_what_the_launcher_does_is_not_named_as_missing() -> None:
    asked = ("overlap", "timeout", "stop_wait", "expect_within")
    made = plan(server(), launched(asked=asked, policy=Policy(timeout_seconds=5, expect_within=9)))
    assert [note.split()[1] for note in made.notes] == ["expect_within"]


def test_a_plain_line_cannot_hold_limits_and_says_how_to_have_them() -> None:
    with pytest.raises(UserError, match="a plain line of cron cannot hold limits") as refused:
        plan(server(), schedule(limits=Limits(memory_bytes=1 << 26)))
    assert "plain = true" in refused.value.hint
