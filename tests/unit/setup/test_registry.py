"""Registering and forgetting projects."""

import pytest
from tests.shop import PROJECT_FILE, QUEUE, ROOT, Shop

from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.facts import PathFacts
from shiftboss.core.plan_text import plan_lines
from shiftboss.core.spec import Account
from shiftboss.host.fake import fake_machine
from shiftboss.setup.apply import perform
from shiftboss.setup.catalog import load_catalog
from shiftboss.setup.registry import Registration, forget, left_of, register
from shiftboss.setup.site import load_site


def add(shop: Shop, wanted: Registration) -> None:
    """Do what `shiftboss project add` does."""
    plan = register(shop.machine, shop.site, shop.catalog, wanted)
    perform(shop.machine, shop.site, plan, shop.told)


def test_a_project_of_the_layout_needs_its_name_only() -> None:
    shop = Shop()
    add(shop, Registration("shop"))

    assert shop.machine.files.text(PROJECT_FILE) == '[project]\nuser = "shop_user"\n'
    assert register(shop.machine, shop.site, shop.catalog, Registration("shop")).actions == ()


def test_what_differs_from_the_layout_is_written() -> None:
    shop = Shop()
    shop.machine.accounts.add("www", 33)
    shop.machine.files.directory("/srv/shop")
    add(shop, Registration("shop", root="/srv/shop/", user="www"))

    project = shop.catalog.require("shop").tables.project
    assert (project.root, project.user) == ("/srv/shop", "www")


def test_what_was_said_before_holds() -> None:
    """The directory of a project was once looked for in the layout, whatever its own file said."""
    shop = Shop()
    shop.machine.files.directory("/srv/shop")
    add(shop, Registration("shop", root="/srv/shop"))
    shop.machine.files.delete(ROOT)
    shop.machine.accounts.add("www", 33)

    add(shop, Registration("shop", user="www"))

    project = shop.catalog.require("shop").tables.project
    assert (project.root, project.user) == ("/srv/shop", "www")


def test_a_directory_or_user_that_is_missing_is_told() -> None:
    shop = Shop()
    before = shop.machine.files.snapshot()
    with pytest.raises(
        UserError, match=r"^cannot add project blog: there is no directory /infra/projects/blog$"
    ) as e:
        add(shop, Registration("blog"))
    assert "--root DIR" in e.value.hint
    with pytest.raises(HostError, match=r"^cannot add project shop: there is no user www$") as h:
        add(shop, Registration("shop", user="www"))
    assert "--create-user" in h.value.hint
    with pytest.raises(UserError, match="is not a project name"):
        add(shop, Registration("../shop"))
    assert shop.machine.files.snapshot() == before


def test_user_group_and_directories_are_created_once() -> None:
    shop = Shop()
    files = shop.machine.files
    wanted = Registration("blog", root="/srv/blog", create_user=True)
    plan = register(shop.machine, shop.site, shop.catalog, wanted)
    assert shop.machine.accounts.by_name("blog_user") is None, "a plan changes nothing"
    assert plan_lines(plan) == (
        "create the user and group blog_user (system account, no login, home /srv/blog)",
        "create /srv/blog (root:blog_user, mode 750)",
        "create /srv/blog/releases (root:blog_user, mode 750)",
        "create /srv/blog/shared (blog_user:blog_user, mode 2770)",
        "create /infra/logs/projects/blog (root:blog_user, mode 2750)",
        "create /etc/shiftboss/projects/blog.toml",
        "create /var/lib/shiftboss/outlying",
    )

    add(shop, wanted)

    account = shop.machine.accounts.by_name("blog_user")
    assert account is not None
    assert account.home == "/srv/blog"
    assert files.stat("/srv/blog") == PathFacts(0, account.gid, 0o750, "directory")
    assert files.stat("/srv/blog/shared") == PathFacts(account.uid, account.gid, 0o2770, "directory")
    assert files.stat("/infra/logs/projects/blog") == PathFacts(0, account.gid, 0o2750, "directory")
    assert register(shop.machine, shop.site, shop.catalog, wanted).actions == ()


