"""The project files of a server: a broken one hides no other."""

import pytest

from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.spec import Site
from shiftboss.host.fake import fake_machine
from shiftboss.setup.catalog import Catalog, load_catalog, project_path
from shiftboss.setup.site import load_site

PROJECTS = "/etc/shiftboss/projects"


class Server:
    def __init__(self) -> None:
        self.machine = fake_machine()
        self.files = self.machine.files

    @property
    def site(self) -> Site:
        return load_site(self.files, self.machine.accounts, config=None, environ={})

    @property
    def catalog(self) -> Catalog:
        return load_catalog(self.files, self.site)

    def write(self, name: str, text: str | bytes) -> None:
        self.files.write(f"{PROJECTS}/{name}", text)


def test_no_directory_and_no_file_are_no_projects() -> None:
    server = Server()
    assert server.catalog == Catalog({}, {})
    server.files.directory(PROJECTS)
    assert server.catalog.entry("shop") is None


def test_each_file_is_a_project_of_its_name() -> None:
    server = Server()
    server.write("shop.toml", '[project]\nuser = "ann"\n')
    server.write("blog.toml", "")
    server.write("notes.txt", "not ours")
    server.write(".shop.toml.swp", "an editor's")
    server.write(".#shop.toml", "another's")

    catalog = server.catalog

    assert list(catalog.entries) == ["blog", "shop"]
    assert catalog.errors == {}
    entry = catalog.require("shop")
    assert (entry.path, entry.text) == (project_path(server.site, "shop"), '[project]\nuser = "ann"\n')
    assert entry.tables.project.user == "ann"


def other_name(server: Server) -> None:
    server.write("Bad Name.toml", "")


def broken(server: Server) -> None:
    server.write("bad.toml", "[workers\n")


def not_utf8(server: Server) -> None:
    server.write("bad.toml", b"# caf\xe9\n")


def a_link(server: Server) -> None:
    server.files.link(f"{PROJECTS}/bad.toml", "/srv/repository/bad.toml")


def too_large(server: Server) -> None:
    server.write("bad.toml", "#" * 2**21)


@pytest.mark.parametrize("fault", [other_name, broken, not_utf8, a_link, too_large], ids=lambda f: f.__name__)
def test_a_file_that_cannot_be_used_is_an_error_of_its_own(fault: object) -> None:
    server = Server()
    server.write("shop.toml", "")
    assert callable(fault)
    fault(server)

    catalog = server.catalog

    assert list(catalog.entries) == ["shop"]
    (error,) = catalog.errors.values()
    assert isinstance(error, UserError | HostError)
    assert f"{PROJECTS}/" in str(error)
    assert error.hint


def test_the_error_of_a_file_comes_up_when_its_project_is_asked_for() -> None:
    server = Server()
    broken(server)
    with pytest.raises(UserError, match="not valid TOML"):
        server.catalog.require("bad")
    with pytest.raises(UserError, match="not valid TOML"):
        server.catalog.entry("bad")


def test_an_unknown_project_is_refused_with_the_known_ones() -> None:
    server = Server()
    with pytest.raises(UserError, match=r"^unknown project 'shop'$") as error:
        server.catalog.require("shop")
    assert error.value.hint == "No project is set up yet. Add one: shiftboss project add shop"

    server.write("shop.toml", "")
    with pytest.raises(UserError, match=r"^unknown project 'shup' \(did you mean 'shop'\?\)$") as error:
        server.catalog.require("shup")
    assert "Known projects: shop." in error.value.hint
    with pytest.raises(UserError, match="is not a project name"):
        server.catalog.require("../shop")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('project.root = "/srv/x"', 'project.root = "/srv/x"'),
        ('project.root = "/srv/x"', 'project.root = "/srv/y/../x/"'),
        ("", 'project.root = "/infra/projects/blog"'),
    ],
)
def test_two_files_of_one_directory_would_run_everything_twice(first: str, second: str) -> None:
    server = Server()
    server.write("blog.toml", first)
    server.write("shop.toml", second)

    catalog = server.catalog

    assert list(catalog.entries) == ["blog"]
    error: ShiftbossError = catalog.errors["shop"]
    assert "describes the same project as /etc/shiftboss/projects/blog.toml" in str(error)
    assert "run twice" in error.hint
