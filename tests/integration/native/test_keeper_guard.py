"""Who may say what runs, what there is room for, and who else may start a keeper."""

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import DEADLINE, Engine, lives, read_all, rig, until

from shiftboss.core.wire import messages
from shiftboss.core.wire.manifest import manifest_text

pytestmark = pytest.mark.needs_root
ME = "0"


def offers(engine: Engine) -> tuple[set[str], dict[str, str]]:
    """Return the addresses that may run and what is wrong, as of a new Reload: told as differences, and in full."""
    before = {r.entry.address for r in engine.all if isinstance(r, messages.Offer)}
    engine.seen.clear()
    engine.send(messages.Reload())
    changed = engine.expect(messages.Manifest)
    new = {
        r.entry.address for r in engine.all if isinstance(r, messages.Offer) and r.serial == changed.serial
    }
    told = engine.sync()
    manifest = next(r for r in told if isinstance(r, messages.Manifest))
    found = {r.entry.address for r in told if isinstance(r, messages.Offer)}
    assert len(found) == manifest.total
    assert (before - set(changed.removed)) | new == found
    assert (manifest.serial, manifest.base, manifest.errors) == (changed.serial, 0, changed.errors)
    engine.seen.clear()
    return found, manifest.errors


def test_manifest_of_another_owner_or_writable_by_others_is_refused() -> None:
    with rig() as made:
        made.write(made.entry("true"), made.entry("true", address="shop/queue"))
        engine = made.start().synced()
        file = made.manifest / "shop.json"
        assert offers(engine) == ({"app/worker", "shop/queue"}, {})
        changed = made.entry("id", address="shop/evil")
        made.write(changed)
        os.chown(file, 5, 60)
        both = {"app/worker", "shop/queue"}
        assert offers(engine) == (both, {"shop.json": "belongs to uid 5, not to uid 0"})
        os.chown(file, 0, 0)
        file.chmod(0o664)
        assert offers(engine) == (both, {"shop.json": "can be written by others (mode 664)"})
        engine.send(messages.Spawn("shop/evil", 1, 1))
        assert engine.expect(messages.SpawnFailed).step == "unknown"
        file.chmod(0o600)
        assert offers(engine) == ({"app/worker", "shop/evil"}, {})


@pytest.mark.parametrize("what", ["link", "fifo", "directory"])
def test_manifest_that_is_no_regular_file_is_refused(what: str) -> None:
    with rig() as made:
        made.write(made.entry("true"))
        engine = made.start().synced()
        file = made.manifest / "shop.json"
        if what == "link":
            (made.root / "elsewhere").write_text(
                manifest_text("shop", (made.entry("id", address="shop/evil"),))
            )
            file.symlink_to(made.root / "elsewhere")
        elif what == "fifo":
            os.mkfifo(file, 0o600)
        else:
            file.mkdir()
        found, errors = offers(engine)
        assert found == {"app/worker"}
        assert set(errors) == {"shop.json"}


def test_manifest_directory_writable_by_others_keeps_what_was_before() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        engine = made.start().synced()
        made.write(made.entry("id", address="app/evil"))
        made.manifest.chmod(0o777)
        found, errors = offers(engine)
        assert found == {"app/worker"}
        assert errors == {str(made.manifest): "can be written by others (mode 777)"}
        made.manifest.chmod(0o755)
        assert offers(engine) == ({"app/evil"}, {})


def test_wrong_manifest_of_one_project_does_not_stop_another() -> None:
    with rig() as made:
        made.write(made.entry("true"), made.entry("true", address="shop/queue"))
        (made.manifest / "shop.json").write_text("{")
        (made.manifest / "blog.json").write_text(json.dumps({"version": 99}))
        (made.manifest / "notes.txt").write_text("not ours")
        engine = made.start().synced()
        found, errors = offers(engine)
        assert found == {"app/worker"}
        assert errors == {
            "shop.json": "not valid JSON",
            "blog.json": "the version is not 1: written by another shiftboss",
        }
        assert "shop.json: not valid JSON" in made.log


