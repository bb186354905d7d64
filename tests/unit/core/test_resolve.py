"""From tables to values: paths absolute, defaults filled in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shiftboss.core.config import project_file, site_file
from shiftboss.core.errors import UserError
from shiftboss.core.resolve import (
    log_policy,
    make_project,
    make_site,
    parse_percent,
    parse_size,
    project_user,
    unit_isolation,
    unit_limits,
)
from shiftboss.core.spec import DEFAULT_PATH, Account, Isolation, Limits, LogPolicy, Site
from shiftboss.core.tables import ProjectTable, WorkerTable

DEFAULTS = Site(
    config_file="/etc/shiftboss/config.toml",
    projects_d="/etc/shiftboss/projects",
    state="/var/lib/shiftboss",
    run="/run/shiftboss",
    projects="/infra/projects",
    logs="/infra/logs/projects",
    user="{project}_user",
    system=True,
)
ACCOUNT = Account("shop", 1500, 1500, "shop", "/home/shop")


def site(text: str, defaults: Site = DEFAULTS) -> Site:
    return make_site(site_file(text, "/x"), config_file="/opt/conf/config.toml", defaults=defaults)


def project(text: str) -> ProjectTable:
    return project_file(text, "/x").project


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        (1048576, 1048576),
        ("512", 512),
        ("10M", 10485760),
        ("10 MB", 10485760),
        ("1kib", 1024),
        ("2g", 2**31),
    ],
)
def test_sizes_are_bytes_or_powers_of_1024(value: int | str, size: int) -> None:
    assert parse_size(value, "here") == size


@pytest.mark.parametrize("value", [0, -1, "", "0M", "10X", "M", "1.5M", "1e3", "٣M", "9" * 30])
def test_other_sizes_are_refused_with_examples(value: int | str) -> None:
    with pytest.raises(UserError, match=r"^here: .* is not a size$") as error:
        parse_size(value, "here")
    assert '"10M"' in error.value.hint


@given(st.text(max_size=10) | st.integers())
def test_any_size_is_positive_or_an_error_for_people(value: int | str) -> None:
    try:
        assert parse_size(value, "here") > 0
    except UserError:
        return


def test_a_log_policy_has_its_defaults() -> None:
    assert log_policy(None, None, "x") == LogPolicy(10 * 1024 * 1024, 5)
    assert log_policy("1M", 2, "x") == LogPolicy(1024 * 1024, 2)
    with pytest.raises(UserError, match=r"^x\.log_max_size: '5Q' is not a size"):
        log_policy("5Q", None, "x")


def test_an_empty_config_is_all_defaults() -> None:
    assert site("") == replace(DEFAULTS, config_file="/opt/conf/config.toml")


def test_the_user_of_an_ordinary_user_is_the_default_without_root() -> None:
    """LayoutTable once had defaults of its own, so everybody's projects ran as {project}_user."""
    assert site("", replace(DEFAULTS, user="ann", system=False)).user == "ann"


def test_relative_paths_are_relative_to_the_config_file() -> None:
    found = site(
        """
        layout = { projects = "p/", logs = "/l//" }
        paths = { projects_d = "d", state = "../state", run = "/run/x" }
        supervisor = { conf_file = "s.conf", conf_dir = "conf.d", server = "unix://run/s.sock", password = "hush" }
        cron.dir = "cron.d"
        logrotate.dir = "/lr"
        backend = { workers = "supervisor", schedules = "cron" }
        """
    )

    assert (found.projects, found.logs) == ("/opt/conf/p", "/l")
    assert (found.projects_d, found.state, found.run) == ("/opt/conf/d", "/opt/conf/../state", "/run/x")
    assert (found.supervisor.conf_file, found.supervisor.conf_dir) == ("/opt/conf/s.conf", "/opt/conf/conf.d")
    assert found.supervisor.server == "unix:///opt/conf/run/s.sock"
    assert (found.cron_dir, found.logrotate_dir) == ("/opt/conf/cron.d", "/lr")
    assert (found.worker_backend, found.schedule_backend) == ("supervisor", "cron")
    assert "hush" not in repr(found)


def test_an_address_of_the_network_stays_as_it_is() -> None:
    assert site('supervisor.server = "http://127.0.0.1:9001"').supervisor.server == "http://127.0.0.1:9001"


