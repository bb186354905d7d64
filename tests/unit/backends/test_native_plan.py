"""The plans of the native backend, and what the use cases make of them on a server in memory."""

import json
from collections.abc import Mapping

import pytest
from msgspec.structs import replace
from tests.shop import ADOPT, CONFIG, LOGS, PROJECT_FILE, QUEUE, ROOT, SCHEDULER, Shop, deploy, kinds

from shiftboss.backends.native_live import live
from shiftboss.backends.native_manifest import entry_of, plain_entry, render
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.facts import EngineProcess, EngineUnit
from shiftboss.core.plan import ChangeOwner, ReloadEngine
from shiftboss.core.spec import Account, Project, Worker
from shiftboss.core.wire.entry import Grants, with_revision
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.core.wire.values import WireError
from shiftboss.host.fake import ENGINE, fake_machine
from shiftboss.host.fake_supervisor import Script
from shiftboss.setup.control import restart, start, stop
from shiftboss.setup.live import live_workers
from shiftboss.setup.report import report
from shiftboss.setup.selection import whole
from shiftboss.setup.units import Resolved

MANIFEST = "/var/lib/shiftboss/manifest/shop.json"
QUEUES = '[workers.queue]\npreset = "laravel-queue"\n[workers.slow]\npreset = "laravel-queue"\n'


def native_shop() -> Shop:
    """Return a server whose workers run on our own engine."""
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "native"\nschedules = "cron"\n')
    return shop


def states(shop: Shop) -> dict[str, list[str]]:
    """Return the states of all processes by unit."""
    facts = shop.machine.engine.facts()
    assert facts
    return {unit.address: [process.state for process in unit.processes] for unit in facts.units}


def pids(shop: Shop) -> dict[str, list[int | None]]:
    """Return the pids of all processes by unit."""
    facts = shop.machine.engine.facts()
    assert facts
    return {unit.address: [process.pid for process in unit.processes] for unit in facts.units}


def the_reload(change_plan: object) -> ReloadEngine:
    """Return the one reload of a plan."""
    [found] = [a for a in change_plan.actions if isinstance(a, ReloadEngine)]  # type: ignore[attr-defined]
    return found


def test_a_set_up_worker_runs_and_a_second_time_nothing_changes() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)

    assert states(shop) == {"shop/queue": ["RUNNING"]}
    again = shop.prepared(QUEUE)
    assert again.plan.actions == ()
    assert again.plan.untouched == ("shop/queue",)


def test_the_manifest_is_read_by_root_only_and_says_what_runs() -> None:
    shop = native_shop()
    shop.write_project(
        '[project]\nuser = "shop_user"\nenvironment = { TOKEN = "hush", WHO = "project" }\n'
        '[workers.queue]\npreset = "laravel-queue"\nprocesses = 2\nenvironment = { WHO = "worker" }\n'
        'log_max_size = "1M"\n'
    )
    shop.apply()

    node = shop.machine.files.node(MANIFEST)
    assert node is not None
    assert (node.uid, node.mode) == (0, 0o600)
    [entry] = read_manifest(node.data, "shop")
    assert entry.address == "shop/queue"
    assert entry.argv[:3] == ("/usr/bin/php", "artisan", "queue:work")
    assert (entry.user, entry.uid, entry.gid) == ("shop_user", 1500, 1500)
    assert (entry.directory, entry.current) == (f"{ROOT}/current", f"{ROOT}/current")
    assert entry.environment == {"TOKEN": "hush", "WHO": "worker"}
    assert (entry.processes_max, entry.policy.processes) == (2, 2)
    assert (entry.stop.signal, entry.stop.wait_seconds, entry.stop.scope) == ("TERM", 73.0, "main")
    assert entry.policy.log_path == f"{LOGS}/queue.log"
    assert (entry.policy.log_max_bytes, entry.policy.start_seconds) == (1024 * 1024, 3.0)
    assert entry.policy.exit_meanings["12"] == "memory limit reached, recycled"


