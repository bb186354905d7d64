"""The list of directories outside of the layout, which are hidden from all projects but their own."""

import pytest
from msgspec import structs

from shiftboss.core.outlying import Home, outlying_text, unhidden
from shiftboss.core.spec import Site

SITE = Site("", "", "/state", "", "/infra/projects", "/infra/logs", "{project}_user", True)
SHOP = Home("shop", "/infra/projects/shop", "/infra/logs/shop")


def listed(*homes: Home, before: str = "", broken: tuple[str, ...] = (), site: Site = SITE) -> list[str]:
    """Return the lines below the header."""
    return outlying_text(site, homes, before, broken).splitlines()[2:]


def test_there_is_no_list_where_all_projects_follow_the_layout() -> None:
    assert outlying_text(SITE, [SHOP], "", ()) == ""


def test_each_directory_outside_is_listed() -> None:
    blog = Home("blog", "/data/my blog", "/infra/logs/blog")
    web = Home("web", "/srv/web", "/srv/web/logs")
    assert listed(web, SHOP, blog) == ["blog /data/my blog", "web /srv/web", "web /srv/web/logs"]


def test_slashes_too_many_change_nothing() -> None:
    site = structs.replace(SITE, projects="/infra/projects/", logs="/infra//logs")
    web = Home("web", "/data//web/", "/infra/logs/web")
    assert listed(SHOP, web, site=site) == ["web /data/web"]


def test_a_project_inside_of_another_is_listed_though_it_is_in_the_layout() -> None:
    inner = Home("inner", "/infra/projects/shop/shared/inner", "/infra/logs/inner")
    assert listed(SHOP, inner) == ["inner /infra/projects/shop/shared/inner"]


def test_a_layout_that_holds_more_than_projects_is_not_hidden_so_each_project_is() -> None:
    site = Site("", "", "/state", "", "/srv", "/var/log", "{project}", True)
    assert listed(Home("shop", "/srv/shop", "/var/log/shop"), site=site) == [
        "shop /srv/shop",
        "shop /var/log/shop",
    ]


@pytest.mark.parametrize(
    ("homes", "words"),
    [
        ([Home("web", "/srv", "/infra/logs/web")], "/srv of web: more than projects lives there"),
        (
            [Home("a", "/data/a", "/data/logs"), Home("b", "/data/b", "/data/logs")],
            "/data/logs from a and b: it is a directory of each of them",
        ),
        (
            [Home("all", "/infra/projects", "/infra/logs/all")],
            "/infra/projects of all: other projects live in it",
        ),
    ],
)
def test_what_cannot_be_hidden_is_said_once(homes: list[Home], words: str) -> None:
    text = outlying_text(SITE, homes, "", ())
    assert text.endswith(f"# not hidden: {words}\n")
    assert unhidden(text, "") == (f"not hidden: {words}",)
    assert unhidden(text, text) == ()


def test_a_project_whose_file_is_broken_stays_hidden() -> None:
    before = outlying_text(SITE, [Home("web", "/srv/web", "/srv/logs")], "", ())
    assert outlying_text(SITE, [SHOP], before, {"web"}) == before
    assert outlying_text(SITE, [SHOP], before, ()) == ""


def test_a_path_cannot_add_a_line() -> None:
    assert listed(Home("web", "/srv/web\nshop /etc", "/infra/logs/web")) == []
