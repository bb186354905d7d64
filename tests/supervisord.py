"""A real supervisord for tests: in a directory of its own, on a unix socket (and a port), stopped by its pid."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from shiftboss.core.errors import ShiftbossError
from shiftboss.core.spec import SupervisorSite
from shiftboss.host.supervisord import Supervisord
from shiftboss.host.supervisord_transport import server_proxy
from tests.waiting import wait_until

DEBIAN_PYTHON = "/usr/bin/python3"
_UNIX_PATH_LIMIT = 90  # of 107: supervisord binds to a temporary name beside it first
_DEADLINE_SECONDS = 30.0


class TemporarySupervisord:
    """A supervisord in `directory`, with `conf.d/*.conf` included. Use it in a `with` block.

    `python` has the package: the tests' own (PyPI's), or DEBIAN_PYTHON (Debian's 4.2.5). With `system` it may be
    entered by other users (0755) and, started by root, runs programs as their `user=`. Started by root it gives
    up root for `user`, if there is one. `port` adds a TCP server on loopback. `username` and `password` protect
    both. Its programs end with it; each takes three of its file descriptors (`minfds`).
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        python: str = sys.executable,
        system: bool = False,
        user: str = "",
        port: int | None = None,
        username: str = "",
        password: str = "",
        rpcinterface: bool = True,
        minfds: int = 256,
    ) -> None:
        self.directory = Path(directory)
        self.python = python
        self.system = system
        self.user = user
        self.port = port
        self.username = username
        self.password = password
        self.rpcinterface = rpcinterface
        self.minfds = minfds
        self.conf_file = self.directory / "supervisord.conf"
        self.conf_dir = self.directory / "conf.d"
        self.socket = self.directory / "s.sock"
        self.log = self.directory / "supervisord.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def site(self) -> SupervisorSite:
        """How shiftboss finds it, located: nothing must be read."""
        return SupervisorSite(
            conf_file=str(self.conf_file),
            conf_dir=str(self.conf_dir),
            server=f"unix://{self.socket}",
            username=self.username,
            password=self.password,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() was not called"
        return self._process.pid

    def __enter__(self) -> "TemporarySupervisord":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and return when it answers; raise AssertionError with its own words if it does not."""
        assert len(str(self.socket)) <= _UNIX_PATH_LIMIT, f"the path of a socket is too long: {self.socket}"
        self.conf_dir.mkdir(parents=True, exist_ok=True)
        self.conf_file.write_text(self._conf())
        if self.system:
            self.directory.chmod(0o755)
        if self.user:
            for path in (self.directory, self.conf_dir, self.conf_file):
                shutil.chown(path, self.user)
        with (self.directory / "supervisord.out").open("wb") as output:
            self._process = subprocess.Popen(
                [self.python, "-m", "supervisor.supervisord", "-n", "-c", str(self.conf_file)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_until_answering()
        except BaseException:
            self.kill()
            raise

    def wait_until_answering(self) -> None:
        """Return when it accepts connections (its login and its XML-RPC may still be refused)."""
        wait_until(self._answers_or_ended, _DEADLINE_SECONDS, what="supervisord")
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"supervisord does not run: {self.output()}")

    def stop(self) -> None:
        """Stop it and all its programs, and wait for the end."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once (its programs are orphans then)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def suspend(self) -> None:
        """Let it answer nothing any more, until stop()."""
        os.kill(self.pid, signal.SIGSTOP)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the include directory."""
        path = self.conf_dir / name
        path.write_text(text)
        return path

    def update(self, group: str) -> None:
        """Let it take over a group that was added to its files."""
        port = Supervisord(self.site)
        port.reread()
        port.add_group(group)

    def states(self) -> dict[str, str]:
        """Return the state of every process, by `group:name`."""
        return {f"{p.group}:{p.name}": p.state for p in Supervisord(self.site).facts().processes}

    def wait_for(self, states: dict[str, str], seconds: float = _DEADLINE_SECONDS) -> None:
        """Return when these processes have these states; raise AssertionError if they do not get there in time."""
        try:
            wait_until(lambda: states.items() <= self.states().items(), seconds, what=f"{states}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.states()}; {self.output()}") from None

    def output(self) -> str:
        """Return what it printed: its log, and what it said before it had one."""
        return (self.directory / "supervisord.out").read_text(errors="replace")

    def _answers_or_ended(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_DEADLINE_SECONDS)
                connection.connect(str(self.socket))
            Supervisord(self.site).facts()
        except OSError:
            return False
        except ShiftbossError:  # it answers, and refuses
            return True
        return True

    def _user_line(self) -> str:
        """Say as whom it runs; without that Supervisor complains about root."""
        return f"user={self.user or 'root'}\n" if os.geteuid() == 0 else ""

    def _conf(self) -> str:
        login = f"username={self.username}\npassword={self.password}\n" if self.username else ""
        sections = [
            f"[unix_http_server]\nfile={self.socket}\nchmod=0700\n{login}",
            f"[supervisord]\nlogfile={self.log}\npidfile={self.directory}/supervisord.pid\n"
            f"childlogdir={self.directory}\nminfds={self.minfds}\n{self._user_line()}",
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n{login}",
            f"[include]\nfiles={self.conf_dir}/*.conf\n",
        ]
        if self.port is not None:
            sections.append(f"[inet_http_server]\nport=127.0.0.1:{self.port}\n{login}")
        if self.rpcinterface:
            factory = "supervisor.rpcinterface:make_main_rpcinterface"
            sections.append(f"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory={factory}\n")
        return "\n".join(sections)


def free_port() -> int:
    """Return a TCP port of loopback that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def method(site: SupervisorSite, name: str, *arguments: object) -> object:
    """Call any XML-RPC method, also those that the port does not have (shutdown, …)."""
    proxy: xmlrpc.client.ServerProxy = server_proxy(site.server, site.username, site.password, 30)
    with proxy as server:
        return getattr(server, name)(*arguments)


def as_nobody(call: Callable[[], object]) -> str:
    """Call in a child that gave up root; return message and hint of its HostError, or what else came."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _become("nobody")
            os.write(writing, repr(call()).encode())
        except ShiftbossError as error:
            os.write(writing, f"{error.message} | {error.hint}".encode())
        except BaseException as error:  # noqa: BLE001 - it must not go on as a copy of the test run
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        message = told.read()
    os.waitpid(child, 0)
    return message


def _become(user: str) -> None:
    """Give up root; the modules that are needed after that must be loaded already."""
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