def test_restart_policy_env_file_and_the_cap_of_all_logs_reach_the_manifest() -> None:
    shop = native_shop()
    shop.write_project(
        '[project]\nuser = "shop_user"\nlog_total = "64M"\n'
        '[workers.queue]\npreset = "laravel-queue"\nrestart = "on-failure"\nrestart_limit = 7\nenv_file = "shared/.env"\n'
    )
    shop.apply()

    [entry] = read_manifest(shop.machine.files.text(MANIFEST).encode(), "shop")
    assert entry.env_file == f"{ROOT}/shared/.env"
    assert (entry.policy.restart, entry.policy.restart_limit) == ("on-failure", 7)
    assert entry.policy.log_total_bytes == 64 * 1024 * 1024


def test_who_may_control_a_project_reaches_the_manifest_by_number_and_restarts_nothing() -> None:
    shop = native_shop()
    worker = '[workers.queue]\npreset = "laravel-queue"\nprocesses = 2\n'
    shop.write_project(f'[project]\nuser = "shop_user"\n{worker}')
    shop.apply()
    before = pids(shop)
    ann, eve = (shop.machine.accounts.add(name, uid) for name, uid in (("ann", 2001), ("eve", 2002)))
    shop.machine.accounts.groups["devs"] = 3001
    shop.write_project(
        '[project]\nuser = "shop_user"\noperators = ["ann", "@devs", "ann"]\nviewers = ["eve", "@ann"]\n'
        f"{worker}scale_max = 6\n"
    )

    change = shop.apply()

    assert change.plan.restarts == ()
    assert pids(shop) == before
    [entry] = read_manifest(shop.machine.files.text(MANIFEST).encode(), "shop")
    assert entry.policy.grants == Grants((ann.uid,), (3001,), (eve.uid,), (ann.gid,))
    assert (entry.processes_max, entry.policy.processes) == (6, 2)
    assert shop.apply().plan.actions == ()


@pytest.mark.parametrize(
    ("line", "key", "words", "hint"),
    [
        ('operators = ["bob"]', "operators", "there is no user 'bob'", "Create"),
        ('viewers = ["@bobs"]', "viewers", "there is no group 'bobs'", "Create"),
        ('viewers = ["devs"]', "viewers", "there is no user 'devs'", "@devs"),
        ('viewers = ["@"]', "viewers", "there is no group ''", "Create"),
    ],
)
def test_a_person_that_nobody_knows_is_refused(line: str, key: str, words: str, hint: str) -> None:
    shop = native_shop()
    shop.machine.accounts.groups["devs"] = 3001
    shop.write_project(f'[project]\nuser = "shop_user"\n{line}\n[workers.queue]\npreset = "laravel-queue"\n')
    with pytest.raises(UserError, match=words) as caught:
        shop.apply()
    assert caught.value.where == f"{PROJECT_FILE}: project.{key}"
    assert hint in caught.value.hint
    assert shop.machine.files.node(MANIFEST) is None


@pytest.mark.parametrize("numbers", [(-1,), (2**32 - 1,), (True,), ("0",), (1.5,)])
def test_a_manifest_with_an_impossible_operator_is_refused(numbers: tuple[object, ...]) -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    raw = json.loads(shop.machine.files.text(MANIFEST))
    for key in Grants._fields:
        broken = json.loads(json.dumps(raw))
        broken["entries"][0]["policy"]["grants"][key] = list(numbers)
        with pytest.raises(WireError):
            read_manifest(json.dumps(broken).encode(), "shop")


def test_a_worker_that_was_scaled_without_its_file_has_that_many_processes() -> None:
    shop = native_shop()
    shop.set_up(replace(QUEUE, processes=2))
    worker = shop.resolved().units[0]
    assert isinstance(worker, Worker)
    unit = EngineUnit("shop/queue", 1, "r", (EngineProcess(1, "RUNNING"),), override=1)
    assert [process.process for process in live(worker, unit)] == [1]
    assert [process.process for process in live(worker, replace(unit, override=None))] == [1, 2]
    assert [process.process for process in live(worker, replace(unit, override=3))] == [1, 2, 3]


