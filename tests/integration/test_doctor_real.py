"""`project add --create-user` and `doctor` on this machine: real users, groups, modes and links."""

import grp
import json
import os
import pwd
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftboss.core.errors import HostError
from shiftboss.host.account_creation import create_account

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(60)]


class World:
    """A configuration of its own below a public directory, and two names for projects that nobody else uses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        mark = secrets.token_hex(3)
        self.one, self.two = f"d{mark}a", f"d{mark}b"
        (directory / "etc").mkdir()
        (directory / "etc" / "config.toml").write_text(
            f'[layout]\nprojects = "{directory}/p"\nlogs = "{directory}/l"\n[backend]\nworkers = "native"\n'
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "SHIFTBOSS_CONFIG": str(self.directory / "etc" / "config.toml"),
            "NO_COLOR": "1",
        }
        command = [sys.executable, "-m", "shiftboss", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip

    def findings(self, project: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self.run("doctor", project, "--json").stdout)["findings"]
        return found

    def root(self, project: str) -> Path:
        return self.directory / "p" / project

    def remove_users(self) -> None:
        for name in (self.one, self.two):
            subprocess.run(["userdel", f"{name}_user"], check=False, capture_output=True)
            subprocess.run(["groupdel", f"{name}_user"], check=False, capture_output=True)


@pytest.fixture
def world(public_tmp: Path) -> Iterator[World]:
    made = World(public_tmp)
    try:
        yield made
    finally:
        made.remove_users()


def test_a_project_is_made_complete_and_is_found_in_order(world: World) -> None:
    rehearsed = world.run("project", "add", world.one, "--create-user", "--dry-run")
    assert rehearsed.returncode == 0
    with pytest.raises(KeyError):
        pwd.getpwnam(f"{world.one}_user")

    made = world.run("project", "add", world.one, "--create-user")

    assert made.returncode == 0, made.stderr
    account = pwd.getpwnam(f"{world.one}_user")
    assert (account.pw_dir, account.pw_shell) == (str(world.root(world.one)), "/usr/sbin/nologin")
    assert grp.getgrgid(account.pw_gid).gr_name == account.pw_name
    shared = (world.root(world.one) / "shared").stat()
    assert (shared.st_uid, shared.st_gid, shared.st_mode & 0o7777) == (account.pw_uid, account.pw_gid, 0o2770)
    code = (world.root(world.one) / "releases").stat()
    assert (code.st_uid, code.st_gid, code.st_mode & 0o7777) == (0, account.pw_gid, 0o750)
    assert "nothing to change" in world.run("project", "add", world.one, "--create-user").stdout
    checked = world.run("doctor", world.one)
    assert (checked.returncode, checked.stdout) == (0, "nothing is wrong\n")


def test_a_user_of_another_home_is_refused_and_a_forgotten_project_leaves_its_data(world: World) -> None:
    world.run("project", "add", world.one, "--create-user")
    refused = world.run("project", "add", world.two, "--user", f"{world.one}_user", "--create-user")
    assert refused.returncode == 1
    assert f"it exists already, with the home {world.root(world.one)}" in refused.stderr

    forgotten = world.run("project", "remove", world.one)

    assert f"left as they are: the user {world.one}_user, {world.root(world.one)}" in forgotten.stdout
    assert pwd.getpwnam(f"{world.one}_user")
    assert (world.root(world.one) / "shared").is_dir()


def test_wrong_rights_are_found_and_their_mends_mend_them(world: World) -> None:
    for name in (world.one, world.two):
        assert world.run("project", "add", name, "--create-user").returncode == 0
    root, user = world.root(world.one), f"{world.one}_user"
    secret = root / "shared" / ".env"
    secret.write_text("KEY=x\n")
    os.chown(secret, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    secret.chmod(0o644)
    root.chmod(0o757)
    (root / "shared").chmod(0o2775)
    subprocess.run(["gpasswd", "-a", f"{world.two}_user", user], check=True, capture_output=True)

    found = world.findings(world.one)

    assert sorted(f["code"] for f in found) == ["env-open", "foreign-project-user", "open-directory"]
    assert world.run("doctor", world.one).returncode == 1
    for finding in found:
        subprocess.run(shlex.split(finding["mend"]), check=True, capture_output=True)
    assert world.findings(world.one) == []
    assert secret.stat().st_mode & 0o777 == 0o640


def test_a_group_and_a_number_that_the_user_has_left_are_found_until_its_units_lose_them(
    world: World,
) -> None:
    """Both are written down at `apply`; the keeper reads nothing else."""
    for name in (world.one, world.two):
        assert world.run("project", "add", name, "--create-user").returncode == 0
    user, door = f"{world.one}_user", f"{world.two}_user"
    subprocess.run(["gpasswd", "-a", user, door], check=True, capture_output=True)
    (world.root(world.one) / "current").symlink_to("releases")
    world.run("setup", world.one, "custom", "--name", "w", "--", "sleep", "1000")  # no keeper: it is written
    subprocess.run(["gpasswd", "-d", user, door], check=True, capture_output=True)
    number = pwd.getpwnam(user).pw_uid
    subprocess.run(["usermod", "-u", str(number + 20_000), user], check=True, capture_output=True)

    assert f"still started with the user id {number}" in world.run("doctor", world.one).stdout

    assert (
        f"still started with the group {door}, which {user} has left" in world.run("doctor", world.one).stdout
    )
    world.run("apply", world.one)
    assert "still started with" not in world.run("doctor", world.one).stdout


def test_a_file_of_variables_is_found_wherever_a_worker_has_it(world: World) -> None:
    world.run("project", "add", world.one, "--create-user")
    root, user = world.root(world.one), pwd.getpwnam(f"{world.one}_user")
    declared = world.directory / "etc" / "projects" / f"{world.one}.toml"
    declared.write_text(
        declared.read_text() + '\n[workers.w]\ncommand = "sleep 9"\nenv_file = "shared/conf/live.conf"\n'
    )
    (root / "current").symlink_to("releases")
    conf = root / "shared" / "conf"
    conf.mkdir()
    (conf / "live.conf").write_text("KEY=x\n")
    os.chown(conf / "live.conf", user.pw_uid, user.pw_gid)
    (conf / "live.conf").chmod(0o644)

    [found] = [finding for finding in world.findings(world.one) if finding["code"] == "env-open"]
    assert str(conf / "live.conf") in found["message"]
    subprocess.run(shlex.split(found["mend"]), check=True, capture_output=True)
    assert [f["code"] for f in world.findings(world.one) if f["code"] == "env-open"] == []


def test_a_name_with_line_breaks_is_no_line_of_the_doctor_and_no_command_to_copy(world: World) -> None:
    world.run("project", "add", world.one, "--create-user")
    root, user = world.root(world.one), f"{world.one}_user"
    release = root / "releases" / "1\n    rm -rf it\x1b[8m"
    release.mkdir()
    os.chown(release, pwd.getpwnam(user).pw_uid, -1)
    (root / "current").symlink_to(release)

    printed = world.run("doctor", world.one).stdout

    assert "may change the code that it runs" in printed
    assert not any(line.strip().startswith("rm -rf") for line in printed.splitlines())
    assert "no command is shown" in printed
    assert "\x1b" not in printed


def test_a_planted_link_leads_the_doctor_nowhere(world: World) -> None:
    """A mend for /etc/passwd, printed for root to copy, would break the server."""
    world.run("project", "add", world.one, "--create-user")
    root = world.root(world.one)
    outside = world.directory / "outside"
    outside.mkdir()
    (outside / ".env").write_text("KEY=x\n")
    (outside / ".env").chmod(0o666)
    (root / "shared" / ".env").symlink_to(outside / ".env")
    (root / "current").symlink_to(outside)
    root.chmod(0o755)
    assert world.findings(world.one) == []

    (root / "shared" / ".env").unlink()
    (root / "shared").rmdir()
    (root / "shared").symlink_to(outside)
    assert world.findings(world.one) == []


def test_what_useradd_says_is_told_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="this server has no useradd") as missing:
        create_account("x", "/x", useradd=(str(tmp_path / "useradd"),))
    assert "apt-get install passwd" in missing.value.hint
    with pytest.raises(HostError, match=r"^cannot create user root: (user|group) .*exist") as taken:
        create_account("root", "/x")
    assert "--user" in taken.value.hint
