"""Circus: <https://circus.readthedocs.io>."""

import json
import subprocess
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.contract import BACKUPS, ROTATE_AT, Peer, first_word_with_digit

HEAD = """\
[circus]
endpoint=ipc://{work}/endpoint
pubsub_endpoint=ipc://{work}/pubsub
statsd=false
"""
PROGRAM = """\
[watcher:{name}]
cmd={program}
args={arguments}
max_retry=-1
copy_env=true
stdout_stream.class=FileStream
stdout_stream.filename={log}
stdout_stream.max_bytes={rotate_at}
stdout_stream.backup_count={backups}
stderr_stream.class=FileStream
stderr_stream.filename={log}
"""
ASK = """\
import json, sys, time
from circus.client import CircusClient
client, took = CircusClient(endpoint=sys.argv[1], timeout=60), []
for _ in range(int(sys.argv[2])):
    begun = time.monotonic()
    client.send_message("status")
    took.append(time.monotonic() - begun)
print(json.dumps(took))
"""


class Circus(Peer):
    """circusd in an environment of its own; it looks at its children once in five seconds."""

    name = "circus"
    kills: ClassVar[int] = 4

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return the version of circusd."""
        program = tools / "circus/bin/circusd"
        if not program.exists():
            return None
        done = subprocess.run([program, "--version"], capture_output=True, check=False)
        return first_word_with_digit(done.stdout.decode())

    def configure(self) -> None:
        """Write circus.ini."""
        rows = (
            PROGRAM.format(
                name=p.name,
                program=p.argv[0],
                arguments=" ".join(p.argv[1:]),
                log=self.logs / f"{p.name}.log",
                rotate_at=ROTATE_AT,
                backups=BACKUPS,
            )
            for p in self.programs
        )
        (self.work / "circus.ini").write_text(HEAD.format(work=self.work) + "".join(rows))

    def start(self) -> None:
        """Start circusd."""
        argv = (self.tools / "circus/bin/circusd", "--log-level", "warning", self.work / "circus.ini")
        self.roots.append(self.launch(*argv))

    def _ctl(self, *words: str) -> str:
        argv = ("--timeout", "100", "--endpoint", f"ipc://{self.work}/endpoint", *words)
        return self.run(self.tools / "circus/bin/circusctl", *argv)

    def announce(self) -> None:
        """Reload the configuration."""
        self._ctl("reloadconfig")

    def stop_all(self) -> None:
        """Stop all."""
        self._ctl("stop")

    def status(self) -> int:
        """Return what circusctl says."""
        return self._ctl("status").count("active")

    def api(self, count: int) -> list[float]:
        """Ask over its socket."""
        argv = (self.tools / "circus/bin/python", "-c", ASK, f"ipc://{self.work}/endpoint", str(count))
        found: list[float] = json.loads(self.run(*argv))
        return found
