"""What the `Files` port promises, over the real files of this machine and the ones in memory alike."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftboss.core.errors import HostError
from shiftboss.core.facts import PathFacts
from shiftboss.host.accounts import RealAccounts
from shiftboss.host.files import LIMIT
from tests.contract.worlds import STRANGER, FakeWorld, RealWorld, World

OWN = RealAccounts().own()
needs_root = pytest.mark.needs_root


@pytest.fixture(params=["real", "memory"])
def world(request: pytest.FixtureRequest, public_tmp: Path) -> Iterator[World]:
    before = os.umask(0o077)  # what we create must not depend on it
    yield RealWorld(public_tmp) if request.param == "real" else FakeWorld()
    os.umask(before)


def refusal(error: pytest.ExceptionInfo[HostError], *words: str) -> None:
    """Check that an error says what could not be done to what, on one line, and what to do."""
    assert "\n" not in error.value.message
    assert error.value.message.startswith("cannot ")
    for word in words:
        assert word in error.value.message
    assert error.value.hint.endswith((".", ")"))


class TestReading:
    def test_gives_the_text_of_a_file(self, world: World) -> None:
        world.write(f"{world.root}/a.toml", "Grüße\r\n\n".encode())

        assert world.files.read(f"{world.root}/a.toml") == "Grüße\r\n\n"

    def test_gives_none_for_no_file_and_no_directory(self, world: World) -> None:
        assert world.files.read(f"{world.root}/absent") is None
        assert world.files.read(f"{world.root}/absent/file") is None

    def test_refuses_a_link_even_to_a_good_file(self, world: World) -> None:
        world.write(f"{world.root}/good", b"text")
        world.link(f"{world.root}/a", f"{world.root}/good")

        with pytest.raises(HostError) as error:
            world.files.read(f"{world.root}/a")
        refusal(error, "read", f"{world.root}/a")

    @pytest.mark.parametrize("kind", ["fifo", "directory"])
    def test_refuses_what_is_no_regular_file_without_waiting(self, world: World, kind: str) -> None:
        getattr(world, kind)(f"{world.root}/a")

        with pytest.raises(HostError) as error:
            world.files.read(f"{world.root}/a")
        refusal(error, "it is no regular file")

    def test_takes_a_file_of_one_mebibyte_and_refuses_a_larger_one(self, world: World) -> None:
        world.write(f"{world.root}/fits", b"x" * LIMIT)
        world.write(f"{world.root}/large", b"x" * (LIMIT + 1))

        assert world.files.read(f"{world.root}/fits") == "x" * LIMIT
        with pytest.raises(HostError) as error:
            world.files.read(f"{world.root}/large")
        refusal(error, "more than 1048576 bytes")

    def test_refuses_what_is_not_utf_8(self, world: World) -> None:
        world.write(f"{world.root}/a", b"caf\xe9")

        with pytest.raises(HostError) as error:
            world.files.read(f"{world.root}/a")
        refusal(error, f"{world.root}/a", "not UTF-8")

    def test_refuses_a_path_through_a_file(self, world: World) -> None:
        world.write(f"{world.root}/file", b"")

        with pytest.raises(HostError) as error:
            world.files.read(f"{world.root}/file/below")
        refusal(error, "not a directory")


class TestLinksOnTheWay:
    def test_own_links_are_followed_absolute_and_relative(self, world: World) -> None:
        world.directory(f"{world.root}/real/deep")
        world.write(f"{world.root}/real/deep/a", b"text")
        world.link(f"{world.root}/absolute", f"{world.root}/real")
        world.link(f"{world.root}/relative", "absolute/../real")

        assert world.files.read(f"{world.root}/absolute/deep/a") == "text"
        assert world.files.read(f"{world.root}/relative/deep/a") == "text"

    def test_a_loop_of_links_ends(self, world: World) -> None:
        world.link(f"{world.root}/a", f"{world.root}/b")
        world.link(f"{world.root}/b", f"{world.root}/a")

        with pytest.raises(HostError) as error:
            world.files.read(f"{world.root}/a/file")
        refusal(error, "too many links")

    @needs_root
    def test_links_of_others_are_refused_whatever_is_done_below_them(self, world: World) -> None:
        world.directory(f"{world.root}/target")
        world.write(f"{world.root}/target/secret", b"secret")
        world.link(f"{world.root}/planted", f"{world.root}/target", by_stranger=True)
        below, files = f"{world.root}/planted/secret", world.files

        for act in (
            lambda: files.read(below),
            lambda: files.stage(below, "text", 0o644),
            lambda: files.commit(below + "~", below),
            lambda: files.remove(below),
            lambda: files.make_directory(f"{below}.d/deeper", 0, 0, 0o755),
            lambda: files.create_file(f"{below}2", 0, 0, 0o644),
            lambda: files.tail(below, 10),
            lambda: files.size(below),
            lambda: files.matching(f"{world.root}/planted", "*"),
            lambda: files.lock(f"{below}.lock", lambda: None).__enter__(),
        ):
            with pytest.raises(HostError) as error:
                act()
            refusal(error, "planted is a link made by uid 65534")
        assert world.names(f"{world.root}/target") == {"secret"}
        assert world.content(f"{world.root}/target/secret") == b"secret"


class TestReadingAsSomebody:
    def test_gives_text_and_follows_links(self, world: World) -> None:
        world.write(f"{world.root}/file", b"text \xff")
        world.link(f"{world.root}/link", "file")

        assert world.files.read_as(OWN, f"{world.root}/link", limit=10) == "text �"

    def test_gives_none_for_what_is_absent_too_large_or_no_file(self, world: World) -> None:
        world.write(f"{world.root}/large", b"12345")
        world.fifo(f"{world.root}/fifo")
        world.link(f"{world.root}/loop", "loop")

        for name in ("absent", "large", "fifo", "loop", ".", "large/below"):
            assert world.files.read_as(OWN, f"{world.root}/{name}", limit=4) is None, name
        assert world.files.read_as(OWN, f"{world.root}/large", limit=5) == "12345"

    @needs_root
    def test_has_no_more_rights_than_the_account(self, world: World) -> None:
        world.write(f"{world.root}/secret", b"secret", mode=0o600)
        world.write(f"{world.root}/open", b"open")
        world.directory(f"{world.root}/closed", mode=0o700)
        world.write(f"{world.root}/closed/open", b"open")
        world.link(f"{world.root}/link", "secret")

        read = {
            name: world.files.read_as(STRANGER, f"{world.root}/{name}", limit=100)
            for name in ("secret", "open", "closed/open", "link")
        }

        assert read == {"secret": None, "open": "open", "closed/open": None, "link": None}
        assert world.files.read(f"{world.root}/secret") == "secret", "and we are ourselves again"


class TestWhatAProjectOffers:
    """Files of a release that root takes orders from: hostile in every way."""

    def test_links_lead_the_way_but_the_file_itself_is_none(self, world: World) -> None:
        world.directory(f"{world.root}/releases/1")
        world.write(f"{world.root}/releases/1/a.toml", b"text")
        world.link(f"{world.root}/current", "releases/1", by_stranger=True)
        world.link(f"{world.root}/releases/1/b.toml", "a.toml")

        assert world.files.read_offered(OWN, f"{world.root}/current/a.toml", limit=4) == "text"
        with pytest.raises(HostError) as error:
            world.files.read_offered(OWN, f"{world.root}/current/b.toml", limit=4)
        refusal(error, "read", f"{world.root}/current/b.toml")

    def test_nothing_there_is_no_error(self, world: World) -> None:
        assert world.files.read_offered(OWN, f"{world.root}/current/a.toml", limit=4) is None
        assert world.files.read_offered(OWN, f"{world.root}/a.toml", limit=4) is None

    def test_refuses_what_is_large_no_file_or_no_text(self, world: World) -> None:
        world.write(f"{world.root}/large", b"12345")
        world.write(f"{world.root}/bytes", b"\xff")
        world.fifo(f"{world.root}/fifo")
        world.directory(f"{world.root}/directory")
        world.link(f"{world.root}/dangling", "absent")
        for name, words in (
            ("large", "more than 4 bytes"),
            ("bytes", "not UTF-8"),
            ("fifo", "no regular file"),
            ("directory", "no regular file"),
            ("dangling", "cannot read"),
        ):
            with pytest.raises(HostError) as error:
                world.files.read_offered(OWN, f"{world.root}/{name}", limit=4)
            refusal(error, words)

    @needs_root
    def test_has_no_more_rights_than_the_account(self, world: World) -> None:
        world.write(f"{world.root}/secret", b"secret", mode=0o600)
        with pytest.raises(HostError) as error:
            world.files.read_offered(STRANGER, f"{world.root}/secret", limit=100)
        refusal(error, f"{world.root}/secret")
        assert world.files.read_offered(OWN, f"{world.root}/secret", limit=100) == "secret"


class TestListing:
    def test_gives_matching_paths_in_order_without_directories_and_hidden_ones(self, world: World) -> None:
        for name in ("b.toml", "a.toml", ".hidden.toml", "c.conf"):
            world.write(f"{world.root}/{name}", name.encode())
        world.directory(f"{world.root}/d.toml")
        world.link(f"{world.root}/e.toml", "a.toml")
        world.fifo(f"{world.root}/f.toml")
        paths = [f"{world.root}/{name}.toml" for name in "abef"]

        assert world.files.matching(world.root, "*.toml") == tuple(paths)
        assert world.files.read_matching(world.root, "*.toml") == {paths[0]: "a.toml", paths[1]: "b.toml"}
        assert world.files.matching(world.root, ".h*") == (f"{world.root}/.hidden.toml",)

    def test_refuses_a_directory_that_is_not_there(self, world: World) -> None:
        with pytest.raises(HostError) as error:
            world.files.read_matching(f"{world.root}/absent", "*")
        refusal(error, f"cannot read {world.root}/absent: no such file or directory")


class TestLooking:
    def test_tells_owner_mode_and_type_and_does_not_follow(self, world: World) -> None:
        world.write(f"{world.root}/file", b"", mode=0o640)
        world.directory(f"{world.root}/directory", mode=0o2750)
        world.link(f"{world.root}/link", "file")
        world.fifo(f"{world.root}/fifo")

        assert world.files.stat(f"{world.root}/file") == PathFacts(OWN.uid, OWN.gid, 0o640, "file")
        assert world.files.stat(f"{world.root}/directory") == PathFacts(OWN.uid, OWN.gid, 0o2750, "directory")
        facts = [world.files.stat(f"{world.root}/{name}") for name in ("link", "fifo")]
        assert [fact.type for fact in facts if fact] == ["link", "other"]

    def test_tells_none_for_nothing(self, world: World) -> None:
        world.write(f"{world.root}/file", b"")

        assert world.files.stat(f"{world.root}/absent") is None
        assert world.files.stat(f"{world.root}/file/below") is None

    def test_real_path_follows_every_link_to_its_end(self, world: World) -> None:
        world.directory(f"{world.root}/releases/2")
        world.link(f"{world.root}/current", "releases/2")
        world.link(f"{world.root}/dangling", "releases/3")
        world.link(f"{world.root}/loop", "loop")

        assert world.files.real_path(f"{world.root}/current") == f"{world.root}/releases/2"
        assert world.files.real_path(f"{world.root}/dangling") is None
        assert world.files.real_path(f"{world.root}/loop") is None
        assert world.files.real_path(f"{world.root}/absent") is None

    def test_modified_tells_when_something_was_written_to_a_regular_file(self, world: World) -> None:
        world.write(f"{world.root}/empty", b"")
        world.write(f"{world.root}/full", b"line\n")
        world.link(f"{world.root}/link", "full")

        assert isinstance(world.files.modified(f"{world.root}/full"), float)
        for name in ("empty", "link", "absent", "full/below"):
            assert world.files.modified(f"{world.root}/{name}") is None, name

    def test_tail_gives_the_last_bytes_and_size_all_of_them(self, world: World) -> None:
        world.write(f"{world.root}/log", b"0123456789")

        assert world.files.tail(f"{world.root}/log", 4) == b"6789"
        assert world.files.tail(f"{world.root}/log", 100) == b"0123456789"
        assert world.files.tail(f"{world.root}/log", 0) == b""
        assert world.files.size(f"{world.root}/log") == 10

    def test_tail_and_size_of_nothing_are_nothing(self, world: World) -> None:
        assert world.files.tail(f"{world.root}/absent/log", 4) == b""
        assert world.files.size(f"{world.root}/absent") == 0

    @pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
    def test_tail_and_size_refuse_what_is_no_regular_file(self, world: World, kind: str) -> None:
        world.write(f"{world.root}/passwd", b"secret")
        if kind == "link":
            world.link(f"{world.root}/log", "passwd")
        else:
            getattr(world, kind)(f"{world.root}/log")

        for look in (lambda path: world.files.tail(path, 10), world.files.size):
            with pytest.raises(HostError) as error:
                look(f"{world.root}/log")
            refusal(error, "read", f"{world.root}/log")


class TestWriting:
    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
    def test_stage_then_commit_puts_the_text_there_with_the_mode(self, world: World, mode: int) -> None:
        staged = world.files.stage(f"{world.root}/a.conf", "Grüße\n", mode)
        assert world.names(world.root) == {staged.rpartition("/")[2]}

        world.files.commit(staged, f"{world.root}/a.conf")

        assert world.names(world.root) == {"a.conf"}
        assert world.content(f"{world.root}/a.conf") == "Grüße\n".encode()
        assert world.files.stat(f"{world.root}/a.conf") == PathFacts(OWN.uid, OWN.gid, mode, "file")

    def test_a_staged_file_has_a_name_that_everybody_passes_over(self, world: World) -> None:
        staged = {world.files.stage(f"{world.root}/a.conf", "", 0o600) for _ in range(3)}

        assert len(staged) == 3
        assert all(re.fullmatch(rf"{world.root}/\.a\.conf\.[0-9a-f]+~", path) for path in staged)
        assert world.files.matching(world.root, "*") == ()

    def test_commit_replaces_a_file_and_a_link_but_not_where_it_leads(self, world: World) -> None:
        world.write(f"{world.root}/file", b"old", mode=0o600)
        world.link(f"{world.root}/link", "file")

        world.files.commit(world.files.stage(f"{world.root}/link", "new", 0o644), f"{world.root}/link")

        assert world.content(f"{world.root}/file") == b"old"
        assert world.files.read(f"{world.root}/link") == "new"

    def test_commit_does_not_replace_a_directory(self, world: World) -> None:
        world.directory(f"{world.root}/a")
        staged = world.files.stage(f"{world.root}/a", "new", 0o644)

        with pytest.raises(HostError) as error:
            world.files.commit(staged, f"{world.root}/a")
        refusal(error, f"cannot write {world.root}/a")

    def test_stage_needs_its_directory(self, world: World) -> None:
        with pytest.raises(HostError) as error:
            world.files.stage(f"{world.root}/absent/a", "text", 0o644)
        refusal(error, f"cannot write {world.root}/absent/a", "no such file")

    def test_remove_takes_the_link_and_not_its_target(self, world: World) -> None:
        world.write(f"{world.root}/file", b"text")
        world.link(f"{world.root}/link", "file")

        world.files.remove(f"{world.root}/link")

        assert world.names(world.root) == {"file"}

    def test_remove_of_nothing_is_no_error(self, world: World) -> None:
        world.files.remove(f"{world.root}/absent")
        world.files.remove(f"{world.root}/absent/below")

    def test_remove_refuses_a_directory(self, world: World) -> None:
        world.directory(f"{world.root}/a")

        with pytest.raises(HostError) as error:
            world.files.remove(f"{world.root}/a")
        refusal(error, f"cannot remove {world.root}/a")


class TestMaking:
    @needs_root
    def test_a_directory_has_owner_and_mode_and_its_parents_are_roots(self, world: World) -> None:
        world.files.make_directory(f"{world.root}/a/b/logs", STRANGER.uid, STRANGER.gid, 0o2750)

        assert world.files.stat(f"{world.root}/a") == PathFacts(0, 0, 0o755, "directory")
        assert world.files.stat(f"{world.root}/a/b") == PathFacts(0, 0, 0o755, "directory")
        logs = PathFacts(STRANGER.uid, STRANGER.gid, 0o2750, "directory")
        assert world.files.stat(f"{world.root}/a/b/logs") == logs

    @pytest.mark.parametrize("kind", ["directory", "file", "link"])
    def test_what_is_there_stays_as_it_is(self, world: World, kind: str) -> None:
        if kind == "directory":
            world.directory(f"{world.root}/a", mode=0o700)
        elif kind == "file":
            world.write(f"{world.root}/a", b"text", mode=0o600)
        else:
            world.link(f"{world.root}/a", "elsewhere")
        before = world.files.stat(f"{world.root}/a")

        world.files.make_directory(f"{world.root}/a", OWN.uid, OWN.gid, 0o755)

        assert world.files.stat(f"{world.root}/a") == before
        assert world.names(world.root) == {"a"}

    @needs_root
    def test_a_file_is_made_empty_with_owner_and_mode(self, world: World) -> None:
        world.files.create_file(f"{world.root}/log", STRANGER.uid, STRANGER.gid, 0o640)

        facts = PathFacts(STRANGER.uid, STRANGER.gid, 0o640, "file")
        assert world.files.stat(f"{world.root}/log") == facts
        assert world.content(f"{world.root}/log") == b""

    def test_a_file_that_is_there_keeps_content_and_mode(self, world: World) -> None:
        world.write(f"{world.root}/log", b"lines", mode=0o600)

        world.files.create_file(f"{world.root}/log", OWN.uid, OWN.gid, 0o666)

        assert world.content(f"{world.root}/log") == b"lines"
        assert world.files.stat(f"{world.root}/log") == PathFacts(OWN.uid, OWN.gid, 0o600, "file")

    @pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
    def test_a_file_is_not_made_through_a_link_or_over_something_else(self, world: World, kind: str) -> None:
        if kind == "link":
            world.link(f"{world.root}/log", f"{world.root}/passwd")
        else:
            getattr(world, kind)(f"{world.root}/log")

        with pytest.raises(HostError) as error:
            world.files.create_file(f"{world.root}/log", OWN.uid, OWN.gid, 0o640)
        refusal(error, f"cannot create {world.root}/log")
        assert world.names(world.root) == {"log"}


class TestLock:
    def test_is_held_inside_and_free_afterwards_also_after_an_error(self, world: World) -> None:
        path, waited = f"{world.root}/run/lock", list[str]()

        with pytest.raises(ZeroDivisionError), world.files.lock(path, lambda: waited.append("first")):
            raise ZeroDivisionError
        with world.files.lock(path, lambda: waited.append("second")):
            pass

        assert waited == []
        assert world.files.stat(path) == PathFacts(OWN.uid, OWN.gid, 0o600, "file")
        assert world.files.stat(f"{world.root}/run") == PathFacts(OWN.uid, OWN.gid, 0o755, "directory")

    def test_waits_for_another_process_and_says_so_once(self, world: World) -> None:
        path, waited = f"{world.root}/lock", list[str]()
        let_go = world.hold(path)

        def waiting() -> None:
            waited.append("waiting")
            let_go()

        with world.files.lock(path, waiting):
            assert waited == ["waiting"]

    def test_is_not_taken_through_a_link(self, world: World) -> None:
        world.write(f"{world.root}/elsewhere", b"")
        world.link(f"{world.root}/lock", "elsewhere")

        with pytest.raises(HostError) as error, world.files.lock(f"{world.root}/lock", lambda: None):
            pass
        refusal(error, f"cannot lock {world.root}/lock")


class TestSurvey:
    def test_tells_a_directory_and_its_entries_without_following_links(self, world: World) -> None:
        world.directory(f"{world.root}/p", mode=0o755)
        world.write(f"{world.root}/p/.env", b"x", mode=0o604)
        world.directory(f"{world.root}/p/shared", mode=0o750)
        world.link(f"{world.root}/p/current", "shared")

        found = world.files.survey(OWN, f"{world.root}/p")

        kinds = {path.removeprefix(f"{world.root}/p"): facts.type for path, facts in found.items()}
        assert kinds == {"": "directory", "/.env": "file", "/shared": "directory", "/current": "link"}
        assert found[f"{world.root}/p/.env"].mode == 0o604
        assert world.files.survey(OWN, f"{world.root}/absent") == {}

    @needs_root
    def test_tells_no_more_than_the_account_may_see(self, world: World) -> None:
        world.directory(f"{world.root}/closed", mode=0o700)
        world.write(f"{world.root}/closed/secret", b"x")
        assert world.files.survey(STRANGER, f"{world.root}/closed") == {}
