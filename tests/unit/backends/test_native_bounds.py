"""What a plan of the native backend says about limits and isolation, on a server in memory."""

import pytest
from msgspec.structs import replace
from tests.shop import CONFIG, PROJECT_FILE, QUEUE, SCHEDULER, Shop

from shiftboss.core.limits import Ground, limits_of
from shiftboss.core.spec import Limits
from shiftboss.core.wire.entry import Entry
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.setup.catalog import load_catalog
from shiftboss.setup.report import report
from shiftboss.setup.units import Resolved, resolve

MANIFEST = "/var/lib/shiftboss/manifest/shop.json"
V1 = Ground(v1=frozenset({"memory", "cpu", "pids", "blkio"}))


def native_shop(ground: Ground | None = None) -> Shop:
    shop = Shop()
    shop.machine.files.write(CONFIG, '[backend]\nworkers = "native"\nschedules = "cron"\n')
    if ground:
        shop.machine.processes.offered = ground
    return shop


def entry(shop: Shop) -> Entry:
    [found] = read_manifest(shop.machine.files.text(MANIFEST).encode(), "shop")
    return found


def test_a_worker_is_isolated_by_default_and_has_no_limits() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)

    made = entry(shop)
    assert made.umask == 0o027
    assert made.rlimits == {"CORE": (0, 0)}
    assert [row[0] for row in made.confinement.steps] == [
        "oom_score", "keys", "mounts", "hide", "hide", "outlying", "proc", "no_new_privs",
    ]  # fmt: skip
    assert limits_of(made) == Limits()


def test_limits_of_the_request_reach_file_manifest_and_plan() -> None:
    shop = native_shop(V1)

    change = shop.set_up(replace(QUEUE, memory="256M", memory_soft="200M", cpu="50%", tasks_max=40))

    assert 'memory = "256M"' in shop.machine.files.text(PROJECT_FILE)
    made = entry(shop)
    assert made.confinement.v2["memory.max"] == str(256 * 1024**2)
    assert made.confinement.v1["cpu.cfs_quota_us"] == "50000"
    assert made.policy.memory_soft_bytes == 200 * 1024**2
    assert limits_of(made) == Limits(256 * 1024**2, 200 * 1024**2, 50, 40)
    assert [note for note in change.plan.notes if "shop/queue" in note] == [
        "shop/queue: memory 256M, held by cgroup v1",
        "shop/queue: memory_soft 200M, held by engine",
        "shop/queue: cpu 50%, held by cgroup v1",
        "shop/queue: tasks_max 40, held by cgroup v1",
    ]


def test_only_what_changes_is_told() -> None:
    shop = native_shop()
    shop.set_up(replace(QUEUE, memory="256M", cpu="50"))

    again = shop.prepared(replace(QUEUE, memory="128M"))
    assert again.plan.notes == ("shop/queue: memory 128M instead of 256M, held by cgroup v2",)
    assert again.plan.restarts == ("shop/queue:1",)

    text = shop.machine.files.text(PROJECT_FILE).replace('cpu = "50"\n', "")
    shop.machine.files.write(PROJECT_FILE, text)
    assert shop.prepared(QUEUE).plan.notes == ("shop/queue: cpu 50% is taken away",)


@pytest.mark.parametrize(
    ("ground", "words"),
    [
        (Ground(), "there is no memory cgroup"),
        (Ground(root=False), "not hidden: that needs root"),
        (Ground(namespaces=False), "not hidden: no mount namespaces here"),
    ],
)
def test_what_the_machine_cannot_give_is_told(ground: Ground, words: str) -> None:
    shop = native_shop(ground)
    assert words in " ".join(shop.set_up(replace(QUEUE, memory="256M")).plan.notes)
    assert shop.prepared(QUEUE).plan.notes == ()


def test_the_status_names_the_limits_and_who_holds_them() -> None:
    shop = native_shop(V1)
    change = shop.set_up(replace(QUEUE, memory="256M", cpu="50"))
    assert change

    found = report(shop.machine, shop.site, _resolved(shop))

    [worker] = found.projects[0].workers
    assert [(x.limit, x.value, x.held_by) for x in worker.limits] == [
        ("memory", "256M", "cgroup v1"),
        ("cpu", "50%", "cgroup v1"),
    ]


def test_the_budget_of_a_project_is_told_once_and_is_in_the_status_of_each_worker() -> None:
    shop = native_shop()
    shop.set_up(QUEUE)
    shop.machine.files.write(
        PROJECT_FILE, shop.machine.files.text(PROJECT_FILE) + '[project.budget]\nmemory = "1G"\n'
    )

    assert shop.prepared(QUEUE).plan.notes == ("shop: budget of memory 1G, held by cgroup v2",)
    shop.set_up(QUEUE)
    [worker] = report(shop.machine, shop.site, _resolved(shop)).projects[0].workers
    assert [(x.limit, x.value, x.held_by) for x in worker.limits] == [("budget memory", "1G", "cgroup v2")]


@pytest.mark.parametrize(
    ("workers", "schedules"), [("supervisor", "cron"), ("supervisor", "native"), ("native", "cron")]
)
def test_where_nobody_starts_it_afresh_the_plan_says_so_once(workers: str, schedules: str) -> None:
    shop = Shop()
    shop.machine.files.write(CONFIG, f'[backend]\nworkers = "{workers}"\nschedules = "{schedules}"\n')
    soft: dict[str, str | int] = {"memory_soft": "200M"}
    requests = (replace(QUEUE, memory_soft="200M"), replace(SCHEDULER, settings=soft))

    change = shop.set_up(*requests)

    slowed = "held by cgroup v2: nobody starts it afresh there: the kernel slows it down from here on"
    queue = "held by engine" if workers == "native" else slowed
    assert sorted(note for note in change.plan.notes if "memory_soft" in note) == [
        f"shop/queue: memory_soft 200M, {queue}",
        f"shop/scheduler: memory_soft 200M, {slowed}",
    ]
    assert not [note for note in shop.prepared(*requests).plan.notes if "memory_soft" in note]


def _resolved(shop: Shop) -> list[Resolved]:
    catalog = load_catalog(shop.machine.files, shop.site)
    return [resolve(shop.machine, shop.site, "shop", catalog.require("shop"))]
