"""Levels of isolation and the steps they become; what a machine or a layout cannot give."""

from contextlib import nullcontext

import pytest

from shiftboss.core.errors import UserError
from shiftboss.core.isolation import (
    Places,
    confined,
    level_of,
    needs_launcher,
    places,
    refuse_bounds,
    shortfalls,
    steps,
)
from shiftboss.core.limits import Ground
from shiftboss.core.spec import Account, Isolation, Limits, Project, Site, Worker
from shiftboss.core.wire.entry import Confinement, Entry, Fallback, revision, with_revision
from shiftboss.core.wire.manifest import manifest_text, read_manifest
from shiftboss.core.wire.values import WireError

SITE = Site(
    config_file="",
    projects_d="",
    state="/var/lib/shiftboss",
    run="",
    projects="/infra/projects",
    logs="/infra/logs/projects",
    user="{project}_user",
    system=True,
)
ACCOUNT = Account("shop_user", 2001, 2001, "shop_user", "/home/shop_user")
SHOP = Project("shop", "/infra/projects/shop", "/infra/logs/projects/shop", ACCOUNT)
HIDDEN = (
    ("hide", "/infra/logs/projects", "/infra/logs/projects/shop"),
    ("hide", "/infra/projects", "/infra/projects/shop"),
)
ENTRY = Entry("shop/queue", ("php",), "shop_user", 2001, 2001, "/home/shop_user", "/d", "/d", "")


def names(level: str, asked: Isolation = Isolation()) -> list[str]:  # noqa: B008 -- frozen
    return [row[0] for row in steps(asked, level_of(Isolation(level), "none"), places(SHOP, SITE))]  # type: ignore[arg-type]


def worker(limits: Limits = Limits(), isolation: Isolation = Isolation(), project: Project = SHOP) -> Worker:  # noqa: B008
    return Worker(project, "queue", "custom", "native", ("/bin/true",), limits=limits, isolation=isolation)


def test_none_does_nothing() -> None:
    assert names("none") == []


def test_standard_hides_others_and_forbids_new_privileges() -> None:
    found = steps(Isolation(), "standard", places(SHOP, SITE))
    outlying = ("outlying", "/var/lib/shiftboss/outlying", SHOP.root, SHOP.logs, ACCOUNT.home)
    assert found == (
        ("oom_score", "200"),
        ("keys",),
        ("mounts",),
        *HIDDEN,
        outlying,
        ("proc",),
        ("no_new_privs",),
    )


def test_strict_adds_to_standard() -> None:
    found = names("strict")
    assert [name for name in found if name in names("standard")] == names("standard")
    assert {"read_only", "tmp", "devices", "capabilities"} <= set(found)


def test_strict_leaves_shared_and_logs_writable() -> None:
    rows = steps(Isolation(), "strict", places(SHOP, SITE))
    assert ("read_only", "/infra/projects/shop/shared", "/infra/logs/projects/shop") in rows


def test_no_new_privs_can_be_taken_away_or_asked_for_alone() -> None:
    assert "no_new_privs" not in names("strict", Isolation(no_new_privs=False))
    assert names("none", Isolation(no_new_privs=True)) == ["no_new_privs"]


def test_a_private_network_is_made_only_where_asked() -> None:
    assert "network" not in names("strict")
    assert names("none", Isolation(private_network=True)) == ["network"]


def test_what_is_not_said_follows_the_backend() -> None:
    assert level_of(Isolation(), "standard") == "standard"
    assert level_of(Isolation("none"), "standard") == "none"


@pytest.mark.parametrize(
    ("root", "logs", "parents"),
    [
        ("/infra/projects/shop", "/infra/projects/shop/logs", ("/infra/logs/projects", "/infra/projects")),
        ("/srv/shop", "/var/log/shop", ("/infra/logs/projects", "/infra/projects")),
        ("/data/web/shop", "/data/web/logs/shop", ("/data/web", "/infra/logs/projects", "/infra/projects")),
    ],
)
def test_directories_that_are_hidden(root: str, logs: str, parents: tuple[str, ...]) -> None:
    assert places(Project("shop", root, logs, ACCOUNT), SITE).parents == parents


def test_a_system_directory_is_not_hidden_and_that_is_said() -> None:
    shop = Project("shop", "/srv/shop", "/var/log/shop", ACCOUNT)
    assert shortfalls(worker(project=shop), SITE, "standard", Ground()) == (
        "what else is in /srv is not hidden: more than projects lives there",
        "what else is in /var/log is not hidden: more than projects lives there",
    )


