"""i: how late schedules start that are due in the same second, and what many that are not due cost.

    python -m benchmarks.on_time [--counts 1,500] [--tools build/peers]          as root, up to a minute for each case

`make bench` measures the same. Each schedule runs `programs/stamp.c`, which notes the time right after its exec. The
programs take turns, each with its own second, so none disturbs another.
"""

import argparse
import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import observe
from benchmarks.figures import duration, spread
from benchmarks.measures import SETTLE_SECONDS, Effort, Failed, Figures, idle
from benchmarks.observe import now
from benchmarks.peers.contract import Program
from benchmarks.peers.schedulers import SCHEDULERS, Cron, Scheduled, ScheduledLimit, Scheduler

LONGEST_SECONDS, SLOWEST_A_SECOND = 60.0, 50
LEAD_SECONDS, STARTS_A_SECOND = 8.0, 150  # time to get ready: so much, and more for many
READY_BEFORE = 0.5
FAR_AHEAD_SECONDS = 180 * 86_400
READY_REPEATS = 3
Measure = Callable[[type[Scheduler], Path, Effort], Figures]


def plan(effort: Effort) -> Iterator[tuple[str, Measure, tuple[type[Scheduler], ...], bool]]:
    """Yield name and function of each measure, who takes part, and whether a further round is worth its time."""
    for count in effort.due:
        alone = (Scheduled,) if count == 1 and not effort.patient else SCHEDULERS[1:]
        yield f"due {count}", functools.partial(due, count=count), alone, True
    storm = (ScheduledLimit, Scheduled, Cron) if effort.patient else (ScheduledLimit, Scheduled)
    yield f"due {effort.storm}", functools.partial(due, count=effort.storm), storm, True
    yield f"wait {effort.schedules}", wait, (Scheduled, Cron), False


@contextlib.contextmanager
def prepared(peer: type[Scheduler], tools: Path, count: int, at: float) -> Iterator[tuple[Scheduler, Path]]:
    """Give a program with `count` schedules that are due at `at`, configured and not started, and their notes."""
    with tempfile.TemporaryDirectory(prefix="shiftboss-bench-", dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        notes = Path(made) / "started"
        program = peer(tools, Path(made) / "work")
        program.due = at
        words = (str(tools / "stamp"), str(notes))
        program.programs = [Program(f"j{n}", (*words, f"j{n}")) for n in range(count)]
        program.configure()
        try:
            yield program, notes
        finally:
            program.end()


def due(peer: type[Scheduler], tools: Path, effort: Effort, count: int) -> Figures:
    """How long after their second `count` schedules start; the yard stick's second is that of its own start."""
    at = next_grain(time.time() + LEAD_SECONDS + count / STARTS_A_SECOND, peer.grain)
    with prepared(peer, tools, count, at) as (program, notes):
        if peer is ScheduledLimit:
            at = time.time()
        program.start()
        if isinstance(program, Scheduled):
            program.until_ready()
            if time.time() > at - READY_BEFORE:
                raise Failed(f"the engine was ready {time.time() - at:+.1f} s from the second that was meant")
        while len(rows(notes)) < count and time.time() < at + LONGEST_SECONDS + count / SLOWEST_A_SECOND:
            time.sleep(0.2)
        late = sorted(seconds - at for seconds in rows(notes))
    found: Figures = {"late_s": list(late), "missing": count - len(late)}
    return found | ({"all_s": late[-1]} if len(late) == count else {})


def next_grain(seconds: float, grain: int) -> float:
    """Return the first full second, or minute, after a moment."""
    return (int(seconds) // grain + 1) * grain


def rows(notes: Path) -> list[float]:
    """Return when each of the programs said that it started; a line that is being written is left out."""
    text = notes.read_text() if notes.exists() else ""
    return [float(line.split()[1]) for line in text.splitlines() if line.count(" ") == 1]


def wait(peer: type[Scheduler], tools: Path, effort: Effort) -> Figures:
    """What many schedules cost that are not due: time until they are taken in, memory, and use while nothing happens."""
    alone = [ready(peer, tools) for _ in range(READY_REPEATS)] if issubclass(peer, Scheduled) else []
    found: Figures = {}
    with prepared(peer, tools, effort.schedules, time.time() + FAR_AHEAD_SECONDS) as (program, _):
        begun = now()
        program.start()
        if isinstance(program, Scheduled):
            program.until_ready()
            took = now() - begun
            found = {"ready_alone_s": alone, "ready_s": took, "load_s": took - min(alone)}
        time.sleep(SETTLE_SECONDS)
        own = program.own()
        return found | {"pss_mb": observe.memory(own)} | idle(own, effort.wait_seconds)


def ready(peer: type[Scheduled], tools: Path) -> float:
    """Return how long it takes from the start until a single schedule is taken in."""
    with prepared(peer, tools, 1, time.time() + FAR_AHEAD_SECONDS) as (program, _):
        assert isinstance(program, Scheduled)
        begun = now()
        program.start()
        program.until_ready()
        return now() - begun


def main() -> None:
    """Print a table: of each program and number of schedules the median, the last one, and how many never came."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="1,500")
    parser.add_argument("--tools", type=Path, default=Path("build/peers"))
    asked = parser.parse_args()
    tools = asked.tools.resolve()
    observe.prepare()
    print(f"{'due at once':>11}  {'':24} {'p50':>8} {'max':>8}  missing")
    for count in map(int, asked.counts.split(",")):
        for peer in SCHEDULERS:
            if peer.version(tools):
                found = due(peer, tools, Effort(), count)
                late = spread(found["late_s"])  # type: ignore[arg-type]
                middle, most = (duration(late.median), duration(late.most)) if late else ("-", "-")
                print(f"{count:>11}  {peer.name:24} {middle:>8} {most:>8}  {found['missing']}", flush=True)


if __name__ == "__main__":
    main()
