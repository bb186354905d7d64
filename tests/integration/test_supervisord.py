"""The Supervisor port against real supervisord daemons: PyPI's and Debian's, unix socket and TCP."""

import json
import os
import pwd
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import pytest
from msgspec.structs import replace

from shiftboss.backends.supervisor_conf import program_of, render
from shiftboss.backends.supervisor_names import process_name
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.spec import Account, Project, StopPolicy, SupervisorSite, Worker
from shiftboss.host.supervisord import Supervisord
from tests.supervisord import DEBIAN_PYTHON, TemporarySupervisord, as_nobody, free_port, method
from tests.waiting import wait_until

SLEEPER = "[program:sleeper]\ncommand=/bin/sleep 1000\nstartsecs=0\n"
# It says so when it is ready to be deaf: a TERM before that would end it.
DEAF = """[program:deaf]
command=/bin/sh -c "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
startsecs=0
stopwaitsecs=5
killasgroup=true
stdout_logfile={log}
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a directory with a short path (sockets) that other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=[sys.executable, DEBIAN_PYTHON], ids=["pypi", "debian"])
def daemon(directory: Path, request: pytest.FixtureRequest) -> Iterator[TemporarySupervisord]:
    with TemporarySupervisord(directory, python=request.param) as running:
        yield running


def refusal(call: Callable[[], object]) -> str:
    """Return message and hint of the HostError that `call` raises."""
    with pytest.raises(HostError) as refused:
        call()
    assert "\n" not in refused.value.message
    assert refused.value.hint
    return f"{refused.value.message} | {refused.value.hint}"


def test_facts_tell_version_uid_and_processes(daemon: TemporarySupervisord) -> None:
    daemon.write("b.conf", SLEEPER)
    daemon.write(
        "a.conf", "[program:two]\ncommand=/bin/sleep 1000\nnumprocs=2\nprocess_name=p%(process_num)d\n"
    )
    port = Supervisord(daemon.site)
    assert port.reread() == (frozenset({"sleeper", "two"}), frozenset(), frozenset())
    assert port.facts().processes == ()
    port.add_group("two")
    port.add_group("sleeper")
    daemon.wait_for({"sleeper:sleeper": "RUNNING", "two:p0": "RUNNING", "two:p1": "RUNNING"})
    facts = port.facts()
    assert facts.version.startswith("4.")
    assert facts.uid == os.geteuid()
    assert [(p.group, p.name) for p in facts.processes] == [
        ("sleeper", "sleeper"),
        ("two", "p0"),
        ("two", "p1"),
    ]
    first = facts.processes[0]
    assert Path(f"/proc/{first.pid}/comm").read_text() == "sleep\n"
    assert first.now >= first.started > first.stopped == 0
    assert (first.exit_status, first.spawn_error) == (0, "")


def test_reread_tells_what_changed_and_went(daemon: TemporarySupervisord) -> None:
    daemon.write("sleeper.conf", SLEEPER)
    other = daemon.write("other.conf", SLEEPER.replace("sleeper", "other"))
    daemon.update("sleeper")
    daemon.update("other")
    daemon.write("sleeper.conf", SLEEPER.replace("1000", "2000"))
    other.unlink()
    port = Supervisord(daemon.site)
    assert port.reread() == (frozenset(), frozenset({"sleeper"}), frozenset({"other"}))
    assert {p.state for p in port.facts().processes} == {"RUNNING"}, "reread touches nothing"


def test_a_group_is_stopped_and_removed(daemon: TemporarySupervisord) -> None:
    daemon.write("sleeper.conf", SLEEPER)
    daemon.update("sleeper")
    daemon.wait_for({"sleeper:sleeper": "RUNNING"})
    port = Supervisord(daemon.site)
    assert "still run" in refusal(lambda: port.remove_group("sleeper"))
    port.stop_group("sleeper")
    daemon.wait_for({"sleeper:sleeper": "STOPPED"})
    port.remove_group("sleeper")
    assert port.facts().processes == ()
    port.remove_group("sleeper")


def test_starting_and_stopping_twice_is_no_error(daemon: TemporarySupervisord) -> None:
    daemon.write("sleeper.conf", SLEEPER)
    daemon.update("sleeper")
    port = Supervisord(daemon.site)
    port.add_group("sleeper")
    daemon.wait_for({"sleeper:sleeper": "RUNNING"})
    port.start_process("sleeper:sleeper")
    port.stop_process("sleeper:sleeper")
    daemon.wait_for({"sleeper:sleeper": "STOPPED"})
    port.stop_process("sleeper:sleeper")
    port.start_process("sleeper:sleeper")
    daemon.wait_for({"sleeper:sleeper": "RUNNING"})


def test_names_that_supervisor_does_not_have_are_refused(daemon: TemporarySupervisord) -> None:
    port = Supervisord(daemon.site)
    for call in (port.add_group, port.stop_group, port.start_process, port.stop_process):
        assert "cannot find nothing in Supervisor" in refusal(lambda call=call: call("nothing"))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("/no/such/program", "can't find command '/no/such/program'"),
        ("/etc/passwd", "command at '/etc/passwd' is not executable"),
    ],
)
def test_a_program_that_cannot_be_started_is_named(
    daemon: TemporarySupervisord, program: str, why: str
) -> None:
    daemon.write("bad.conf", f"[program:bad]\ncommand={program}\nautostart=false\n")
    daemon.update("bad")
    said = refusal(lambda: Supervisord(daemon.site).start_process("bad:bad"))
    assert said.startswith(f"cannot start bad:bad: {why}")


def test_a_failed_start_shows_in_the_facts(daemon: TemporarySupervisord) -> None:
    daemon.write("bad.conf", "[program:bad]\ncommand=/bin/false\nstartretries=0\n")
    daemon.update("bad")
    daemon.wait_for({"bad:bad": "FATAL"})
    (process,) = Supervisord(daemon.site).facts().processes
    assert process.spawn_error == "Exited too quickly (process log may have details)"
    assert process.pid == 0


BROKEN = {
    "user": ("user=nobody-of-that-name", "Invalid user name nobody-of-that-name"),
    "log": ("stdout_logfile=/no/such/place/x.log", "/no/such/place"),
    "percent": ("environment=PASSWORD=hunter2%(nothing)s", "'nothing'"),
    "bad percent": ("environment=PASSWORD=hunter2%", "badly formatted"),
    "variables": ("environment=PASSWORD=hunter2 hunter2 hunter2", "Unexpected end of key/value pairs"),
    "line": ("this is hunter2", "parsing errors"),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_of_another_program_is_named_without_its_secrets(
    daemon: TemporarySupervisord, case: tuple[str, str]
) -> None:
    line, reason = case
    path = daemon.write("other.conf", f"[program:other]\ncommand=/bin/true\n{line}\n")
    said = refusal(Supervisord(daemon.site).reread)
    assert said.startswith("cannot let Supervisor read its files again: ")
    assert reason in said
    assert str(path) in said
    assert "hunter2" not in said


def test_a_file_without_a_section_is_named_without_its_text(daemon: TemporarySupervisord) -> None:
    path = daemon.write("other.conf", "hunter2=hunter2\n")
    said = refusal(Supervisord(daemon.site).reread)
    assert str(path) in said
    assert "hunter2" not in said


def test_words_and_variables_arrive_at_a_real_process(daemon: TemporarySupervisord) -> None:
    report = "import json, os, sys, time; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]), flush=True); time.sleep(999)"
    words = (
        "a ; b",
        "",
        "100%",
        "%(here)s",
        "it's",
        '"',
        "\\",
        "é ;日本",
        "  x  ",
        "$HOME",
        "{}",
        "#",
        "\u00a0;",
    )
    variables = (("A", "x ; y # 100% %(here)s"), ("B", ' " '), ("C", "it's"), ("D", "日本 \\n"), ("E", ""))
    (daemon.directory / "current").mkdir()
    account = Account("someone", os.geteuid(), os.getegid(), "someone", "/home/someone")
    project = Project("myapp", str(daemon.directory), str(daemon.directory), account)
    argv = (DEBIAN_PYTHON, "-c", report, *words)
    worker = Worker(project, "report", "custom", "supervisor", argv, environment=variables)
    daemon.write("myapp_report.conf", render(worker, system=False))
    daemon.update("myapp_report")
    log = Path(worker.log_path)
    printed = wait_until(lambda: log.exists() and log.read_text().endswith("\n") and log.read_text())
    seen_words, seen_variables, seen_directory = json.loads(printed)
    assert tuple(seen_words) == words
    assert seen_variables.items() >= dict(program_of(worker, system=False).environment).items()
    assert seen_directory == f"{daemon.directory}/current"


def test_a_worker_with_several_processes_has_the_names_that_we_use(daemon: TemporarySupervisord) -> None:
    (daemon.directory / "current").mkdir()
    account = Account("someone", os.geteuid(), os.getegid(), "someone", "/home/someone")
    project = Project("myapp", str(daemon.directory), str(daemon.directory), account)
    worker = Worker(
        project, "queue", "custom", "supervisor", ("/bin/sleep", "999"), 3, StopPolicy("TERM", 5, "main")
    )
    daemon.write("myapp_queue.conf", render(worker, system=False))
    daemon.update("myapp_queue")
    daemon.wait_for({process_name(worker, n): "RUNNING" for n in (1, 2, 3)})
    Supervisord(daemon.site).stop_process(process_name(worker, 2))
    daemon.wait_for({process_name(worker, 1): "RUNNING", process_name(worker, 2): "STOPPED"})


def test_a_supervisor_that_shuts_down_says_so(daemon: TemporarySupervisord) -> None:
    log = daemon.directory / "deaf.log"
    daemon.write("deaf.conf", DEAF.format(log=log))
    daemon.update("deaf")
    wait_until(lambda: log.exists() and log.read_text() == "deaf\n")
    port = Supervisord(daemon.site)
    (process,) = port.facts().processes
    assert method(daemon.site, "supervisor.shutdown") is True
    assert "shutting down" in refusal(port.facts)
    os.killpg(process.pid, 9)


def test_a_process_that_is_still_stopping_cannot_be_started(daemon: TemporarySupervisord) -> None:
    log = daemon.directory / "deaf.log"
    daemon.write("deaf.conf", DEAF.format(log=log))
    daemon.update("deaf")
    wait_until(lambda: log.exists() and log.read_text() == "deaf\n")
    port = Supervisord(daemon.site)
    (process,) = port.facts().processes
    port.stop_process("deaf:deaf")
    daemon.wait_for({"deaf:deaf": "STOPPING"})
    assert "still stopping" in refusal(lambda: port.start_process("deaf:deaf"))
    os.killpg(process.pid, 9)
    daemon.wait_for({"deaf:deaf": "STOPPED"})


def test_tcp_with_a_password(directory: Path) -> None:
    port, secret = free_port(), "s3cret: with %% in it"
    with TemporarySupervisord(directory, port=port, username="admin", password=secret) as daemon:
        plain = secret.replace("%%", "%")
        tcp = SupervisorSite(
            conf_dir=str(daemon.conf_dir),
            server=f"http://127.0.0.1:{port}",
            username="admin",
            password=plain,
        )
        assert Supervisord(tcp).facts().version.startswith("4.")
        assert Supervisord(replace(tcp, server=f"unix://{daemon.socket}")).facts().version.startswith("4.")
        for wrong in (replace(tcp, password="wr0ng"), replace(tcp, username="", password="")):
            said = refusal(Supervisord(wrong).facts)
            assert said.startswith("cannot log in to Supervisor: wrong user name or password")
            assert "wr0ng" not in said
            assert plain not in said


def test_a_supervisor_without_its_rpc_interface(directory: Path) -> None:
    with TemporarySupervisord(directory, rpcinterface=False) as daemon:
        assert "[rpcinterface:supervisor]" in refusal(Supervisord(daemon.site).facts)


def test_a_socket_that_is_not_there(directory: Path) -> None:
    site = SupervisorSite(server=f"unix://{directory}/none.sock")
    said = refusal(Supervisord(site).facts)
    assert said.startswith(
        f"cannot talk to Supervisor, it is not running: there is no socket {directory}/none.sock"
    )
    assert "systemctl start supervisor" in said


def test_a_socket_that_nobody_listens_on_any_more(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{directory}/stale.sock")
    said = refusal(Supervisord(SupervisorSite(server=f"unix://{directory}/stale.sock")).facts)
    assert "it is not running: nobody answers at" in said


def test_a_port_that_nobody_listens_on() -> None:
    said = refusal(Supervisord(SupervisorSite(server=f"http://127.0.0.1:{free_port()}")).facts)
    assert "it is not running: nobody answers at" in said


def test_a_socket_path_that_is_too_long() -> None:
    said = refusal(Supervisord(SupervisorSite(server=f"unix:///tmp/{'x' * 200}")).facts)
    assert "cannot talk to Supervisor at /tmp/xxx" in said


@pytest.mark.parametrize(
    "server",
    ["", "supervisor.sock", "ftp://host:1", "http://host", "http://host:x", "http://a:hunter2@host:1"],
)
def test_an_address_that_is_none(server: str) -> None:
    with pytest.raises(UserError, match="cannot use that address of Supervisor") as refused:
        Supervisord(SupervisorSite(server=server))
    assert "hunter2" not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.needs_root
def test_a_socket_without_rights(directory: Path) -> None:
    with TemporarySupervisord(directory, system=True) as daemon:
        message = as_nobody(Supervisord(daemon.site).facts)
    assert (
        message
        == f"cannot talk to Supervisor: permission denied on {daemon.socket} | Run the command as root (sudo)."
    )


@pytest.mark.needs_root
def test_the_uid_is_told_of_a_daemon_that_gave_up_root(directory: Path) -> None:
    with TemporarySupervisord(directory, python=DEBIAN_PYTHON, system=True, user="nobody") as daemon:
        assert Supervisord(daemon.site).facts().uid == pwd.getpwnam("nobody").pw_uid


def test_a_daemon_that_does_not_answer_in_time(directory: Path) -> None:
    with TemporarySupervisord(directory) as daemon:
        daemon.suspend()
        said = refusal(Supervisord(daemon.site, timeout_seconds=0.2).facts)
    assert said.startswith(f"cannot talk to Supervisor: no answer from {daemon.socket} within 0.2 s")


def test_a_daemon_that_ends_and_comes_back(directory: Path) -> None:
    daemon = TemporarySupervisord(directory)
    port = Supervisord(daemon.site)
    with daemon:
        port.facts()
    assert "not running" in refusal(port.facts)
    with daemon:
        assert port.facts().processes == ()


@contextmanager
def serving(server: HTTPServer | SimpleXMLRPCServer) -> Iterator[SupervisorSite]:
    """Let a server on loopback answer while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield SupervisorSite(
            server=f"http://127.0.0.1:{server.server_address[1]}", username="a", password="hunter2"
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(SimpleXMLRPCRequestHandler):
    """XML-RPC without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(("api", "version"), [("3.0", "3.3.1"), ("2.0", "3.0b1"), ("3.0", "strange")])
def test_an_old_supervisor_is_refused(api: str, version: str) -> None:
    """Stands in for a real old one, which does not run on Python 3."""
    with SimpleXMLRPCServer(("127.0.0.1", 0), Quiet) as server:
        server.register_function(lambda: api, "supervisor.getAPIVersion")
        server.register_function(lambda: version, "supervisor.getSupervisorVersion")
        with serving(server) as site:
            said = refusal(Supervisord(site).facts)
    assert said.startswith(
        f"cannot work with Supervisor {version} (API {api}): version 4 is needed | Upgrade it"
    )


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [(404, b"no", "HTTP status 404"), (500, b"", "HTTP status 500"), (200, b"<html>hello", "not XML-RPC")],
)
def test_something_else_that_listens_there_is_told(status: int, body: bytes, why: str) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(HTTPServer(("127.0.0.1", 0), Other)) as site:
        said = refusal(Supervisord(site).facts)
    assert why in said
    assert "hunter2" not in said
