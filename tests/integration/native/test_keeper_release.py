"""The keeper tells where `current` leads, at once, and without looking at it all the time."""

import grp
import os
import time

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import NO_ROOM, Rig, rig, until

from shiftboss.core.wire import messages

pytestmark = pytest.mark.needs_root
HANG = """
import os, time
from shiftboss.confine import releases
look = releases.look
def look_if_the_disk_answers(*arguments):
    while os.path.exists({flag!r}):
        open({flag!r} + ".pid", "w").close()
        time.sleep(100)
    return look(*arguments)
releases.look = look_if_the_disk_answers
"""


def deploy(made: Rig, name: str) -> None:
    """Let `current` lead to a new release, as deploy tools do it: a new link is moved over the old one."""
    (made.releases / name).mkdir()
    made.own(made.releases)
    link = made.current.with_name("current.new")
    link.symlink_to(f"releases/{name}")
    link.rename(made.current)


@every_kind
def test_deploy_is_told(kind: Kind) -> None:
    with keeper_of(kind) as made:
        made.write(made.entry("true"))
        engine = made.start().engine()
        engine.send(messages.Sync())
        assert engine.expect(messages.Release) == messages.Release("app", str(made.releases / "1"))
        engine.expect(messages.Synced)
        engine.seen.clear()
        for name in ("2", "3"):
            deploy(made, name)
            assert engine.expect(messages.Release, 2) == messages.Release("app", str(made.releases / name))
        made.current.unlink()
        assert engine.expect(messages.Release, 2) == messages.Release("app", "")
        made.current.symlink_to("releases/1")
        assert engine.expect(messages.Release, 2) == messages.Release("app", str(made.releases / "1"))
        assert engine.nothing_more(0.2)


def test_project_that_does_not_exist_yet_is_followed_from_its_first_directory_on() -> None:
    with rig() as made:
        root = made.root / "later" / "deep"
        entry = made.entry(
            "true", address="shop/queue", current=str(root / "current"), directory=str(root / "current")
        )
        made.write(entry)
        engine = made.start().engine()
        engine.send(messages.Sync())
        assert engine.expect(messages.Release).path == ""
        (root / "releases" / "a").mkdir(parents=True)
        time.sleep(0.2)
        (root / "current").symlink_to("releases/a")
        assert engine.expect(messages.Release, 2).path == str(root / "releases" / "a")
        (root / "current").unlink()
        assert engine.expect(messages.Release, 2).path == ""


def test_project_directory_that_is_replaced_is_followed() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        engine = made.start().engine()
        engine.send(messages.Sync())
        engine.expect(messages.Release)
        made.current.parent.rename(made.root / "old")
        assert engine.expect(messages.Release, 2).path == ""
        (made.releases / "9").mkdir(parents=True)
        made.current.symlink_to("releases/9")
        assert engine.expect(messages.Release, 2).path == str(made.releases / "9")
        deploy(made, "10")
        assert engine.expect(messages.Release, 2).path == str(made.releases / "10")


def test_release_that_the_user_may_not_enter_is_none_and_root_does_not_follow_links_for_it() -> None:
    with rig() as made:
        made.write(made.entry("true", user="games"))
        (made.root / "secret").mkdir(mode=0o700)
        engine = made.start().engine()
        engine.send(messages.Sync())
        assert engine.expect(messages.Release).path == str(made.releases / "1")
        made.current.unlink()
        made.current.symlink_to(made.root / "secret")
        assert engine.expect(messages.Release, 2).path == ""


def test_release_whose_name_is_no_text_is_told_as_text() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000"))
        engine = made.start().engine()
        engine.send(messages.Sync())
        assert engine.expect(messages.Release).path == str(made.releases / "1")
        os.mkdir(os.fsencode(made.releases) + b"/r\xff")
        made.own(made.releases)
        link = made.current.with_name("current.new")
        os.symlink(b"releases/r\xff", link)
        link.rename(made.current)
        shown = f"{made.releases}/r\\xff"
        assert engine.expect(messages.Release, 2).path == shown
        engine.send(messages.Spawn("app/worker", 1, 1))
        assert engine.expect(messages.Spawned, 2).release == shown


def test_project_that_changes_its_directory_all_the_time_does_not_keep_the_keeper_busy() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        made.start().synced()
        before = cpu_seconds(made.pid)
        end, changes = time.monotonic() + 2, 0
        while time.monotonic() < end:
            os.close(os.open(made.current.parent / "current.tmp", os.O_CREAT | os.O_WRONLY))
            os.unlink(made.current.parent / "current.tmp")
            changes += 1
        assert changes > 1000
        assert cpu_seconds(made.pid) - before < 0.7


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


def test_a_deploy_while_the_machine_has_no_room_for_a_look_is_told_later() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        flag = made.root / "no-room"
        made.prelude = NO_ROOM.format(flag=str(flag))
        engine = made.start().synced()
        engine.expect(messages.Release)
        flag.touch()
        deploy(made, "2")
        until(lambda: "cannot look at the release of app: no room" in made.log, "a look that failed")
        flag.unlink()
        assert engine.expect(messages.Release, path=str(made.releases / "2"))


def test_a_look_that_is_killed_is_made_again() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        flag = made.root / "hang"
        made.prelude = HANG.format(flag=str(flag))
        flag.touch()
        engine = made.start().synced()
        until(lambda: (made.root / "hang.pid").exists(), "a look that hangs")
        flag.unlink()
        assert engine.expect(messages.Release, 20, path=str(made.releases / "1"))


def test_who_may_enter_by_a_group_that_the_manifest_has_now_is_told() -> None:
    with rig() as made:
        group = grp.getgrnam("news").gr_gid
        (made.releases / "1").chmod(0o750)
        os.chown(made.releases / "1", 0, group)
        made.write(made.entry("true", user="games"))
        engine = made.start().engine()
        engine.send(messages.Sync())
        assert engine.expect(messages.Release).path == ""
        made.write(made.entry("true", user="games", groups=(group,)))
        engine.send(messages.Reload())
        assert engine.expect(messages.Release).path == str(made.releases / "1")
