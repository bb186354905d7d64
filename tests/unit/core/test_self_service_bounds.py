"""What a release may declare: allowed keys, bounds of root's file, and refusals that name file and key."""

import string

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shiftboss.core.config import project_file
from shiftboss.core.self_service import (
    MAX_BYTES,
    MOST_STOP_SECONDS,
    NotAdmittedError,
    admitted,
    allowed_keys,
    check_bounds,
    every_key,
    released_names,
)
from shiftboss.core.spec import Account, Limits, Project, StopPolicy, Worker
from shiftboss.core.tables import ProjectFile

FILE = "/infra/projects/shop/current/shiftboss.toml"
OWN = '[project]\nself_service = true\n[workers.queue]\ncommand = "php artisan queue:work"\n'
PROJECT = Project(
    "shop",
    "/infra/projects/shop",
    "/logs/shop",
    Account("shop_user", 1500, 1500, "shop", "/home/shop"),
    budget=Limits(memory_bytes=512 * 1024**2, cpu_percent=100, tasks_max=50),
)


def own(text: str = OWN) -> ProjectFile:
    return project_file(text, "shop.toml")


def refusal(text: str, of: ProjectFile | None = None) -> str:
    with pytest.raises(NotAdmittedError) as error:
        admitted(text, of or own(), FILE)
    assert error.value.hint
    return str(error.value)


def test_every_key_of_a_unit_is_either_a_releases_or_roots() -> None:
    """A key that is new has to be put on one side by somebody who thought about it."""
    assert every_key("workers") - allowed_keys("workers") == {"backend", "nofile"}
    assert every_key("schedules") - allowed_keys("schedules") == {"backend", "nofile", "plain"}
    assert allowed_keys("workers") < every_key("workers")
    assert allowed_keys("schedules") < every_key("schedules")


def test_what_a_release_declares_is_added_to_roots_units_and_runs_natively() -> None:
    text = '[workers.thumbs]\ncommand = "/usr/bin/php thumbs"\n[schedules.nightly]\ncron = "0 2 * * *"\ncommand = "true"\n'
    merged = admitted(text, own(), FILE)

    assert list(merged.workers) == ["queue", "thumbs"]
    assert merged.workers["queue"] == own().workers["queue"]
    assert merged.workers["thumbs"].backend == merged.schedules["nightly"].backend == "native"
    assert merged.workers["thumbs"].isolation == "standard"
    assert merged.project == own().project
    assert released_names(merged, own()) == {"thumbs", "nightly"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[project]\nuser = "root"\n', "may declare workers and schedules, not project"),
        ("[project]\noperators = ['mallory']\n", "not project"),
        ("[backend]\nworkers = 'cron'\n", "not 'backend'"),
        ('[workers.a]\ncommand = "x"\nbackend = "cron"\n', "workers.a: a release may not set backend"),
        ('[workers.a]\ncommand = "x"\nnofile = 1000000\n', "workers.a: a release may not set nofile"),
        ('[workers.a]\ncommand = "x"\nuser = "root"\n', "workers.a.user: unknown key"),
        ('[workers.queue]\ncommand = "x"\n', "root's file declares 'queue' already"),
        ('[schedules.queue]\ncron = "* * * * *"\ncommand = "x"\n', "root's file declares 'queue' already"),
        ('[workers."../x"]\ncommand = "x"\n', "is not a"),
        ('[workers.a]\ncommand = "x"\nisolation = "none"\n', "isolation: must be at least 'standard'"),
        ('[workers.a]\ncommand = "x"\nno_new_privs = false\n', "no_new_privs: only root may"),
        ('[workers.a]\ncommand = "x"\nnice = -5\n', "nice: only root may"),
        ('[workers.a]\ncommand = "x"\nprocesses = 100000\n', "processes: must be at most 1000"),
        ("workers = 3\n", "workers: must be a table"),
        ("workers = [[]]\n", "workers: must be a table"),
        ("[workers]\na = 1\n", "workers.a: must be a table"),
        ("not toml", "not valid TOML"),
        ("a = " + "[" * 30000, "not valid TOML"),
        ("".join(f'[workers.w{n}]\ncommand = "x"\n' for n in range(51)), "declares 51 units, more than 50"),
        ("#" * (MAX_BYTES + 1), "has more than 65536 bytes"),
    ],
)
def test_what_a_release_may_not_declare(text: str, words: str) -> None:
    told = refusal(text)
    assert told.startswith(FILE)
    assert words in told
    assert len(told) < 400