def test_a_changed_manifest_is_used_from_the_next_start_on_and_hangup_reads_it_too() -> None:
    with rig() as made:
        made.write(made.entry("sh", "-c", "echo one; exec sleep 1000"))
        engine = made.start().synced()
        spawned, _ = engine.spawn()
        changed = made.entry("sh", "-c", "echo two; exec sleep 1000", environment={"SECRET": "x"})
        made.write(changed)
        made.process.send_signal(signal.SIGHUP)
        engine.expect(messages.Manifest, serial=2)
        offered = next(r.entry for r in reversed(engine.all) if isinstance(r, messages.Offer))
        assert offered == changed._replace(environment={}), "secrets stay with the keeper"
        assert offered.revision != spawned.revision
        assert lives(spawned.pid)
        engine.end("app/worker", 1, 1)
        assert read_all(engine.spawn(run=2)[1], b"\n") == b"two\n"


def test_second_keeper_is_refused_and_the_first_does_not_notice() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        engine = made.start().synced()
        second = subprocess.run(made.argv("true"), capture_output=True, text=True, timeout=DEADLINE)
        assert second.returncode == 1
        assert second.stderr == f"shiftboss keeper: cannot start: another keeper runs on {made.run}\n"
        assert engine.sync()
        assert (made.run / "api.sock").is_socket()


def test_run_directory_writable_by_others_is_refused() -> None:
    with rig() as made:
        made.run.chmod(0o777)
        found = subprocess.run(made.argv("true"), capture_output=True, text=True, timeout=DEADLINE)
        assert (found.returncode, found.stderr) == (
            1,
            f"shiftboss keeper: cannot start: {made.run} can be written by others (mode 777)\n",
        )


@pytest.mark.parametrize("wrong", [[], ["--run", "x"], ["--manifest", "a", "--state", "b", "--run", "c"]])
def test_wrong_usage_is_exit_status_2(wrong: list[str]) -> None:
    with rig() as made:
        command = made.argv()[: made.argv().index("--manifest")]
        found = subprocess.run([*command, *wrong], capture_output=True, text=True, timeout=DEADLINE)
        assert found.returncode == 2
        assert found.stderr.startswith("shiftboss keeper: usage: ")


@every_kind
def test_api_socket_is_open_to_everybody_and_is_given_to_each_engine(kind: Kind) -> None:
    with keeper_of(kind) as made:
        made.write(made.entry("true"))
        first = made.start().synced()
        assert stat.S_IMODE((made.run / "api.sock").stat().st_mode) == 0o666
        os.kill(first.pid, signal.SIGKILL)
        first.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(made.run / "api.sock"))  # nobody answers just now, and nobody is turned away
            client.sendall(b"hello\n")
            second = made.engine()
            second.send(messages.Sync())
            _, descriptor = second.expect_with_fd(messages.Hello)
            with socket.socket(fileno=descriptor) as server, server.accept()[0] as peer:
                assert peer.recv(100) == b"hello\n"


def test_keeper_whose_own_user_is_out_of_processes_is_step_fork_and_nothing_breaks() -> None:
    """RLIMIT_NPROC counts the processes of a user: the keeper itself cannot fork any more (EAGAIN, setrlimit(2)).

    Under root the limit is the entry's user's, and execve(2) says it: test_engine_trouble.py.
    """
    with rig(user="news") as made:
        made.write(made.entry("sleep", "1000", processes_max=60))
        uid = made.account.pw_uid
        ids = (f"--reuid={uid}", f"--regid={made.account.pw_gid}", "--clear-groups")
        engine = made.start(before=("setpriv", *ids, "prlimit", "--nproc=12")).synced()
        for process in range(1, 31):
            engine.send(messages.Spawn("app/worker", process, 1))
        spawned, failed = [], []
        while len(spawned) + len(failed) < 30:
            assert engine.receive(DEADLINE)
            spawned += [r for r, _ in engine.seen if isinstance(r, messages.Spawned)]
            failed += [r for r, _ in engine.seen if isinstance(r, messages.SpawnFailed)]
            engine.seen.clear()
        assert 5 <= len(spawned) < 12
        assert {(each.step, each.errno) for each in failed} == {("fork", errno.EAGAIN)}
        assert failed[0].words.startswith("cannot start app/worker:")
        engine.end("app/worker", spawned[0].process, 1)
        engine.send(messages.Forget("app/worker", failed[0].process, 1))
        assert engine.spawn(process=failed[0].process, run=2)


