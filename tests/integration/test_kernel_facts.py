"""What the kernel and the clocks of this machine say."""

import os
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from shiftboss.host.clock import RealClock
from shiftboss.host.processes import RealProcesses


def test_a_process_has_a_directory_and_a_usage() -> None:
    own = RealProcesses().usage()[os.getpid()]

    assert (own.pid, own.parent) == (os.getpid(), os.getppid())
    assert own.memory_bytes > 1024 * 1024
    assert own.cpu_percent >= 0
    assert RealProcesses().working_directory(os.getpid()) == os.getcwd()
    assert RealProcesses().working_directory(2**22 + 1) is None


def test_running_processes_are_found_by_a_word_of_theirs(tmp_path: Path) -> None:
    word = f"word-{os.getpid()}-{os.urandom(4).hex()}"
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, word, "a b"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (found,) = RealProcesses().running(word)
        assert process.stdin is not None
        process.stdin.close()

    assert (found.pid, found.parent, found.uid) == (process.pid, os.getpid(), os.geteuid())
    assert found.argv[-2:] == (word, "a b")
    assert found.directory == str(tmp_path.resolve())
    assert RealProcesses().running(word) == ()


def test_who_listens_on_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listener = RealProcesses().listener(port)
        assert listener is not None
        assert listener.pid == os.getpid()
        assert "python" in listener.command
    assert RealProcesses().listener(port) is None


def test_now_is_aware_and_in_the_zone_of_the_server() -> None:
    clock = RealClock()
    assert clock.now().tzinfo == clock.zone()
    assert abs(clock.now().timestamp() - datetime.now().timestamp()) < 5
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.01