def test_root_sets_the_floor_of_the_isolation() -> None:
    strict = own('[project]\nself_service = true\nisolation = "strict"\n')
    loose = own('[project]\nself_service = true\nisolation = "none"\n')
    plain = '[workers.a]\ncommand = "x"\n'

    assert admitted(plain, strict, FILE).workers["a"].isolation == "strict"
    assert "at least 'strict'" in refusal(plain + 'isolation = "standard"\n', strict)
    assert admitted(plain, loose, FILE).workers["a"].isolation == "none"
    assert admitted(plain + "no_new_privs = false\n", loose, FILE).workers["a"].no_new_privs is False


def worker(**changes: object) -> Worker:
    return replace(Worker(PROJECT, "a", "custom", "native", ("/bin/true",)), **changes)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (worker(processes=11), "up to 11 processes, more than the 10"),
        (worker(processes=1, scale_max=11), "up to 11 processes"),
        (worker(limits=Limits(memory_bytes=1024**3)), "workers.a.memory: is more than the 512M"),
        (worker(limits=Limits(cpu_percent=101)), "workers.a.cpu: is more than the 100%"),
        (worker(limits=Limits(tasks_max=51)), "workers.a.tasks_max: is more than the 50"),
        (worker(limits=Limits(io_weight=101)), "workers.a.io_weight: is more than the 100"),
        (worker(stop=StopPolicy(wait_seconds=MOST_STOP_SECONDS + 1)), "would wait 3601 seconds"),
        (worker(env_file="/infra/projects/bank/.env"), "env_file: must be inside"),
        (worker(env_file="/infra/projects/shop/../bank/.env"), "env_file: must be inside"),
        (worker(env_file="/infra/projects/shopping/.env"), "env_file: must be inside"),
    ],
)
def test_bounds_that_hold_for_the_finished_unit(unit: Worker, words: str) -> None:
    with pytest.raises(NotAdmittedError) as error:
        check_bounds([unit], {"a"}, own(), FILE)
    assert words in str(error.value)
    check_bounds([unit], set(), own(), FILE)  # root's own units have no such bounds


def test_root_may_allow_more_processes_and_all_units_of_the_release_count_together() -> None:
    ten = [replace(worker(processes=5), name=name) for name in ("a", "b")]
    check_bounds(ten, {"a", "b"}, own(), FILE)
    check_bounds([*ten, replace(worker(processes=500), name="roots")], {"a", "b"}, own(), FILE)
    more = own("[project]\nself_service = true\n[project.budget]\nprocesses = 12\n")
    check_bounds([worker(processes=12)], {"a"}, more, FILE)
    with pytest.raises(NotAdmittedError, match="more than the 12"):
        check_bounds([worker(processes=13)], {"a"}, more, FILE)


names = st.text(string.ascii_lowercase, min_size=1, max_size=4) | st.text(max_size=4) | st.just("queue")
keys = st.sampled_from(sorted(every_key("workers") | every_key("schedules"))) | st.text(max_size=6)
scalars = st.booleans() | st.integers(-(2**65), 2**65) | st.text(max_size=20) | st.sampled_from(
    ["none", "strict", "10M", "native", "* * * * *", "../.env", "php artisan x"]
)  # fmt: skip
values = st.recursive(scalars, lambda v: st.lists(v, max_size=2) | st.dictionaries(names, v, max_size=2))
units = st.dictionaries(names, st.dictionaries(keys, values, max_size=4), max_size=3)
offers = st.dictionaries(st.sampled_from(["workers", "schedules"]) | names, units | values, max_size=3)


@given(offers | st.just({}), st.text(max_size=20), st.sampled_from(["standard", "strict"]))
@settings(max_examples=400, deadline=None)
def test_whatever_a_release_says_roots_part_is_untouched_and_what_is_taken_is_bounded(
    offer: dict[str, object], tail: str, floor: str
) -> None:
    roots = own(OWN.replace("self_service = true", f'self_service = true\nisolation = "{floor}"'))
    try:
        text = tomlkit.dumps(offer)
    except (ValueError, TypeError):  # tomlkit cannot write it
        text = ""
    try:
        merged = admitted(text + tail, roots, FILE)
    except NotAdmittedError as error:
        refused = error
    else:
        bounded(merged, roots, floor)
        return
    assert "\n" not in refused.message
    assert str(refused).startswith(FILE)


def bounded(merged: ProjectFile, roots: ProjectFile, floor: str) -> None:
    assert merged.project == roots.project
    assert merged.workers["queue"] == roots.workers["queue"]
    for name in released_names(merged, roots):
        table = merged.workers.get(name) or merged.schedules[name]
        assert table.backend == "native"
        assert table.isolation in ({"standard", "strict"} if floor == "standard" else {"strict"})
        assert table.no_new_privs is not False
        assert table.nofile is None
        assert (table.nice or 0) >= 0
