"""A whole server as `Server`, on the native backend: `shiftboss up` runs beside the test."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.e2e.server import SHIFTBOSS, Server, TestProject
from tests.waiting import wait_until

_STOP_SECONDS = 90


class NativeServer(Server):
    """Projects on our own keeper and engine; its Supervisor is never started."""

    @classmethod
    def prepared(cls, directory: Path) -> "NativeServer":
        """Make the directories and the configuration."""
        server = cls.make(directory, "native")
        assert isinstance(server, cls)
        return server

    @contextmanager
    def up(self) -> Iterator[None]:
        """Run `shiftboss up`; end it in order, and see that it left no process."""
        log = self.directory / "up.log"
        environment = {**os.environ, "SHIFTBOSS_CONFIG": str(self.config), "NO_COLOR": "1"}
        with log.open("wb") as sink:
            # -P: what root runs must not come from the directory that it was started in
            argv = [SHIFTBOSS[0], "-P", *SHIFTBOSS[1:], "up"]
            process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )
        try:
            socket = self.directory / "etc/run/api.sock"
            wait_until(lambda: socket.exists() or process.poll() is not None, 60, what="the engine")
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.returncode == 0, log.read_text()
        assert left_below(self.directory) == {}


def left_below(directory: Path) -> dict[int, str]:
    """Return the processes that work below a directory."""
    asked = psutil.process_iter(["cwd", "cmdline"])
    return {
        one.pid: " ".join(one.info["cmdline"] or ())
        for one in asked
        if str(one.info["cwd"]).startswith(f"{directory}/")
    }


def give_project_file(project: TestProject, source: Path, **replaced: str) -> None:
    """Put the project file of an example into place, with some of its words replaced."""
    text = source.read_text()
    for old, new in replaced.items():
        assert old in text, f"{source} has no {old}"
        text = text.replace(old, new)
    project.project_file().parent.mkdir(exist_ok=True)
    project.project_file().write_text(text)