@pytest.mark.parametrize("scaled", [1, 3])
def test_a_scale_without_the_file_stays_until_the_file_says_another_number(scaled: int) -> None:
    shop = native_shop()
    shop.set_up(replace(QUEUE, processes=2))
    shop.machine.engine.scale("shop/queue", scaled)
    assert shop.prepared_apply().plan.actions == ()

    text = shop.machine.files.text(PROJECT_FILE)
    shop.write_project(text.replace("processes = 2", "processes = 2\nscale_max = 5"))
    change = shop.apply()
    assert [(r.starts, r.ends) for r in change.plan.actions if isinstance(r, ReloadEngine)] == [((), ())]
    assert len(states(shop)["shop/queue"]) == scaled

    shop.set_up(replace(QUEUE, processes=4))
    assert states(shop)["shop/queue"] == ["RUNNING"] * 4


def test_one_process_more_restarts_none() -> None:
    shop = native_shop()
    shop.set_up(replace(QUEUE, processes=2))
    before = pids(shop)["shop/queue"]

    change = shop.set_up(replace(QUEUE, processes=3))

    assert change.plan.restarts == ()
    assert pids(shop)["shop/queue"][:2] == before
    assert states(shop)["shop/queue"] == ["RUNNING"] * 3


def test_one_process_less_ends_the_last_one() -> None:
    shop = native_shop()
    shop.set_up(replace(QUEUE, processes=3))
    before = pids(shop)["shop/queue"]

    change = shop.set_up(replace(QUEUE, processes=2))

    assert the_reload(change.plan).ends == ("shop/queue:3",)
    assert pids(shop)["shop/queue"] == before[:2]


def test_only_the_changed_unit_restarts() -> None:
    shop = native_shop()
    shop.write_project(QUEUES)
    shop.apply()
    before = pids(shop)

    shop.write_project(QUEUES + "options = { sleep = 9 }\n")
    change = shop.apply()

    assert the_reload(change.plan).restarts == ("shop/slow:1",)
    assert the_reload(change.plan).ends == ()
    assert change.plan.untouched == ("shop/queue",)
    assert pids(shop)["shop/queue"] == before["shop/queue"]
    assert pids(shop)["shop/slow"] != before["shop/slow"]


def test_what_needs_no_restart_restarts_nothing() -> None:
    shop = native_shop()
    shop.write_project(QUEUES)
    shop.apply()
    before = pids(shop)

    shop.write_project(QUEUES + 'log_max_size = "2M"\nstop_wait = 99\n')
    change = shop.apply()

    assert kinds(change.plan) == ["write-file", "reload-engine"]
    assert change.plan.restarts == ()
    assert pids(shop) == before
    assert shop.prepared_apply().plan.actions == ()


def test_a_removed_unit_ends_and_the_other_runs_on() -> None:
    shop = native_shop()
    shop.write_project(QUEUES)
    shop.apply()
    before = pids(shop)

    change = shop.remove("slow")

    assert the_reload(change.plan).ends == ("shop/slow:1",)
    assert the_reload(change.plan).stop_wait_seconds == 73
    assert pids(shop) == {"shop/queue": before["shop/queue"]}


def test_a_removed_project_leaves_no_manifest() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.remove()

    assert states(shop) == {}
    assert shop.machine.files.node(MANIFEST) is None
    assert shop.machine.files.node(PROJECT_FILE) is None


def test_without_a_running_engine_it_is_written_and_said_how_to_start() -> None:
    shop = native_shop()
    shop.machine.engine.down = True

    with pytest.raises(HostError, match="shop is set up, but shiftboss is not running"):
        shop.set_up(QUEUE)

    assert shop.machine.files.node(MANIFEST) is not None
    assert shop.machine.files.node(PROJECT_FILE) is not None
    with pytest.raises(HostError, match="not running"):  # the second time, too: it still does not run
        shop.set_up(QUEUE)


