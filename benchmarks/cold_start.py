"""How long a user waits for `shiftboss --version` and `shiftboss status`, beside `supervisorctl status`: `make bench`.

A real supervisord in a temporary directory holds the same programs for both. The commands take turns in one
run, in a new random order each round, so that a busy moment of the machine hits all of them alike; ratios of
medians are what counts.
"""

import argparse
import contextlib
import os
import platform
import pwd
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = CHECKOUT / "docs/reference/benchmarks.md"
BIN = Path(sys.prefix) / "bin"
UNITS_PER_PROJECT = 3
GOAL_MS = {("shiftboss --version", ""): 60, ("shiftboss status", "1 worker"): 80}

sys.path.insert(0, str(CHECKOUT))
from tests.supervisord import TemporarySupervisord  # noqa: E402  # tests are no installed package

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
class Case:
    """A command that is timed (on a server of some `size`), the case it is compared with, and its times in seconds."""

    command: str
    argv: list[str]
    peer: "Case | None" = None
    size: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run it once; what it prints is not looked at, that it succeeds is."""
        environment = {**os.environ, **self.environment}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as an installed copy: the first round compiles
        started = time.perf_counter()
        finished = subprocess.run(self.argv, env=environment, stdout=subprocess.DEVNULL, check=False)
        self.seconds.append(time.perf_counter() - started)
        if finished.returncode:
            sys.exit(f"error: {self.command} ended with exit status {finished.returncode}")

    @property
    def median_ms(self) -> float:
        """Return the median in milliseconds."""
        return statistics.median(self.seconds) * 1000

    @property
    def best_ms(self) -> float:
        """Return the shortest time in milliseconds: what it takes when nothing else runs."""
        return min(self.seconds) * 1000


@contextlib.contextmanager
def server(units: int) -> Iterator[tuple[Path, TemporarySupervisord]]:
    """Run a supervisord that holds `units` workers, set up by shiftboss; give its directory and itself."""
    top = Path(tempfile.mkdtemp(prefix="shiftboss-bench-", dir="/tmp"))
    try:
        top.chmod(0o755)
        (top / "supervisor").mkdir()
        with TemporarySupervisord(top / "supervisor") as supervisord:
            lay_out(top, supervisord, units)
            run = subprocess.run(
                [BIN / "shiftboss", "--config", top / "config.toml", "apply"],
                capture_output=True,
                check=False,
            )
            if run.returncode:
                sys.exit(f"error: shiftboss apply failed: {run.stderr.decode()}")
            yield top, supervisord
    finally:
        shutil.rmtree(top)


def lay_out(top: Path, supervisord: TemporarySupervisord, units: int) -> None:
    """Write configuration and projects with `units` workers in all, three for each project."""
    for name in ("logrotate.d", "logs", "projects.d"):
        (top / name).mkdir()
    user = pwd.getpwuid(os.geteuid()).pw_name
    (top / "config.toml").write_text(CONFIG.format(user=user, supervisord=supervisord))
    for start in range(0, units, UNITS_PER_PROJECT):
        name = f"project{start // UNITS_PER_PROJECT:03}"
        workers = range(1, min(UNITS_PER_PROJECT, units - start) + 1)
        (top / "projects.d" / f"{name}.toml").write_text(
            "".join(f'[workers.w{n}]\ncommand = "/bin/sleep 1000000"\n' for n in workers)
        )
        release = top / "projects" / name / "releases/1"
        release.mkdir(parents=True)
        (release.parent.parent / "current").symlink_to("releases/1")


def cases_of(units: int, top: Path, supervisord: TemporarySupervisord) -> list[Case]:
    """Return what is compared on one server."""
    size = f"{units} worker{'s' if units > 1 else ''}"
    config = {"SHIFTBOSS_CONFIG": str(top / "config.toml")}
    status = [str(BIN / "shiftboss"), "status"]
    theirs = [str(BIN / "supervisorctl"), "-c", str(supervisord.conf_file), "status"]
    peer = Case("supervisorctl status", theirs, size=size)
    return [
        peer,
        Case("shiftboss status", status, peer, size, config),
        Case("shiftboss status --json", [*status, "--json"], peer, size, config),
    ]


def measure(cases: list[Case], rounds: int) -> None:
    """Let the cases take turns; a first round only warms the caches."""
    order = random.Random(1)
    for number in range(rounds + 1):
        for case in order.sample(cases, len(cases)):
            case.run()
        if number == 0:
            for case in cases:
                case.seconds.clear()


def page(cases: list[Case], rounds: int) -> str:
    """Return the page with the results."""
    rows = [" | ".join(cells(case)) for case in cases]
    return HEAD.format(
        rows="\n".join(f"| {row} |" for row in rows),
        rounds=rounds,
        machine=machine(),
        load=os.getloadavg()[0],
        python=platform.python_version(),
        shiftboss=version("shiftboss"),
        supervisor=version("supervisor"),
        click=version("click"),
        rich=version("rich"),
    )


def cells(case: Case) -> Iterator[str]:
    """Yield the cells of the row of a case."""
    yield f"`{case.command}`"
    yield case.size
    yield f"{case.median_ms:.0f} ms"
    yield f"{case.best_ms:.0f} ms"
    yield f"{case.median_ms / case.peer.median_ms:.2f} x `{case.peer.command}`" if case.peer else ""
    goal = GOAL_MS.get((case.command, case.size))
    yield f"{goal} ms" if goal else ""


HEAD = """\
<!-- Made by `make bench` on the machine named below. -->

# Benchmarks

## Start and status

| command | on | median | best | ratio of medians | goal for the median |
| --- | --- | --- | --- | --- | --- |
{rows}

Times are from the start of the command to its end, output thrown away. Programs are `sleep`, one process for each
worker, three workers for each project; both commands ask the same running supervisord over its Unix socket.
The commands took turns for {rounds} rounds after one that is not counted, in a new random order each round.
Absolute times depend on the machine and on what else it does; ratios are what to compare.

`shiftboss status` also reads every project file, and memory, CPU time and release of each process, which
`supervisorctl status` does not show.

- machine: {machine}; load average while measuring: {load:.1f}
- Python {python}, shiftboss {shiftboss}, Supervisor {supervisor}, click {click}, rich {rich}
"""


def machine() -> str:
    """Return processor, cores and kernel."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{model[0] if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}"


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--units", type=int, nargs="*", default=[1, 600])
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    # supervisord holds two descriptors for each program
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    python = Case("python -c pass", [sys.executable, "-c", "pass"])
    cases = [python, Case("shiftboss --version", [str(BIN / "shiftboss"), "--version"], python)]
    with contextlib.ExitStack() as stack:
        for units in options.units:
            print(f"setting up {units} workers …", flush=True)
            cases += cases_of(units, *stack.enter_context(server(units)))
        print(f"measuring, {options.rounds} rounds …", flush=True)
        measure(cases, options.rounds)
    text = page(cases, options.rounds)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
