"""The machine in memory, where no suite of the real one covers it."""

from datetime import timedelta

import pytest

from shiftboss.core.errors import HostError
from shiftboss.host.fake import ROOT, fake_machine
from shiftboss.host.fake_faults import Faults
from shiftboss.host.fake_files import disk_full
from shiftboss.host.fake_supervisor import Script

PROGRAM = "[program:a]\ncommand=/bin/x\nstartsecs=2\nstopwaitsecs=10\ndirectory=/srv/current\nstdout_logfile=/var/log/a.log\n"


def test_a_fault_happens_once_at_the_call_that_was_named() -> None:
    faults, happened = Faults(), list[str]()
    faults.plant("files.stage", lambda: happened.append("second stage"), at=2)
    faults.plant("", KeyError("third of all"), at=3)

    faults.reach("files.stage", "/a")
    assert faults.unused
    faults.reach("files.stage", "/b")
    with pytest.raises(KeyError):
        faults.reach("files.read", "/c")
    faults.reach("files.stage", "/d")

    assert happened == ["second stage"]
    assert not faults.unused
    assert faults.subjects("files.stage") == ["/a", "/b", "/d"]


def test_time_passes_only_when_somebody_sleeps() -> None:
    clock = fake_machine().clock
    now, monotonic = clock.now(), clock.monotonic()
    assert clock.now() == now
    clock.sleep(90)
    assert clock.now() - now == timedelta(seconds=90)
    assert clock.monotonic() - monotonic == 90
    assert clock.now().tzinfo is clock.zone()


def test_a_full_disk_and_a_read_only_directory_refuse_as_real_ones() -> None:
    machine = fake_machine()
    machine.faults.plant("files.commit", disk_full())
    staged = machine.files.stage("/etc/x", "text", 0o644)
    with pytest.raises(HostError, match=r"^cannot write /etc/x: no space left on device$") as error:
        machine.files.commit(staged, "/etc/x")
    assert "df -h" in error.value.hint

    machine.files.read_only.add("/etc/cron.d")
    with pytest.raises(HostError, match="read-only file system"):
        machine.files.stage("/etc/cron.d/x", "text", 0o644)
    machine.files.stage("/etc/y", "text", 0o644)


def test_scripts_play_the_programs() -> None:
    machine = fake_machine()
    machine.files.link("/srv/current", "/srv/releases/1")
    machine.files.directory("/srv/releases/1")
    machine.files.write("/etc/supervisor/conf.d/a.conf", PROGRAM)
    daemon = machine.supervisord
    daemon.scripts["a"] = Script(
        ends="EXITED", after_seconds=5, exit_status=3, output="hello\n", stop_seconds=60
    )
    daemon.reread()
    daemon.add_group("a")

    assert daemon.states() == {"a:a": "STARTING"}
    assert list(daemon.living().values()) == ["/srv/releases/1"]
    assert machine.files.text("/var/log/a.log") == "hello\n"
    machine.clock.pass_by(2)
    assert daemon.states() == {"a:a": "RUNNING"}
    machine.clock.pass_by(3)
    assert daemon.facts().processes[0].exit_status == 3
    assert daemon.pids() == {}

    daemon.start_process("a:a")
    daemon.stop_process("a:a")
    machine.clock.pass_by(9.9)
    assert daemon.states() == {"a:a": "STOPPING"}
    with pytest.raises(HostError, match="it is still stopping"):
        daemon.start_process("a:a")
    machine.clock.pass_by(0.1)
    assert daemon.states() == {"a:a": "STOPPED"}, "killed at the end of its stop wait"


def test_a_daemon_that_is_down_answers_nothing() -> None:
    daemon = fake_machine().supervisord
    daemon.down = True
    for call in (
        daemon.facts,
        daemon.reread,
        lambda: daemon.add_group("a"),
        lambda: daemon.stop_process("a:a"),
    ):
        with pytest.raises(HostError, match="it is not running") as error:
            call()
        assert error.value.hint


def test_machines_share_nothing() -> None:
    first, second = fake_machine(), fake_machine()
    first.files.write("/etc/x", "text")
    first.accounts.add("ann", 1000)
    assert second.files.node("/etc/x") is None
    assert second.accounts.by_name("ann") is None
    assert second.accounts.own() == ROOT
    assert hash(first) != hash(second)