def test_a_manifest_that_the_keeper_refuses_is_an_error_of_its_project_only() -> None:
    shop = native_shop()
    shop.machine.engine.refuses = {"blog.json": "two entries have one address"}
    shop.set_up(QUEUE)

    shop.machine.engine.refuses = {"shop.json": "two entries have one address"}
    with pytest.raises(HostError, match="the keeper refuses its manifest: two entries"):
        shop.set_up(replace(QUEUE, processes=2))


def test_a_project_can_be_removed_while_no_engine_runs() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.machine.engine.down = True

    shop.remove()

    assert shop.machine.files.node(MANIFEST) is None


def test_a_reload_that_was_interrupted_is_made_good_by_the_next_run() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.machine.faults.plant("engine.reload", HostError("interrupted"))
    with pytest.raises(HostError):
        shop.set_up(replace(QUEUE, processes=2))
    assert len(pids(shop)["shop/queue"]) == 1

    shop.apply()

    assert states(shop)["shop/queue"] == ["RUNNING", "RUNNING"]


def test_a_worker_that_does_not_stay_up_fails_with_its_reason() -> None:
    shop = native_shop()
    shop.machine.engine.scripts["shop/queue"] = Script(ends="BACKOFF", exit_status=7)

    with pytest.raises(HostError, match=r"shop/queue:1 does not stay up \(BACKOFF\): exit 7") as error:
        shop.set_up(QUEUE)

    assert "shiftboss keeps trying" in error.value.hint


def test_what_was_stopped_by_hand_stays_so_on_apply_and_is_said() -> None:
    shop = native_shop()
    shop.write_project(QUEUES)
    shop.apply()
    shop.machine.engine.stop("shop/slow")

    change = shop.apply()

    assert change.plan.actions == ()
    assert any("shop/slow is stopped by hand" in note for note in change.plan.notes)
    assert states(shop) == {"shop/queue": ["RUNNING"], "shop/slow": ["STOPPED"]}


def test_what_was_given_up_is_started_again_by_apply() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.machine.engine.scripts["shop/queue"] = Script(ends="FATAL")
    shop.machine.engine.restart("shop/queue")
    assert states(shop)["shop/queue"] == ["FATAL"]
    shop.machine.engine.scripts.clear()

    change = shop.apply()

    assert kinds(change.plan) == ["start-process"]
    assert states(shop)["shop/queue"] == ["RUNNING"]


# ---- logs


def test_the_log_directory_is_the_engines_and_the_group_is_the_projects() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)

    node = shop.machine.files.node(LOGS)
    assert node is not None
    assert (node.uid, node.gid, node.mode) == (ENGINE[0], 1500, 0o2750)


def test_a_log_directory_of_another_backend_of_ours_is_taken_over() -> None:
    shop = native_shop()
    shop.machine.files.directory(LOGS, uid=0, gid=1500, mode=0o2750)
    shop.machine.files.write(f"{LOGS}/queue.log", "old\n", uid=1500, gid=1500, mode=0o640)
    shop.set_up(QUEUE)

    node, log = shop.machine.files.node(LOGS), shop.machine.files.node(f"{LOGS}/queue.log")
    assert node is not None
    assert log is not None
    assert (node.uid, node.mode) == (ENGINE[0], 0o2750)
    assert (log.uid, log.gid, log.mode, log.data) == (ENGINE[0], 1500, 0o640, b"old\n")


def test_a_log_directory_of_the_project_is_taken_over_only_if_that_is_asked() -> None:
    shop = native_shop()
    shop.machine.files.directory(LOGS, uid=1500, gid=1500, mode=0o755)
    shop.machine.files.write(f"{LOGS}/laravel.log", "its own\n", uid=1500, gid=1500)

    with pytest.raises(HostError, match=f"{LOGS} belongs to shop_user") as error:
        shop.set_up(QUEUE)
    assert "--adopt" in error.value.hint
    assert shop.machine.files.node(MANIFEST) is None

    shop.set_up(QUEUE, override=ADOPT)
    node, own = shop.machine.files.node(LOGS), shop.machine.files.node(f"{LOGS}/laravel.log")
    assert node is not None
    assert own is not None
    assert (node.uid, node.gid, node.mode) == (
        ENGINE[0],
        1500,
        0o2775,
    )  # the project writes through its group
    assert own.uid == 1500


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_stands_where_the_log_belongs_is_refused(kind: str) -> None:
    shop = native_shop()
    shop.machine.files.directory(LOGS, uid=ENGINE[0], gid=1500, mode=0o2750)
    if kind == "link":
        shop.machine.files.link(f"{LOGS}/queue.log", "/etc/passwd", uid=1500)
    else:
        shop.machine.files.directory(f"{LOGS}/queue.log", uid=1500)

    with pytest.raises(HostError, match=r"queue\.log"):
        shop.set_up(QUEUE, override=ADOPT)