def test_a_run_directory_without_room_stops_no_keeper_and_no_worker() -> None:
    with rig() as made:
        for name in ("keeper.pid~", "started~"):
            (made.run / name).symlink_to("/dev/full")
        made.write(made.entry("sleep", "1000"))
        engine = made.start().synced()
        spawned, _ = engine.spawn()
        assert lives(spawned.pid)
        engine.end("app/worker", 1, 1)


def test_keeper_out_of_descriptors_is_step_pipe_and_recovers() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000", processes_max=100))
        engine = made.start(before=("prlimit", "--nofile=40:40")).synced()
        for process in range(1, 61):
            engine.send(messages.Spawn("app/worker", process, 1))
        spawned, failed = [], []
        while len(spawned) + len(failed) < 60:
            assert engine.receive(DEADLINE)
            spawned += [r for r, _ in engine.seen if isinstance(r, messages.Spawned)]
            failed += [r for r, _ in engine.seen if isinstance(r, messages.SpawnFailed)]
            for _, descriptor in engine.seen:
                if descriptor >= 0:
                    os.close(descriptor)
            engine.seen.clear()
        assert len(spawned) > 10
        assert {each.errno for each in failed} == {errno.EMFILE}
        assert {each.step for each in failed} <= {"pipe", "fork"}
        os.kill(engine.pid, signal.SIGKILL)
        engine.close()
        second = made.synced()
        for each in failed:
            second.send(messages.Forget(*each[:3]))
        for each in spawned[:5]:
            second.end(*each[:3])
        assert second.spawn(process=100, run=1)


def test_read_only_state_directory_is_no_hindrance_once_it_is_made() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        made.start().synced()
        assert made.stop() == 0
        name = made.instance
        subprocess.run(["mount", "--bind", "-o", "ro", made.state, made.state], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", made.state, made.state], check=True)
        try:
            made.start().synced()
            assert made.instance == name
            assert made.stop() == 0
        finally:
            subprocess.run(["umount", made.state], check=True)


def test_systemd_is_told_when_it_is_ready_and_when_it_stops() -> None:
    with rig() as made:
        made.write(made.entry("true"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.settimeout(DEADLINE)
            notified.bind(str(made.root / "notify"))
            environment = {**os.environ, "NOTIFY_SOCKET": str(made.root / "notify")}
            made.start(env=environment).synced()
            assert notified.recv(100) == b"READY=1"
            assert made.stop() == 0
            assert notified.recv(100) == b"STOPPING=1"


def test_first_process_of_a_container_reaps_everything_and_ends_at_term() -> None:
    with rig(cgroups="none") as made:
        orphan = "(sleep 0.2; exit 5) & (setsid sleep 0.3 &) ; exit 0"
        made.write(made.entry("sh", "-c", orphan))
        made.start(before=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"))
        engine = made.synced()
        reports = engine.sync()
        assert next(r.pid for r in reports if isinstance(r, messages.Hello)) == 1
        for run in range(1, 6):
            engine.spawn(run=run)
            if not engine.expect(messages.Exited, run=run).gone:
                engine.expect(messages.Gone, run=run)
            engine.send(messages.Forget("app/worker", 1, run))
        first = int(subprocess.check_output(["pgrep", "-P", str(made.pid)]))
        children = Path(f"/proc/{first}/task/{first}/children")
        until(lambda: len(children.read_text().split()) == 1, "no zombie, only the engine")
        os.kill(first, signal.SIGTERM)
        engine.close()
        assert made.process.wait(DEADLINE) == 0


def test_idle_keeper_does_not_wake_up() -> None:
    with rig() as made:
        made.write(made.entry("sleep", "1000", processes_max=50))
        engine = made.start().synced()
        for process in range(1, 51):
            engine.spawn(process=process)
        # single timers of the start still end (the longest after 5 s); from then on there is nothing
        until(lambda: rests(made.pid, 3), "three seconds without a wake-up", 15)


def rests(pid: int, seconds: float) -> bool:
    """Tell whether a process is not woken for some time."""
    before = switches(pid)
    time.sleep(seconds)
    return switches(pid) == before


def switches(pid: int) -> int:
    """Return how often a process was given a processor."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if "ctxt_switches" in row)
