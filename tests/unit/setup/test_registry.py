"""Registering and forgetting projects."""

import pytest
from tests.shop import PROJECT_FILE, QUEUE, ROOT, Shop

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.facts import Finished
from shiftboss.setup.apply import perform
from shiftboss.setup.registry import Registration, forget, register


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


def test_a_user_is_created_without_a_login() -> None:
    shop = Shop()
    shop.machine.commands.install("/usr/sbin/useradd")
    shop.machine.files.directory("/srv/blog")

    def useradd(argv: tuple[str, ...]) -> Finished:
        shop.machine.accounts.add(argv[-1], 1700)
        return Finished(0)

    shop.machine.commands.answers["useradd"] = useradd
    add(shop, Registration("blog", root="/srv/blog", create_user=True))

    (argv,) = shop.machine.commands.ran
    assert argv == ("useradd", "--user-group", "--no-create-home", "--home-dir", "/srv/blog",
                    "--shell", "/usr/sbin/nologin", "--", "blog_user")  # fmt: skip
    add(shop, Registration("blog", create_user=True))
    assert len(shop.machine.commands.ran) == 1, "a user that is there is not created again"


def test_a_user_that_cannot_be_created_is_told() -> None:
    shop = Shop()
    shop.machine.commands.install("/usr/sbin/useradd")
    shop.machine.commands.answers["useradd"] = Finished(3, stderr="useradd: invalid user name '-r'\n")

    with pytest.raises(HostError, match=r"^cannot create user -r: useradd: invalid user name '-r'$") as error:
        add(shop, Registration("shop", user="-r", create_user=True))
    assert error.value.hint
    assert shop.machine.files.node(PROJECT_FILE) is None


def test_a_project_is_forgotten_when_it_runs_nothing() -> None:
    shop = Shop()
    shop.set_up(QUEUE)
    with pytest.raises(UserError, match=r"^project shop still has units: queue$") as error:
        forget(shop.catalog, "shop")
    assert "shiftboss remove shop" in error.value.hint

    shop.remove("queue")
    perform(shop.machine, shop.site, forget(shop.catalog, "shop"), shop.told)
    assert shop.machine.files.node(PROJECT_FILE) is None
    with pytest.raises(UserError, match="unknown project"):
        forget(shop.catalog, "shop")