# ---- beside other backends


def test_moving_from_supervisor_ends_it_there_before_it_starts_here() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    text = shop.machine.files.text(PROJECT_FILE)
    shop.write_project(text + 'backend = "native"\n')

    seen: list[dict[str, str]] = []
    reload = shop.machine.engine.reload

    def watched() -> Mapping[str, str]:
        seen.append(shop.machine.supervisord.states())
        return reload()

    shop.machine.engine.reload = watched  # type: ignore[method-assign]
    shop.apply()

    assert seen == [{}]  # Supervisor had ended it when the engine was told
    assert states(shop) == {"shop/queue": ["RUNNING"]}


def test_moving_to_supervisor_ends_it_here_before_it_starts_there() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    text = shop.machine.files.text(PROJECT_FILE)
    shop.write_project(text + 'backend = "supervisor"\n')

    change = shop.apply()

    assert the_reload(change.plan).ends == ("shop/queue:1",)
    assert states(shop) == {}
    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}
    assert shop.machine.files.node(MANIFEST) is None


def test_a_move_that_was_interrupted_waits_for_the_old_copy() -> None:
    """The manifest was gone already, the engine was not asked, and Supervisor started a second copy."""
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.write_project(shop.machine.files.text(PROJECT_FILE) + 'backend = "supervisor"\n')
    shop.machine.files.remove(MANIFEST)

    change = shop.apply()

    assert the_reload(change.plan).ends == ("shop/queue:1",)
    assert states(shop) == {}
    assert shop.machine.supervisord.states() == {"shop_queue:shop_queue": "RUNNING"}


def test_a_server_without_supervisor_gets_our_own_engine() -> None:
    machine = fake_machine()
    machine.supervisors.installed = False
    shop = Shop(machine)
    shop.set_up(QUEUE)

    assert shop.machine.files.text(CONFIG) == '[backend]\nworkers = "native"\n'
    assert states(shop) == {"shop/queue": ["RUNNING"]}


def test_projects_do_not_disturb_each_other() -> None:
    shop = native_shop()
    deploy(shop.machine, "blog", uid=1501)
    shop.set_up(QUEUE)
    before = pids(shop)["shop/queue"]
    shop.set_up(QUEUE, project="blog")

    assert pids(shop)["shop/queue"] == before
    assert states(shop)["blog/queue"] == ["RUNNING"]


# ---- control


def test_stop_start_and_restart() -> None:
    shop = native_shop()
    shop.set_up(replace(QUEUE, processes=2))
    worker = whole(shop.resolved().units[0])  # type: ignore[arg-type]
    before = pids(shop)["shop/queue"]

    restarted = restart(shop.machine, shop.site, [worker], shop.told)
    assert [r.old_pid for r in restarted] == before
    assert [r.new_pid for r in restarted] == pids(shop)["shop/queue"]
    assert (
        "stop shop/queue:1" not in shop.machine.engine.asked
    )  # it is one request: an interruption stops nothing

    stop(shop.machine, shop.site, [worker], shop.told)
    assert states(shop)["shop/queue"] == ["STOPPED", "STOPPED"]
    start(shop.machine, shop.site, [worker], shop.told)
    assert states(shop)["shop/queue"] == ["RUNNING", "RUNNING"]


