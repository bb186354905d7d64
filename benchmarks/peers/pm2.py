"""PM2: <https://pm2.keymetrics.io>."""

import contextlib
import json
import time
from pathlib import Path

from benchmarks.observe import now
from benchmarks.peers.contract import Peer

ASK = """\
const pm2 = require(process.argv[1]);
const took = [];
let left = Number(process.argv[2]);
pm2.connect(() => {
  const ask = () => {
    const begun = process.hrtime.bigint();
    pm2.list(() => {
      took.push(Number(process.hrtime.bigint() - begun) / 1e9);
      if (--left) return ask();
      console.log(JSON.stringify(took));
      process.exit(0);
    });
  };
  ask();
});
"""
OPTIONS = {
    "interpreter": "none",
    "exec_mode": "fork",
    "merge_logs": True,
    "vizion": False,
    "pmx": False,
    "automation": False,
    "max_restarts": 1_000_000,
}


class Pm2(Peer):
    """PM2 of npm. It rotates logs only with an extra module, so here it does not."""

    name = "pm2"

    def __init__(self, tools: Path, work: Path) -> None:
        super().__init__(tools, work)
        self.environment["PM2_HOME"] = str(work / "home")
        self._pm2 = tools / "npm/node_modules/.bin/pm2"

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return the version of the package."""
        with contextlib.suppress(OSError):
            package = json.loads((tools / "npm/node_modules/pm2/package.json").read_text())
            return str(package["version"])
        return None

    def configure(self) -> None:
        """Write an ecosystem file."""
        apps = []
        for p in self.programs:
            log = str(self.logs / f"{p.name}.log")
            paths = {"out_file": log, "error_file": log}
            apps.append({"name": p.name, "script": p.argv[0], "args": p.argv[1:], **paths, **OPTIONS})
        (self.work / "apps.json").write_text(json.dumps({"apps": apps}))

    def start(self) -> None:
        """Start the daemon and wait until it says its pid: it leaves the command that started it."""
        self.launch(self._pm2, "start", self.work / "apps.json")
        end = now() + 60
        while now() < end:
            with contextlib.suppress(OSError, ValueError):
                pid = int((self.work / "home/pm2.pid").read_text())
                if pid not in self.roots:
                    self.roots.append(pid)
                    return
            time.sleep(0.005)

    def announce(self) -> None:
        """Start the last program."""
        self.run(self._pm2, "start", self.work / "apps.json", "--only", self.programs[-1].name)

    def stop_all(self) -> None:
        """Stop all."""
        self.run(self._pm2, "stop", "all")

    def status(self) -> int:
        """Return what `pm2 ls` says."""
        return self.run(self._pm2, "ls").count("online")

    def api(self, count: int) -> list[float]:
        """Ask over its socket."""
        said = self.run("node", "-e", ASK, self.tools / "npm/node_modules/pm2", str(count))
        found: list[float] = json.loads(said.splitlines()[-1])
        return found
