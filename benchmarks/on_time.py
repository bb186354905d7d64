"""How late schedules start that are due in the same minute: our engine beside Debian's cron, alone and with our launcher.

    python -m benchmarks.on_time [--counts 1,500] [--tools build/peers]          as root, one minute for each case

Each schedule runs `programs/stamp.c`, which notes the time right after its exec. The cases take turns, a minute each, so
none disturbs another. yacron takes part where it is installed (benchmarks/setup_peers.sh).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.crond import TemporaryCron

from benchmarks.peers.contract import Program
from benchmarks.peers.ours import Ours
from shiftboss.core import wire
from shiftboss.core.schedule_entry import LANES, SCHEDULE, Options, Times

LAUNCHER = Path(__file__).resolve().parents[1] / "src/shiftboss/launcher/main.py"
LEAD_SECONDS, LONGEST_SECONDS = 15.0, 60.0
Jobs = list[Program]


class Scheduled(Ours):
    """Keeper and engine with schedules instead of workers; `when` is a cron expression."""

    when = "* * * * *"

    def entry(self, program: Program) -> wire.Entry:
        """Return what the manifest says of a schedule."""
        entry = super().entry(program)
        options = msgspec.to_builtins(Options(Times(cron=self.when)))
        policy = entry.policy._replace(kind=SCHEDULE, processes=0, options=options)
        return entry._replace(policy=policy, processes_max=LANES)


@contextmanager
def on_our_engine(tools: Path, work: Path, jobs: Jobs, when: str) -> Iterator[None]:
    """Run the jobs on keeper and engine."""
    ours = Scheduled(tools, work)
    ours.when, ours.programs = when, jobs
    ours.configure()
    ours.start()
    try:
        yield
    finally:
        ours.end()


@contextmanager
def on_cron(_tools: Path, work: Path, jobs: Jobs, when: str) -> Iterator[None]:
    """Run the jobs on Debian's cron, as it is."""
    lines = [f"{when} root {' '.join(job.argv)}\n" for job in jobs]
    with TemporaryCron(work) as cron:
        (cron.cron_dir / "jobs").write_text("".join(lines))
        yield


@contextmanager
def on_cron_with_the_launcher(tools: Path, work: Path, jobs: Jobs, when: str) -> Iterator[None]:
    """Run the jobs on Debian's cron through our launcher, which logs, locks and writes down the outcome."""
    ours = Scheduled(tools, work)
    orders, project = work / "orders", "bench"
    orders.mkdir()
    entries = []
    for job in jobs:
        entry = ours.entry(job)
        policy = entry.policy._replace(options={"overlap": "skip", "timeout_seconds": 60})
        entries.append(wire.with_revision(entry._replace(processes_max=1, policy=policy)))
    (orders / f"{project}.json").write_text(wire.manifest_text(project, tuple(entries)))
    call = f"{sys.executable} -I -S {LAUNCHER} --orders {orders} --run {work}/spool"
    with TemporaryCron(work) as cron:
        (cron.cron_dir / "jobs").write_text(
            "".join(f"{when} root {call} {project}/{job.name}\n" for job in jobs)
        )
        yield


@contextmanager
def on_yacron(tools: Path, work: Path, jobs: Jobs, when: str) -> Iterator[None]:
    """Run the jobs on yacron."""
    rows = ["defaults:\n  captureStdout: false\n  captureStderr: false\n  utc: true\njobs:\n"]
    for job in jobs:
        words = "".join(f"      - {word}\n" for word in job.argv)
        rows.append(f'  - name: {job.name}\n    command:\n{words}    schedule: "{when}"\n')
    (work / "jobs.yaml").write_text("".join(rows))
    with (work / "yacron.log").open("wb") as log:
        daemon = subprocess.Popen(
            [tools / "yacron/bin/yacron", "-c", work / "jobs.yaml"], stdout=log, stderr=log
        )
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait(30)


CASES: dict[str, Callable[..., object]] = {
    "shiftboss": on_our_engine,
    "cron": on_cron,
    "cron with our launcher": on_cron_with_the_launcher,
    "yacron": on_yacron,
}


def lateness(case: Callable[..., object], tools: Path, count: int) -> list[float]:
    """Return how many seconds after the full minute each of the jobs started, sorted; those that came at all."""
    with tempfile.TemporaryDirectory(prefix="shiftboss-bench-", dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        notes = Path(made) / "started"
        jobs = [Program(f"j{n}", (str(tools / "stamp"), str(notes), f"j{n}")) for n in range(count)]
        due = (int(time.time() + LEAD_SECONDS) // 60 + 1) * 60
        at = time.localtime(due) if case is not on_yacron else time.gmtime(due)
        (Path(made) / "work").mkdir()
        with case(tools, Path(made) / "work", jobs, f"{at.tm_min} {at.tm_hour} * * *"):  # type: ignore[attr-defined]
            while len(rows := _rows(notes)) < count and time.time() < due + LONGEST_SECONDS:
                time.sleep(0.2)
        return sorted(seconds - due for seconds in rows)


def _rows(notes: Path) -> list[float]:
    text = notes.read_text() if notes.exists() else ""
    return [float(line.split()[1]) for line in text.splitlines() if line.count(" ") == 1]


def main() -> None:
    """Print a table: of each case and number of schedules the median, the last one, and how many came."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="1,500")
    parser.add_argument("--tools", type=Path, default=Path("build/peers"))
    asked = parser.parse_args()
    tools = asked.tools.resolve()
    print(f"{'due at once':>11}  {'':24} {'p50 s':>8} {'max s':>8}  started")
    for count in map(int, asked.counts.split(",")):
        for title, case in CASES.items():
            if title == "yacron" and not (tools / "yacron/bin/yacron").exists():
                continue
            late = lateness(case, tools, count)
            middle, last = (statistics.median(late), late[-1]) if late else (0.0, 0.0)
            print(f"{count:>11}  {title:24} {middle:8.3f} {last:8.3f}  {len(late)}", flush=True)


if __name__ == "__main__":
    main()
