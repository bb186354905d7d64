"""How long the cron maths and the agenda take for 10,000 schedules, without any process: medians, and the goals.

    python benchmarks/schedules.py [--rounds 5] [--json]

`make bench` runs it, with --json: seconds of all repeats. The schedules are those of a busy server: every minute, every few minutes, hours, nights,
weekdays, months, in five time zones.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page_schedules import MATHS
from shiftboss.core.agenda import Agenda
from shiftboss.core.agenda_values import Adopted, Limits, Stored, Tick
from shiftboss.core.clock_gap import Moment
from shiftboss.core.cron import parse
from shiftboss.core.cron_times import next_time, previous_time
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.timing import cron_timing

COUNT = 10_000
EXPRESSIONS = (
    *("* * * * *", "*/5 * * * *", "*/15 8-18 * * mon-fri", "0 * * * *", "30 2 * * *", "0 2 * * 1-5"),
    *("15 3 1 * *", "0 9 1-7 * 1", "H H * * *", "0 0 L * *"),
)
ZONES = ("UTC", "Europe/Riga", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
GOALS = {"next_s": 0.2, "load_s": 1.0}
START = datetime(2027, 1, 15, 8, 0, 30, tzinfo=UTC)


def repeated(rounds: int, work: Callable[[Any], object], before: Callable[[], object]) -> list[float]:
    """Return how many seconds the work takes, each time on what `before` gives."""
    found = []
    for _ in range(rounds):
        given = before()
        begun = time.perf_counter()
        work(given)
        found.append(time.perf_counter() - begun)
    return found


def terms() -> list[Terms]:
    zones = [ZoneInfo(name) for name in ZONES]
    return [
        Terms(f"p{n % 100}/s{n}", cron_timing(parse(EXPRESSIONS[n % 10], key=f"s{n}"), zones[n // 10 % 5]))
        for n in range(COUNT)
    ]


def moment(seconds: float) -> Moment:
    return Moment(START.timestamp() + seconds, 1000.0 + seconds, 1000.0 + seconds)


def loaded(wanted: list[Terms]) -> Agenda:
    agenda = Agenda(keeper="keeper", boot="boot")
    agenda.load(wanted, (), (), Limits(), moment(0))
    agenda.take(Adopted(), moment(0))
    agenda.take(Stored(1), moment(0))
    return agenda


def figures(rounds: int) -> dict[str, list[float]]:
    """Return the repeats of all that is measured, by their names in MATHS."""
    wanted = terms()
    timings = [each.timing for each in wanted]
    idle = loaded(wanted)
    work: dict[str, tuple[Callable[[Any], object], Callable[[], object]]] = {
        "next_s": (lambda _: [next_time(t.expression, START, t.zone) for t in timings], int),
        "previous_s": (lambda _: [previous_time(t.expression, START, t.zone) for t in timings], int),
        "read_s": (lambda _: terms(), int),
        "load_s": (lambda _: loaded(wanted), int),
        "claim_s": (lambda agenda: agenda.take(Tick(), moment(30)), lambda: loaded(wanted)),
        "idle_s": (lambda _: idle.take(Tick(), moment(1)), int),
    }
    return {name: repeated(rounds, *each) for name, each in work.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = figures(options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    for title, name in MATHS:
        goal = f"goal {GOALS[name] * 1000:.0f} ms" if name in GOALS else ""
        print(f"{title:52} {statistics.median(found[name]) * 1000:9.1f} ms   {goal}")


if __name__ == "__main__":
    main()