@pytest.mark.parametrize("home", ["/", "/var"])
def test_a_home_that_holds_the_system_does_not_keep_everything_visible(home: str) -> None:
    account = Account("daemon", 1, 1, "daemon", home)
    assert places(Project("shop", SHOP.root, SHOP.logs, account), SITE).parents == places(SHOP, SITE).parents


def test_a_layout_that_is_a_directory_of_the_project_itself_is_said_not_to_be_hidden() -> None:
    shop = Project("shop", "/infra/projects", "/infra/logs/projects/shop", ACCOUNT)
    assert shortfalls(worker(project=shop), SITE, "standard", Ground()) == (
        "what else is in /infra/projects is not hidden: it is a directory of shop",
    )


def test_what_lies_in_a_hidden_directory_of_ones_own_stays_visible() -> None:
    where = Places(("/home",), ("/home/shop", "/home/shop/logs", "/home/shop_user"), ())
    assert ("hide", "/home", "/home/shop", "/home/shop_user") in steps(Isolation(), "standard", where)


def test_projects_below_tmp_stay_visible_in_a_private_tmp() -> None:
    where = Places(("/tmp/x/projects",), ("/tmp/x/projects/shop",), ())
    rows = steps(Isolation(), "strict", where, 1000)
    assert ("tmp", "/tmp", "1000", "/tmp/x/projects") in rows
    assert ("tmp", "/var/tmp", "1000") in rows


def test_shortfalls_name_what_a_machine_lacks() -> None:
    strict = worker(isolation=Isolation("strict", private_network=True))
    assert shortfalls(strict, SITE, "none", Ground()) == ()
    assert len(shortfalls(strict, SITE, "none", Ground(namespaces=False))) == 3
    assert shortfalls(worker(), SITE, "standard", Ground(root=False)) == (
        "other projects and their processes are not hidden: that needs root",
    )


@pytest.mark.parametrize(
    ("unit", "needed"),
    [
        (worker(), False),
        (worker(isolation=Isolation("none")), False),
        (worker(Limits(nice=1)), True),
        (worker(isolation=Isolation("standard")), True),
        (worker(project=Project("shop", "/r", "/l", ACCOUNT, budget=Limits(tasks_max=5))), True),
    ],
)
def test_the_launcher_is_needed_for_limits_and_isolation_only(unit: Worker, needed: bool) -> None:
    assert needs_launcher(unit) is needed
    with pytest.raises(UserError, match="cannot hold") if needed else nullcontext():
        refuse_bounds(unit)


def test_a_confined_entry_survives_the_manifest() -> None:
    limits = Limits(memory_bytes=1 << 28, cpu_percent=50, tasks_max=9, nofile=99, nice=3, io_weight=7)
    unit = worker(limits, Isolation("strict"))
    entry = with_revision(confined(ENTRY, unit, SITE, "standard", watched=True))
    assert entry.umask == 0o027
    assert entry.rlimits == {"CORE": (0, 0), "NOFILE": (99, 99)}
    text = manifest_text("shop", (entry,))
    assert read_manifest(text.encode(), "shop") == (entry,)


def test_a_changed_limit_is_another_revision() -> None:
    one, two = (confined(ENTRY, worker(Limits(tasks_max=n)), SITE, "standard", watched=True) for n in (5, 6))
    assert revision(one) != revision(two)


def test_a_private_tmp_leaves_half_of_the_memory_to_work_with() -> None:
    entry = confined(
        ENTRY, worker(Limits(memory_bytes=64 << 20), Isolation("strict")), SITE, "none", watched=True
    )
    assert ("tmp", "/tmp", str(32 << 20)) in entry.confinement.steps


@pytest.mark.parametrize(
    "wrong",
    [
        {"v2": {"../../memory.max": "1"}},
        {"v2": {"cgroup.procs": "1"}},
        {"v1": {"memory.limit_in_bytes": "1\n2"}},
        {"budget_v1": {"pids.max": ""}},
        {"nice": 20},
        {"steps": (("hide", "/a\0b"),)},
        {"steps": ((),)},
        {"fallbacks": (Fallback("memory", {"DATA": (-5, 1)}, ""),)},
    ],
)
def test_a_manifest_with_another_confinement_is_refused(wrong: dict[str, object]) -> None:
    entry = ENTRY._replace(confinement=Confinement(**wrong), revision="x")  # type: ignore[arg-type]
    with pytest.raises(WireError, match="has a wrong limit or isolation"):
        read_manifest(manifest_text("shop", (entry,)).encode(), "shop")
