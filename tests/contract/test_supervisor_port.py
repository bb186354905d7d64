"""What the `Supervisor` port promises, over a real supervisord and the one in memory alike."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from shiftboss.core.errors import HostError
from shiftboss.core.facts import ProcessFacts
from shiftboss.host.fake import fake_machine
from shiftboss.host.ports import Supervisor
from shiftboss.host.supervisord import Supervisord
from tests.supervisord import TemporarySupervisord
from tests.waiting import wait_until


class Site(Protocol):
    """A Supervisor, its program files, and how time passes there."""

    port: Supervisor

    def program(self, name: str, *lines: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def wait(self, condition: Callable[[], bool]) -> None: ...


def text_of(name: str, lines: tuple[str, ...]) -> str:
    return "\n".join((f"[program:{name}]", "command=/bin/sleep 1000", "startsecs=1", *lines, ""))


class RealSite:
    def __init__(self, daemon: TemporarySupervisord) -> None:
        self._daemon = daemon
        self.port = Supervisord(daemon.site)

    def program(self, name: str, *lines: str) -> None:
        self._daemon.write(f"{name}.conf", text_of(name, lines))

    def remove(self, name: str) -> None:
        (self._daemon.conf_dir / f"{name}.conf").unlink()

    def wait(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, 30)


class FakeSite:
    def __init__(self) -> None:
        self._machine = fake_machine()
        self.port = self._machine.supervisord

    def program(self, name: str, *lines: str) -> None:
        self._machine.files.write(f"{self.port.conf_dir}/{name}.conf", text_of(name, lines))

    def remove(self, name: str) -> None:
        self._machine.files.delete(f"{self.port.conf_dir}/{name}.conf")

    def wait(self, condition: Callable[[], bool]) -> None:
        for _ in range(300):
            if condition():
                return
            self._machine.clock.pass_by(0.1)
        raise AssertionError("waited 30 s of time in memory")


@pytest.fixture(scope="module", params=["real", "memory"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "memory":
        yield FakeSite()
        return
    directory = tempfile.mkdtemp(prefix="shiftboss-test-", dir="/tmp")
    with TemporarySupervisord(directory) as daemon:
        yield RealSite(daemon)
    shutil.rmtree(directory)


def processes(site: Site, group: str) -> dict[str, ProcessFacts]:
    return {p.name: p for p in site.port.facts().processes if p.group == group}


def wait_for(site: Site, group: str, state: str) -> None:
    site.wait(lambda: {p.state for p in processes(site, group).values()} == {state})


def take_out(site: Site, group: str) -> None:
    site.port.stop_group(group)
    site.wait(lambda: not any(p.pid for p in processes(site, group).values()))
    site.port.remove_group(group)
    site.remove(group)
    site.port.reread()


def test_reread_tells_what_the_files_now_hold_and_applies_nothing(site: Site) -> None:
    site.program("a_new")
    assert site.port.reread() == (frozenset({"a_new"}), frozenset(), frozenset())
    assert processes(site, "a_new") == {}

    site.port.add_group("a_new")
    assert site.port.reread() == (frozenset(), frozenset(), frozenset())
    site.program("a_new", "stopwaitsecs=5")
    assert site.port.reread() == (frozenset(), frozenset({"a_new"}), frozenset())
    site.remove("a_new")
    assert site.port.reread() == (frozenset(), frozenset(), frozenset({"a_new"}))
    assert processes(site, "a_new").keys() == {"a_new"}, "it runs on"

    site.program("a_new")
    take_out(site, "a_new")
    assert site.port.reread() == (frozenset(), frozenset(), frozenset())


def test_a_group_starts_when_it_is_added_and_is_told_with_its_processes(site: Site) -> None:
    site.program("several", "numprocs=2", "process_name=%(program_name)s_%(process_num)02d")
    site.port.reread()

    site.port.add_group("several")
    site.port.add_group("several")

    wait_for(site, "several", "RUNNING")
    seen = processes(site, "several")
    assert list(seen) == ["several_00", "several_01"]
    assert len({process.pid for process in seen.values()}) == 2
    assert all(0 <= process.now - process.started < 60 for process in seen.values())
    take_out(site, "several")


def test_a_process_without_autostart_is_started_by_hand(site: Site) -> None:
    site.program("by_hand", "autostart=false")
    site.port.reread()
    site.port.add_group("by_hand")
    assert processes(site, "by_hand")["by_hand"].state == "STOPPED"

    site.port.start_process("by_hand:by_hand")
    wait_for(site, "by_hand", "RUNNING")
    pid = processes(site, "by_hand")["by_hand"].pid
    site.port.start_process("by_hand:by_hand")
    assert processes(site, "by_hand")["by_hand"].pid == pid, "one that runs is left alone"

    site.port.stop_process("by_hand:by_hand")
    wait_for(site, "by_hand", "STOPPED")
    site.port.stop_process("by_hand:by_hand")
    assert processes(site, "by_hand")["by_hand"].pid == 0
    take_out(site, "by_hand")


def test_a_group_that_runs_is_not_removed(site: Site) -> None:
    site.program("busy")
    site.port.reread()
    site.port.add_group("busy")
    wait_for(site, "busy", "RUNNING")

    with pytest.raises(
        HostError, match="cannot remove busy from Supervisor: some of its processes still run"
    ):
        site.port.remove_group("busy")
    take_out(site, "busy")
    site.port.remove_group("busy")


def test_unknown_names_are_refused_with_what_to_do(site: Site) -> None:
    for act in (
        lambda: site.port.add_group("never_seen"),
        lambda: site.port.stop_group("never_seen"),
        lambda: site.port.start_process("never_seen:never_seen"),
        lambda: site.port.stop_process("never_seen:never_seen"),
    ):
        with pytest.raises(HostError, match=r"cannot find never_seen.* in Supervisor") as error:
            act()
        assert "shiftboss apply" in error.value.hint


def test_one_broken_file_ends_the_reread_of_all(site: Site) -> None:
    site.program("broken", "numprocs=many")
    site.program("sound")

    with pytest.raises(HostError, match="cannot let Supervisor read its files again") as error:
        site.port.reread()
    assert error.value.hint.startswith("Correct the file")

    site.remove("broken")
    site.remove("sound")
    assert site.port.reread() == (frozenset(), frozenset(), frozenset())
