"""Supervisor: <http://supervisord.org>."""

import http.client
import shutil
import socket
import sys
import xmlrpc.client
from pathlib import Path
from typing import ClassVar

from benchmarks.observe import now
from benchmarks.peers.contract import BACKUPS, ROTATE_AT, Peer, first_word_with_digit

HEAD = """\
[supervisord]
logfile={work}/supervisord.log
pidfile={work}/supervisord.pid
nodaemon=true
minfds=10000
childlogdir={work}/logs
[unix_http_server]
file={work}/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{work}/socket
"""
PROGRAM = """\
[program:{name}]
command={command}
autorestart=true
startretries=100000
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes={rotate_at}
stdout_logfile_backups={backups}
"""


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._path)
        return connection


class Supervisor(Peer):
    """The one of this environment, else the system's."""

    name = "supervisor"
    kills: ClassVar[int] = 6

    @classmethod
    def _program(cls, name: str) -> str | None:
        ours = Path(sys.prefix) / "bin" / name
        return str(ours) if ours.exists() else shutil.which(name)

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return the version of supervisord."""
        program = cls._program("supervisord")
        return first_word_with_digit(_said(program, "--version")) if program else None

    def configure(self) -> None:
        """Write supervisord.conf."""
        rows = (
            PROGRAM.format(
                name=p.name,
                command=" ".join(p.argv),
                log=self.logs / f"{p.name}.log",
                rotate_at=ROTATE_AT,
                backups=BACKUPS,
            )
            for p in self.programs
        )
        (self.work / "conf").write_text(HEAD.format(work=self.work) + "".join(rows))

    def start(self) -> None:
        """Start supervisord."""
        self.roots.append(self.launch(str(self._program("supervisord")), "-n", "-c", self.work / "conf"))

    def _ctl(self, *words: str) -> str:
        return self.run(str(self._program("supervisorctl")), "-c", self.work / "conf", *words)

    def announce(self) -> None:
        """Update."""
        self._ctl("update")

    def stop_all(self) -> None:
        """Stop all."""
        self._ctl("stop", "all")

    def status(self) -> int:
        """Return what supervisorctl says."""
        return self._ctl("status").count("RUNNING")

    def api(self, count: int) -> list[float]:
        """Ask by XML-RPC, a new connection each time."""
        took = []
        for _ in range(count):
            begun = now()
            transport = _Transport(f"{self.work}/socket")
            xmlrpc.client.ServerProxy("http://localhost/RPC2", transport).supervisor.getAllProcessInfo()
            took.append(now() - begun)
        return took


def _said(*argv: str) -> str:
    import subprocess

    return subprocess.run(argv, capture_output=True, check=False).stdout.decode()
