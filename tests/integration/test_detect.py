"""Releases on a real disk are read as the project's user would: links followed, odd files passed over."""

import os
import pwd
from pathlib import Path

import pytest

from shiftboss.core.release import ReleaseFacts
from shiftboss.core.spec import Account
from shiftboss.host.files import RealFiles
from shiftboss.setup.detect import read_release

ENTRY = pwd.getpwuid(os.getuid())
OWN = Account(ENTRY.pw_name, ENTRY.pw_uid, ENTRY.pw_gid, ENTRY.pw_name, ENTRY.pw_dir)
NOBODY = pwd.getpwnam("nobody")
STRANGER = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, "nogroup", "/nonexistent")


@pytest.fixture
def release(public_tmp: Path) -> Path:
    """A project with `current` -> `releases/1`, and `.env` shared between releases."""
    directory = public_tmp / "releases" / "1"
    directory.mkdir(parents=True)
    (public_tmp / "current").symlink_to(directory)
    (public_tmp / "shared").mkdir()
    (public_tmp / "shared" / ".env").write_text("QUEUE_CONNECTION=redis\nAPP_KEY=secret\n")
    (directory / ".env").symlink_to("../../shared/.env")
    (directory / "artisan").touch()
    return directory


def facts(release: Path, account: Account = OWN) -> ReleaseFacts:
    return read_release(RealFiles(), account, str(release.parent.parent / "current"))


def test_a_release_behind_a_link_with_a_shared_env(release: Path) -> None:
    (release / "composer.lock").write_text(
        '{"packages": [{"name": "laravel/framework", "version": "v11.0.0"}]}'
    )
    found = facts(release)
    assert "artisan" in found.files
    assert found.php["laravel/framework"].version == "11.0.0"
    assert found.env == {"QUEUE_CONNECTION": "redis"}
    assert found.shared == str(release.parent.parent / "shared")
    assert found.notes == ()


def test_a_virtualenv_whose_python_is_a_link(release: Path) -> None:
    (release / ".venv/bin").mkdir(parents=True)
    (release / ".venv/bin/python3").symlink_to("/bin/sh")
    assert facts(release).venv == str(release.parent.parent / "current/.venv")


def test_a_link_that_leads_nowhere_is_no_file(release: Path) -> None:
    (release / "manage.py").symlink_to("gone.py")
    (release / "server.js").symlink_to("server.js")
    assert not {"manage.py", "server.js"} & facts(release).files


def test_pipes_directories_and_huge_files_are_passed_over_with_a_note(release: Path) -> None:
    os.mkfifo(release / "package.json")
    (release / "composer.json").mkdir()
    with (release / "Procfile").open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    (release / "manage.py").symlink_to("/dev/zero")
    (release / "requirements.txt").write_bytes(b"\xff\xfecelery==5\n\xc3\x28")
    found = facts(release)
    assert found.procfile == ()
    assert found.npm == {}
    assert found.python == {}
    assert [note.partition(" ")[0] for note in found.notes] == ["Procfile"]


def test_a_release_that_does_not_exist_tells_nothing() -> None:
    assert read_release(RealFiles(), OWN, "/nonexistent/current") == ReleaseFacts()


@pytest.mark.needs_root
def test_root_reads_no_more_than_the_projects_user_may(release: Path) -> None:
    secret = release / "package.json"
    secret.write_text('{"main": "server.js", "scripts": {"start": "node server.js"}}')
    secret.chmod(0o600)
    (release / "Procfile").symlink_to("/etc/shadow")
    found = facts(release, STRANGER)
    assert found.guesses == {}
    assert found.procfile == ()
    assert {note.partition(" ")[0] for note in found.notes} == {"package.json", "Procfile"}
    assert all("nobody cannot read it" in note for note in found.notes)
