"""How long a user waits for `shiftboss --version` and `shiftboss status`, beside `supervisorctl status`.

And what keeper and launcher add to the start of a program (confine.py, in a process of its own: it makes cgroups).
A real supervisord, set up by shiftboss, and our own backend hold one worker each. The commands take turns in a new
random order each round, so that a busy moment of the machine hits all alike.
"""

import contextlib
import os
import pwd
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import measures
from benchmarks.peers.ours import Ours
from benchmarks.results import Run

CHECKOUT = Path(__file__).resolve().parent.parent
BIN = Path(sys.prefix) / "bin"
PLAIN = "plain exec"
CONFIG = """\
[layout]
projects = "projects"
logs = "logs"
user = "{user}"
[paths]
projects_d = "projects.d"
state = "state"
run = "run"
[backend]
workers = "supervisor"
[supervisor]
conf_file = "{supervisord.conf_file}"
conf_dir = "{supervisord.conf_dir}"
server = "unix://{supervisord.socket}"
[logrotate]
dir = "logrotate.d"
"""


@dataclass
class Command:
    """A command that is timed, its times in seconds, and why it cannot be."""

    name: str
    argv: list[str]
    seconds: list[float] = field(default_factory=list)
    error: str = ""

    def run(self) -> None:
        """Run it once; what it prints is thrown away, that it succeeds is looked at."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        begun = time.perf_counter()
        done = subprocess.run(self.argv, env=environment, capture_output=True, check=False)
        self.seconds.append(time.perf_counter() - begun)
        if done.returncode:
            self.error = (
                f"exit status {done.returncode}: {done.stderr.decode(errors='replace').strip()[:200]}"
            )


@contextlib.contextmanager
def on_supervisor() -> Iterator[list[Command]]:
    """Give the two status commands, both asking one supervisord with one worker."""
    sys.path.insert(0, str(CHECKOUT))
    from tests.supervisord import TemporarySupervisord  # tests are no installed package

    top = Path(tempfile.mkdtemp(prefix="shiftboss-bench-", dir="/tmp"))
    top.chmod(0o755)
    try:
        (top / "supervisor").mkdir()
        with TemporarySupervisord(top / "supervisor") as supervisord:
            lay_out(top, CONFIG.format(user=pwd.getpwuid(os.geteuid()).pw_name, supervisord=supervisord))
            ours = [str(BIN / "shiftboss"), "--config", str(top / "config.toml")]
            subprocess.run([*ours, "apply"], capture_output=True, check=True)
            theirs = [str(BIN / "supervisorctl"), "-c", str(supervisord.conf_file), "status"]
            yield [
                Command("supervisorctl status", theirs),
                Command("shiftboss status (Supervisor)", [*ours, "status"]),
            ]
    finally:
        shutil.rmtree(top)


def lay_out(top: Path, config: str) -> None:
    """Write the configuration and one project with one worker."""
    for name in ("logrotate.d", "logs", "projects.d", "projects/bench/releases/1"):
        (top / name).mkdir(parents=True)
    (top / "projects/bench/current").symlink_to("releases/1")
    (top / "config.toml").write_text(config)
    (top / "projects.d/bench.toml").write_text('[workers.w1]\ncommand = "/bin/sleep 1000000"\n')


def runs(tools: Path, rounds: int) -> Iterator[Run]:
    """Yield one run for each command; a first round only warms the caches."""
    commands = [
        Command("python -c pass", [sys.executable, "-c", "pass"]),
        Command("shiftboss --version", [str(BIN / "shiftboss"), "--version"]),
    ]
    with measures.running(Ours, tools, "mark", 1) as case, on_supervisor() as asking:
        config = ["--config", f"{case.peer.work}/config.toml"]
        commands += [*asking, Command("shiftboss status", [str(BIN / "shiftboss"), *config, "status"])]
        take_turns(commands, rounds)
    for command in commands:
        figures = {} if command.error else {"s": command.seconds}
        yield Run(0, "cold", command.name, figures, command.error)


def take_turns(commands: list[Command], rounds: int) -> None:
    """Time each command once a round."""
    order = random.Random(1)
    for number in range(rounds + 1):
        for command in order.sample(commands, len(commands)):
            command.run()
        if number == 0:
            for command in commands:
                command.seconds.clear()


def launched(rounds: int) -> Iterator[Run]:
    """Yield one run for each way to start /bin/true; `added_s`: above the median of a plain exec."""
    taken = {way: [ms / 1000 for ms in row] for way, row in measures.told_by("confine.py", rounds).items()}  # type: ignore[union-attr]
    plain = statistics.median(taken[PLAIN])
    for way, seconds in taken.items():
        yield Run(0, "launch", way, {"s": seconds, "added_s": [each - plain for each in seconds]})
