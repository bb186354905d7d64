"""A release that declares workers: a real engine runs them as the project's user; hostile ones get nothing."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.server import Server, TestProject, on_native

pytestmark = [pytest.mark.needs_root, on_native]

OWN = 'self_service = true\n[workers.queue]\ncommand = "sleep 1000"\nstart_seconds = 1\n'
THUMBS = '[workers.thumbs]\ncommand = "sleep 2000"\nstart_seconds = 1\n'


def as_user(project: TestProject, script: str) -> None:
    """Do something as the project's user, as whoever took it over would."""
    project.server.ok("-c", script, program=("setpriv", f"--reuid={project.user}", f"--regid={project.user}",
                                             "--clear-groups", "sh"))  # fmt: skip


def pids(server: Server, project: TestProject) -> dict[str, int]:
    document = json.loads(server.run("status", project.name, "--json").stdout)
    workers = document["projects"][0]["workers"]
    return {f"{w['name']}:{p['process']}": p["pid"] for w in workers for p in w["processes"]}


@pytest.fixture
def shop(server: Server) -> TestProject:
    project = server.add_project()
    project.release()
    os.chown(project.root, *ids(project))
    project.declare(OWN)
    server.ok("apply")
    return project


def ids(project: TestProject) -> tuple[int, int]:
    import pwd

    account = pwd.getpwnam(project.user)
    return account.pw_uid, account.pw_gid


def offer(project: TestProject, text: str) -> Path:
    """Deploy a release with this shiftboss.toml as the project's user."""
    as_user(project, f"cd {project.root}; mkdir -p r/new; printf %s {shlex.quote(text)} > r/new/shiftboss.toml; "
                     "ln -sfn r/new current.new; mv -T current.new current")  # fmt: skip
    return project.root / "r/new/shiftboss.toml"


def test_apply_runs_what_the_release_declares_as_its_user_and_touches_nothing_else(
    server: Server, shop: TestProject
) -> None:
    before = pids(server, shop)
    offer(shop, THUMBS)
    assert "is not what is in force: shiftboss apply" in server.run("status").stdout
    assert set(pids(server, shop)) == {"queue:1"}

    said = server.ok("apply", shop.name)

    after = pids(server, shop)
    assert after["queue:1"] == before["queue:1"]
    thumbs = psutil.Process(after["thumbs:1"])
    assert thumbs.username() == shop.user
    assert "NoNewPrivs:\t1" in Path(f"/proc/{thumbs.pid}/status").read_text()
    assert f"declared by the release of {shop.name}: {shop.name}/thumbs" in said.stdout
    assert "not what is in force" not in server.ok("status").stdout
    assert json.loads(server.ok("status", "--json").stdout)["projects"][0]["from_release"] == ["thumbs"]


def plant_link(project: TestProject, place: Path) -> None:
    secret = project.server.directory / "secret.toml"
    secret.write_text("[workers.stolen]\ncommand = 'sleep 1'\n")
    secret.chmod(0o600)
    as_user(project, f"ln -sfn {secret} {place}")


HOSTILE: dict[str, Callable[[TestProject, Path], None]] = {
    "link": plant_link,
    "fifo": lambda project, place: as_user(project, f"rm {place}; mkfifo {place}"),
    "directory": lambda project, place: as_user(project, f"rm {place}; mkdir {place}"),
    "100 MB": lambda project, place: as_user(project, f"truncate -s 100M {place}"),
    "unreadable": lambda project, place: as_user(project, f"chmod 0 {place}"),
    "device": lambda _, place: (place.unlink(), os.mknod(place, 0o20666, os.makedev(1, 5)))[0],
    "deep": lambda project, place: as_user(project, f"printf 'a = %s' {'[' * 20_000} > {place}"),
    "other user": lambda project, place: as_user(
        project, f"printf '[project]\\nuser = \"root\"\\n' > {place}"
    ),
    "escape": lambda project, place: as_user(project, f"printf '[\"\\\\u001b[2J\"]\\n' > {place}"),
}


def test_hostile_files_are_refused_with_a_message_and_the_last_good_one_goes_on(
    server: Server, shop: TestProject
) -> None:
    place = offer(shop, THUMBS)
    server.ok("apply", shop.name)
    before, files = pids(server, shop), server.snapshot()
    for name, spoil in HOSTILE.items():
        place = offer(shop, THUMBS)
        spoil(shop, place)

        said = server.run("apply", shop.name)

        assert said.status in (1, 2), (name, said)
        assert f"{shop.root}/current/shiftboss.toml" in said.stderr, (name, said)
        assert "Traceback" not in said.stderr
        assert "\x1b" not in said.stdout + said.stderr
        assert (pids(server, shop), server.snapshot()) == (before, files), name
        as_user(shop, f"rm -rf {shop.root}/r/new")
