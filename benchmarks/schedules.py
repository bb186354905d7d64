"""How long the cron maths and the agenda take: prints seconds and, where there is one, the goal.

    python benchmarks/schedules.py [--rounds 5]

The schedules are those of a busy server: every minute, every few minutes, hours, nights, weekdays, months, in
five time zones. The best of the rounds counts; other work on the machine only makes a round slower.
"""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

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
START = datetime(2027, 1, 15, 8, 0, 30, tzinfo=UTC)


def best(rounds: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    wanted = terms()
    timings = [each.timing for each in wanted]

    def show(what: str, seconds: float, goal: str = "") -> None:
        print(f"{what:52} {seconds * 1000:9.1f} ms   {goal}")

    show(
        "10,000 next times",
        best(rounds, lambda: [next_time(t.expression, START, t.zone) for t in timings]),
        "goal 200 ms",
    )
    show(
        "10,000 previous times",
        best(rounds, lambda: [previous_time(t.expression, START, t.zone) for t in timings]),
    )
    show("10,000 expressions read", best(rounds, terms))
    show("10,000 schedules loaded", best(rounds, lambda: loaded(wanted)), "goal 1000 ms")
    agendas = iter([loaded(wanted) for _ in range(rounds)])
    show(
        "the next full minute: 1,000+ due, claimed in one batch",
        best(rounds, lambda: next(agendas).take(Tick(), moment(30))),
    )
    idle = loaded(wanted)
    show("a look at the clocks when nothing is due", best(rounds, lambda: idle.take(Tick(), moment(1))))


if __name__ == "__main__":
    main()