def test_status_without_an_engine_says_so() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.machine.engine.down = True
    live_workers.cache_clear()

    found = report(shop.machine, shop.site, [Resolved(shop.resolved().project, shop.resolved().units)])

    assert [p.state for p in found.projects[0].workers[0].processes] == [None]
    [error] = found.errors
    assert "shiftboss is not running" in str(error)
    assert not found.as_desired


def test_the_manifest_never_holds_what_json_cannot() -> None:
    """Bytes of a name that are no UTF-8 would make the keeper refuse the whole file."""
    shop = native_shop()
    shop.set_up(QUEUE)
    assert json.loads(shop.machine.files.text(MANIFEST))["project"] == "shop"


def test_the_owner_of_an_old_engine_gives_the_directory_to_the_new_one() -> None:
    shop = native_shop()
    shop.machine.files.directory(LOGS, uid=53_971, gid=1500, mode=0o2750)

    change = shop.prepared(QUEUE)

    assert [a for a in change.plan.actions if isinstance(a, ChangeOwner)] == [
        ChangeOwner("shop", LOGS, "directory", ENGINE[0], 1500, 0o2750)
    ]


def test_a_worker_has_the_groups_of_a_login_its_own_among_them() -> None:
    account = Account("shop_user", 1500, 1501, "shop_user", "/home/shop_user", groups=(60, 1501))
    site = native_shop().site

    for groups, entry_groups in (((60, 1501), (60, 1501)), ((60,), (60, 1501)), ((), (1501,))):
        worker = Worker(
            Project("shop", ROOT, LOGS, replace(account, groups=groups)),
            "queue",
            "custom",
            "native",
            ("/bin/true",),
        )
        assert entry_of(worker, site).groups == entry_groups


def test_logs_of_schedules_are_rotated_in_a_directory_of_the_engine_too() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)

    change = shop.set_up(SCHEDULER)

    assert not [note for note in change.plan.notes if "rotates" in note]
    text = shop.machine.files.text("/etc/logrotate.d/shiftboss-shop")
    assert "su root shop_user" in text
    assert "queue.log" not in text


def test_nothing_is_ended_at_supervisor_for_an_engine_that_does_not_run() -> None:
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "supervisor"\nschedules = "cron"\n')
    shop.set_up(QUEUE)
    before = shop.machine.supervisord.states()
    shop.machine.engine.down = True
    shop.write_project(shop.machine.files.text(PROJECT_FILE) + 'backend = "native"\n')

    with pytest.raises(HostError, match="cannot move shop/queue: shiftboss is not running"):
        shop.apply()

    assert shop.machine.supervisord.states() == before
    assert shop.machine.files.node(MANIFEST) is None


def test_a_project_that_the_keeper_could_not_read_is_refused_before_anything_is_written() -> None:
    project = Project("shop", ROOT, LOGS, Account("shop_user", 1500, 1501, "shop_user", "/home/shop_user"))
    words = ("/usr/bin/php", *("x" * 1000 for _ in range(100)))
    entry = with_revision(plain_entry(Worker(project, "w0", "custom", "native", words)))
    entries = tuple(entry._replace(address=f"shop/w{number}") for number in range(50))

    with pytest.raises(UserError, match=r"cannot run 50 units of shop: .* larger than 4 MiB"):
        render(project, entries)
    assert render(project, entries[:10])


def test_a_schedule_that_follows_one_of_cron_is_refused_for_it_would_never_run() -> None:
    shop = native_shop()
    backup = '[schedules.backup]\ncron = "0 2 * * *"\ncommand = "php artisan x"\n'
    upload = '[schedules.upload]\nafter = "backup"\ncommand = "php artisan x"\nbackend = "native"\n'
    project = '[project]\nuser = "shop_user"\n'
    shop.write_project(f"{project}{backup}{upload}")

    with pytest.raises(UserError, match="cannot schedule shop/upload after shop/backup: that one is not"):
        shop.apply()

    shop.write_project(f'{project}{backup}backend = "native"\n{upload}')
    shop.apply()
    assert {"shop/backup", "shop/upload"} <= states(shop).keys()
