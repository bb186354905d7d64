"""What shiftboss must reach, and whether it does. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks.figures import duration, number, ratio, times
from benchmarks.results import Results

OURS, CONFINED, LIMIT = "shiftboss", "shiftboss, other user", "limit-c"
LAUNCHED = "cron with our launcher"
NO_PEER = {OURS, CONFINED, LIMIT, LAUNCHED}
ALONE = ("cold", "launch", "kill", "maths")  # measures, by their first word, in which no peer does the same
Write = Callable[[float | None], str]


class Verdict(NamedTuple):
    """One row of the table of goals; `met` is None where a figure is missing."""

    what: str
    ours: str
    to_limit: float | None
    best: str
    to_best: float | None
    goal: str
    met: bool | None


class Goal(NamedTuple):
    """One goal: a figure of ours, at most `most` (0: no bound) and at most `limit` times the limit's.

    `ahead`: every peer named needs so many times as long. `statistic`: a field of Spread.
    """

    what: str
    measure: str
    figure: str
    write: Write = duration
    most: float | None = None
    limit: float | None = None
    ahead: float | None = None
    peers: tuple[str, ...] = ()
    program: str = OURS
    statistic: str = "median"
    greater: bool = False  # more is better


def megabytes(value: float | None) -> str:
    """Write a size."""
    return "-" if value is None else f"{number(value)} MB"


def per_gib(value: float | None) -> str:
    """Write CPU time for data."""
    return "-" if value is None else f"{number(value)} s/GiB"


def percent(value: float | None) -> str:
    """Write a share of a core."""
    return "-" if value is None else f"{number(value)} %"


def speed(value: float | None) -> str:
    """Write data by time."""
    return "-" if value is None else f"{number(value)} MB/s"


def goals(effort: Mapping[str, Any]) -> tuple[Goal, ...]:
    """Return the goals for a run of this size."""
    return (*process_goals(effort), *schedule_goals(effort), *start_goals())


def process_goals(effort: Mapping[str, Any]) -> tuple[Goal, ...]:
    """Return a to h."""
    many = effort["many"]
    return (
        *crash_goals(effort["crowd"]),
        *size_goals(many),
        *output_goals(),
        *answer_goals(many),
        *change_goals(effort["neighbours"]),
        *kill_goals(),
    )


def crash_goals(crowd: int) -> tuple[Goal, ...]:
    """Return a."""
    slow = ("supervisor", "circus", "pm2", "s6")
    to_peers = "a. crash to running, to pm2, supervisor, circus and s6"
    return (
        Goal("a. crash to running, median", "crash", "restart_s", limit=2.5),
        Goal("a. crash to running, p99", "crash", "restart_s", most=0.010, statistic="p99"),
        Goal("a. crash to running, other user and limits", "crash", "restart_s", limit=4, program=CONFINED),
        Goal(to_peers, "crash", "restart_s", ahead=3, peers=slow),
        Goal(f"a. {crowd} killed at once, all back", "mass", "all_back_s", limit=2),
    )


def size_goals(many: int) -> tuple[Goal, ...]:
    """Return b to d."""
    scale = f"scale {many}"
    return (
        Goal(f"b. start {many}", scale, "start_s", limit=2, ahead=1),
        Goal(f"b. stop {many}", scale, "stop_s", limit=2, ahead=1),
        Goal("c. memory with 1 child", "scale 1", "pss_mb", megabytes, most=26),
        Goal(f"c. memory with {many} children", scale, "pss_mb", megabytes, most=30, ahead=1),
        Goal(f"d. wake-ups a minute, {many} children", scale, "idle_switches", number, most=0),
    )


def output_goals() -> tuple[Goal, ...]:
    """Return e."""
    floods = (("flood 80", "80-byte lines"), ("flood 4080", "4 KiB blocks"))
    losses = (("lost_bytes", "bytes lost"), ("torn_lines", "lines torn"))
    peers = ("supervisor",)
    return (
        *(Goal(f"e. {name}, CPU", flood, "cpu_s_per_gib", per_gib, limit=1.5) for flood, name in floods),
        *(
            Goal(f"e. {name}", flood, "mb_per_s", speed, ahead=1, peers=peers, greater=True)
            for flood, name in floods
        ),
        Goal("e. 50 x 1000 lines/s", "rate", "cpu_percent", percent, most=10),
        *(
            Goal(f"e. {name}: {what}", flood, figure, number, most=0)
            for flood, name in floods
            for figure, what in losses
        ),
    )


def answer_goals(many: int) -> tuple[Goal, ...]:
    """Return f."""
    scale = f"scale {many}"
    return (
        Goal("f. status, command line, 1", "scale 1", "status_cli_s", most=0.080),
        Goal(f"f. status, command line, {many}", scale, "status_cli_s", most=0.160),
        Goal(f"f. status, api, {many}", scale, "status_api_s", most=0.005),
    )


def change_goals(neighbours: int) -> tuple[Goal, ...]:
    """Return g."""
    return (
        Goal(f"g. one more among {neighbours} runs after", "more", "runs_s", most=0.015),
        Goal("g. others restarted", "more", "restarted", number, most=0),
    )


def kill_goals() -> tuple[Goal, ...]:
    """Return h."""
    alive = "h. engine killed: children that live, of 20"
    wrong = (("twice", "running twice"), ("missing", "missing"))
    return (
        Goal(alive, "kill engine", "alive", number, greater=True, most=20),
        *(
            Goal(f"h. engine killed: {what}", "kill engine", figure, number, most=0)
            for figure, what in (*wrong, ("lines_lost", "lines lost"))
        ),
        *(Goal(f"h. keeper killed: {what}", "kill keeper", figure, number, most=0) for figure, what in wrong),
    )


def schedule_goals(effort: Mapping[str, Any]) -> tuple[Goal, ...]:
    """Return i."""
    single, several = effort["due"]
    storm, many = effort["storm"], f"{effort['schedules']:,}"
    waiting = f"wait {effort['schedules']}"
    return (
        Goal(f"i. {single} schedule due: late", f"due {single}", "late_s", most=0.025),
        Goal(f"i. {several} due at once: late, median", f"due {several}", "late_s", most=0.25),
        Goal(f"i. {several} due at once: late, last", f"due {several}", "late_s", most=1, statistic="most"),
        Goal(f"i. {storm} due at once, all started", f"due {storm}", "all_s", limit=2),
        *(
            Goal(f"i. {count} due at once: not started", f"due {count}", "missing", number, most=0)
            for count in (several, storm)
        ),
        Goal(f"i. {many} schedules, none due: CPU a minute", waiting, "idle_cpu_s", most=0.1),
        Goal(f"i. {many} schedules, none due: memory", waiting, "pss_mb", megabytes, most=60),
        Goal(f"i. {many} schedules: ready later than with one", waiting, "load_s", most=1),
        Goal("i. 10,000 schedules loaded, the maths alone", "maths", "load_s", most=1),
        Goal("i. 10,000 next times", "maths", "next_s", most=0.2),
    )


def start_goals() -> tuple[Goal, ...]:
    """Return those of commands and of the launcher."""
    return (
        Goal("cold start: shiftboss --version", "cold", "s", most=0.060, program="shiftboss --version"),
        Goal("cold start: shiftboss status", "cold", "s", most=0.080, program="shiftboss status"),
        *(
            Goal(f"cold start: the launcher adds, {title}", "launch", "added_s", most=0.025, program=way)
            for title, way in (
                ("limits and `standard`", "launcher: limits, standard"),
                ("limits and `strict`", "launcher: limits, strict, private network"),
                ("a whole run of cron", "launcher, a whole run of cron: limits, standard"),
            )
        ),
    )


def judge(goal: Goal, results: Results) -> Verdict:
    """Return how ours stands."""
    found = results.spread(goal.measure, goal.program, goal.figure)
    ours = float(getattr(found, goal.statistic)) if found else None
    limit = results.spread(goal.measure, LIMIT, goal.figure)
    to_limit = ratio(ours, getattr(limit, goal.statistic)) if limit else None
    name, best = best_peer(goal, results)
    to_best = None if math.isnan(best) else ratio(ours, best)
    return Verdict(
        goal.what, goal.write(ours), to_limit, name, to_best, words(goal), met(goal, ours, to_limit, to_best)
    )


def best_peer(goal: Goal, results: Results) -> tuple[str, float]:
    """Return the peer the goal compares with: the best of those it names, or of all."""
    others = set(results.measured(goal.measure)) - set(goal.peers) if goal.peers else set()
    if goal.measure.partition(" ")[0] in ALONE:
        return "", float("nan")
    return results.best(goal.measure, goal.figure, NO_PEER | others, most=goal.greater)


def met(goal: Goal, ours: float | None, to_limit: float | None, to_best: float | None) -> bool | None:
    """Return whether a goal is met, None where a figure is missing."""
    if ours is None or (goal.limit and to_limit is None) or (goal.ahead and to_best is None):
        return None
    checks = []
    if goal.most is not None:
        checks.append(ours >= goal.most if goal.greater else ours <= goal.most)
    if goal.limit and to_limit is not None:
        checks.append(to_limit <= goal.limit)
    if goal.ahead and to_best is not None:
        checks.append(to_best >= goal.ahead if goal.greater else to_best * goal.ahead <= 1)
    return all(checks)


def words(goal: Goal) -> str:
    """Write the goal."""
    least = "at least" if goal.greater else "at most"
    parts = []
    if goal.most is not None:
        parts.append(f"{least} {goal.write(goal.most)}")
    if goal.limit:
        parts.append(f"{least} {number(goal.limit)} x limit-c")
    if goal.ahead:
        peers = (
            goal.peers[0] if len(goal.peers) == 1 else "the best of these" if goal.peers else "the best peer"
        )
        bound = goal.ahead if goal.greater else 1 / goal.ahead
        parts.append(f"{least} {times(bound)} {peers}")
    return ", ".join(parts)
