"""Who else could change the code that root runs; and which code it is."""

import os
from pathlib import Path

import pytest

from shiftboss.host.own_code import digest, first_open, through_current

pytestmark = pytest.mark.needs_root


@pytest.fixture
def code(public_tmp: Path) -> Path:
    """Return a directory of root with a module and a link to a program elsewhere."""
    (public_tmp / "code/package").mkdir(parents=True)
    (public_tmp / "code/package/module.py").write_text("pass\n")
    (public_tmp / "elsewhere").mkdir()
    (public_tmp / "elsewhere/python").write_text("")
    (public_tmp / "code/python").symlink_to("../elsewhere/python")
    return public_tmp / "code"


def test_what_only_root_can_write_is_safe_also_in_a_sticky_directory(code: Path) -> None:
    assert code.is_relative_to("/tmp")  # mode 1777
    assert first_open([str(code), str(code / "python"), "/nonexistent"]) is None


@pytest.mark.parametrize(
    "name", ["code", "code/package", "code/package/module.py", "elsewhere", "elsewhere/python", ""]
)
def test_a_path_that_others_can_write_is_named(code: Path, name: str) -> None:
    place = code.parent / name
    place.chmod(0o777)
    assert first_open([str(code / "python"), str(code)]) == str(place).rstrip("/")


def test_a_path_of_another_owner_or_group_is_named(code: Path) -> None:
    module = code / "package/module.py"
    module.chmod(0o664)
    assert first_open([str(code)]) is None  # the group is root's
    os.chown(module, 0, 4242)
    assert first_open([str(code)]) == str(module)
    module.chmod(0o644)
    os.chown(module, 4242, 0)
    assert first_open([str(code)]) == str(module)
    os.chown(module, 0, 0)
    os.chown(code / "python", 4242, 0, follow_symlinks=False)
    assert first_open([str(code)]) == str(code / "python")


def test_equal_code_has_an_equal_digest_wherever_it_is(code: Path) -> None:
    module = code / "package/module.py"
    before = digest([str(code)])
    (code / "package/notes.txt").write_text("no code")
    assert digest([str(code)]) == before
    code.rename(code.with_name("moved"))
    assert digest([str(code.with_name("moved"))]) == before
    (code.with_name("moved") / "package/module.py").write_text("raise\n")
    assert digest([str(code.with_name("moved"))]) != before
    assert not module.exists()


def test_a_copy_of_make_install_is_named_through_current(code: Path) -> None:
    for release in ("1.0.1", "1.0.2"):
        (code / "releases" / release / "bin").mkdir(parents=True)
    (code / "current").symlink_to("releases/1.0.2")
    assert through_current(f"{code}/releases/1.0.2/bin/python") == f"{code}/current/bin/python"
    assert through_current(f"{code}/releases/1.0.1/bin/python") == f"{code}/releases/1.0.1/bin/python"
    assert through_current("/usr/bin/python3") == "/usr/bin/python3"


def test_what_is_not_imported_is_not_looked_into_but_its_place_is(code: Path) -> None:
    packages = code / "site-packages"
    packages.mkdir()
    (packages / "theirs.py").write_text("")
    (packages / "theirs.py").chmod(0o666)
    left_out = frozenset({"site-packages"})
    assert first_open([str(code)], without=left_out) is None
    assert first_open([str(code)]) == str(packages / "theirs.py")
    packages.chmod(0o777)
    assert first_open([str(code)], without=left_out) == str(packages)