@pytest.mark.parametrize("user", ["{name}_user", "x{}", "a{b}c", "{project", "{{project}}"])
def test_only_project_stands_in_braces(user: str) -> None:
    with pytest.raises(UserError, match=r"layout\.user: only {project} can stand in braces") as error:
        site(f'layout.user = "{user}"')
    assert "{project}_user" in error.value.hint


def test_a_project_follows_the_layout_or_its_own_table() -> None:
    assert project_user(DEFAULTS, "shop", project("")) == "shop_user"
    assert project_user(DEFAULTS, "shop", project('project.user = "www"')) == "www"
    by_layout = make_project(DEFAULTS, "shop", project(""), ACCOUNT)
    assert (by_layout.root, by_layout.logs) == ("/infra/projects/shop", "/infra/logs/projects/shop")
    assert (by_layout.current, by_layout.path) == ("/infra/projects/shop/current", DEFAULT_PATH)

    own = make_project(
        DEFAULTS, "shop", project('[project]\nroot = "/srv/shop/"\nlogs = "/var/log/shop//"'), ACCOUNT
    )
    assert (own.root, own.logs, own.current) == ("/srv/shop", "/var/log/shop", "/srv/shop/current")


def test_pinned_interpreters_come_first_in_the_path_each_directory_once() -> None:
    text = '[project.interpreters]\nphp = "/opt/php/bin/php"\ncomposer = "/opt/php/bin/composer"\nnode = "/usr/bin/node"'

    assert make_project(DEFAULTS, "shop", project(text), ACCOUNT).path == f"/opt/php/bin:{DEFAULT_PATH}"


def test_the_environment_keeps_its_order() -> None:
    found = make_project(
        DEFAULTS,
        "shop",
        project('environment = { B = "1", A = "2" }\n'.replace("env", "project.env")),
        ACCOUNT,
    )
    assert found.environment == (("B", "1"), ("A", "2"))


@pytest.mark.parametrize(("value", "percent"), [(50, 50), ("50%", 50), ("200 %", 200), ("1", 1)])
def test_a_share_of_the_cpu_is_percent_of_one_core(value: int | str, percent: int) -> None:
    assert parse_percent(value, "here") == percent


@pytest.mark.parametrize("value", [0, -1, "0%", "half", "50%%", "1.5", "", 10**7])
def test_other_shares_are_refused_with_an_example(value: int | str) -> None:
    with pytest.raises(UserError) as caught:
        parse_percent(value, "shop.toml: workers.queue.cpu")
    assert caught.value.where == "shop.toml: workers.queue.cpu"
    assert "50%" in caught.value.hint


def worker_table(text: str) -> WorkerTable:
    return project_file(f"[workers.queue]\n{text}", "shop.toml").workers["queue"]


def test_the_limits_of_a_unit() -> None:
    text = 'memory = "256M"\nmemory_soft = "200M"\ncpu = "50%"\ntasks_max = 64\nnofile = 4096\nnice = 5\nio_weight = 50'
    found = unit_limits(worker_table(text), "here")
    assert found == Limits(256 << 20, 200 << 20, 50, 64, 4096, 5, 50)
    assert unit_limits(worker_table(""), "here") == Limits()


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ('memory = "lots"', "here.memory", "is not a size"),
        ("memory = 256", "here.memory", "is too little for any program"),
        ('memory = "100M"\nmemory_soft = "100M"', "here.memory_soft", "must be less than memory"),
        ('cpu = "many"', "here.cpu", "is not a share of the CPU"),
    ],
)
def test_a_wrong_limit_is_named_by_its_path(text: str, where: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        unit_limits(worker_table(text), "here")
    assert caught.value.where == where
    assert words in caught.value.message


def test_isolation_is_none_standard_or_strict() -> None:
    assert unit_isolation(worker_table('isolation = "strict"\nno_new_privs = false')) == Isolation(
        "strict", False
    )
    with pytest.raises(UserError, match="must be none or standard or strict"):
        worker_table('isolation = "total"')


def test_a_project_has_a_budget() -> None:
    text = '[project.budget]\nmemory = "1G"\ncpu = 150\n'
    assert make_project(DEFAULTS, "shop", project(text), ACCOUNT).budget == Limits(1 << 30, cpu_percent=150)
    with pytest.raises(UserError) as caught:
        make_project(DEFAULTS, "shop", project('[project.budget]\nmemory = "x"\n'), ACCOUNT)
    assert caught.value.where is not None
    assert caught.value.where.endswith("shop.toml: project.budget.memory")