def test_directories_that_are_there_stay_as_they_are() -> None:
    shop = Shop()
    shop.machine.files.directory("/srv/blog", uid=7, gid=8, mode=0o755)
    add(shop, Registration("blog", root="/srv/blog", create_user=True))
    assert shop.machine.files.stat("/srv/blog") == PathFacts(7, 8, 0o755, "directory")


def test_a_user_that_cannot_be_had_is_told_and_nothing_is_changed() -> None:
    shop = Shop()
    accounts = shop.machine.accounts
    accounts.add("alice", 1001, home="/home/alice")
    accounts.listed["docker"] = (999, ())

    def refusal(user: str) -> str:
        with pytest.raises(ShiftbossError) as error:
            add(shop, Registration("shop", user=user, create_user=True))
        assert error.value.hint.endswith((".", ")", user))
        return error.value.message

    assert refusal("-r") == "cannot create user '-r': that is no name for one"
    assert refusal("1000") == "cannot create user '1000': that is no name for one"
    assert refusal("alice") == "cannot create user alice: it exists already, with the home /home/alice"
    assert refusal("root") == "cannot make root the user of project shop: it is root"
    assert "there is a group of that name already" in refusal("docker")
    accounts.complaint = "this server has no useradd"
    assert refusal("www") == "cannot create user www: this server has no useradd"
    assert shop.machine.files.node(PROJECT_FILE) is None
    assert shop.machine.accounts.by_name("www") is None


def test_only_root_creates_users() -> None:
    machine = fake_machine(Account("ann", 1000, 1000, "ann", "/home/ann"))
    site = load_site(machine.files, machine.accounts, config=None, environ={})
    with pytest.raises(HostError, match=r"^cannot create user ann: only root can$"):
        register(machine, site, load_catalog(machine.files, site), Registration("blog", create_user=True))


def test_a_project_outside_of_the_layout_is_on_the_list_of_what_is_hidden_and_restarts_nobody() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    listed = f"{shop.site.state}/outlying"
    assert shop.machine.files.node(listed) is None, "all projects lie in the layout"
    shop.machine.accounts.add("blog_user", 1600)
    shop.machine.files.directory("/srv/blog")
    wanted = Registration("blog", root="/srv/blog", user="blog_user")
    assert plan_lines(register(shop.machine, shop.site, shop.catalog, wanted))[-1] == f"create {listed}"
    add(shop, wanted)

    assert "\nblog /srv/blog\n" in shop.machine.files.text(listed)
    facts = shop.machine.files.stat(listed)
    assert facts
    assert facts.mode == 0o600
    assert shop.prepared_apply("shop").plan.actions == ()

    perform(shop.machine, shop.site, forget(shop.machine, shop.site, shop.catalog, "blog"), shop.told)
    assert shop.machine.files.node(listed) is None


def test_a_file_that_was_written_by_hand_is_listed_by_the_next_command_of_anybody() -> None:
    shop = Shop()
    shop.machine.files.write(
        "/etc/shiftboss/projects/web.toml", '[project]\nroot = "/srv/web"\nlogs = "/var/log"\n'
    )
    change = shop.set_up(QUEUE)

    assert change.plan.notes[0] == "not hidden: /var/log of web: more than projects lives there"
    assert "\nweb /srv/web\n" in shop.machine.files.text(f"{shop.site.state}/outlying")


def test_what_a_forgotten_project_leaves_is_told() -> None:
    shop = Shop()
    add(shop, Registration("shop"))
    assert str(left_of(shop.machine, shop.site, shop.catalog, "shop")) == f"the user shop_user, {ROOT}"


def test_a_project_is_forgotten_when_it_runs_nothing() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    with pytest.raises(UserError, match=r"^project shop still has units: queue$") as error:
        forget(shop.machine, shop.site, shop.catalog, "shop")
    assert "shiftboss remove shop" in error.value.hint

    shop.remove("queue")
    perform(shop.machine, shop.site, forget(shop.machine, shop.site, shop.catalog, "shop"), shop.told)
    assert shop.machine.files.node(PROJECT_FILE) is None
    with pytest.raises(UserError, match="unknown project"):
        forget(shop.machine, shop.site, shop.catalog, "shop")
