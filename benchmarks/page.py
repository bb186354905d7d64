"""Results as the page of the documentation. Pure."""

from collections.abc import Callable, Iterable, Sequence

from benchmarks import page_schedules
from benchmarks.figures import duration, number, ratio, table, times
from benchmarks.goals import LAUNCHED, LIMIT, Verdict, goals, judge, megabytes, per_gib, percent, speed
from benchmarks.results import Results

HEAD = """\
<!-- Made by `make bench` on the machine named below. -->

# Benchmarks

shiftboss, other process managers, crons and a yard stick did the same work in one run, taking turns. `limit-c` is a supervisor
of 250 lines of C that does nothing but what must be done (posix_spawn, pidfd, epoll, splice): what the kernel allows.
Absolute figures depend on the machine and on what else it does; the ratios are what to compare.

- machine: {machine}; load average over the last quarter of an hour of the run: {load:.1f}
- {versions}
- Python {python}; the run took {minutes:.0f} minutes
"""
METHOD = """\
## Method

Children are a static C program that writes CLOCK_MONOTONIC into a file right after its exec; it is started without a
shell everywhere, and its output is captured to a file that is rotated at 10 MB, 5 old ones kept (PM2 rotates only with
an extra module, so it does not). All programs take turns, in a new random order for each measure; the peers are
measured once, shiftboss and limit-c in {rounds} rounds. Figures are medians of all repeats.

- **a**: 20 children that have run for 3 s; one is killed with -9 at a time. {crowd} at once: until the last is back.
- **b**: from the start of the program until the last child has started; from the request to stop until the last has
  ended (most programs send TERM to all at once, some one after the other). A dash: not within {up} s.
- **c**: proportional set size (PSS) of the program's own processes, loggers included; Python's shared pages count in
  part, as far as other processes use them.
- **d**: context switches and CPU time of all its processes over {idle:.0f} s without any event.
- **e**: one writer as fast as it can; 50 writers of 1000 lines a second. CPU time of the program's own processes. All
  retained output is read: each line has a number.
- **f**: the program's own status command, and the same question over its socket (runit, s6, daemontools: the status
  files). shiftboss' client connects, asks and decodes the answer each time.
- **g**: {neighbours} run; from the request to take in the changed configuration until the new program runs (runit and
  daemontools look by themselves every five seconds). shiftboss is asked over its api.
- **h**: 20 children write 500 lines a second each; the program is killed with -9, looked at after 2 s, started again, and
  looked at after 5 s; then the writers are stopped and every line they wrote is looked for. shiftboss' engine is
  started again by its keeper.
- **i**: from the second in which all are due until each says that it has started; for limit-c, which knows no time, from
  its own start. Every program has read its configuration by then. cron, our launcher below it and yacron know full minutes
  only, and are given one each. Nothing is written; shiftboss and limit-c capture it all the same, cron and yacron do
  not. {schedules:,} schedules, none due, in projects of 500: PSS, and use over {wait:.0f} s. Ready: from the keeper's start until the
  engine tells the last schedule's next time over its api; "later than with one" is that less the least of 3 with a single
  schedule. The maths alone: expressions of ten kinds in five time zones, within one process; "loaded" is from expressions
  that are read to an agenda that knows what is next.
- **start of a program**: `/bin/true`, from the call until it has ended, {launch} repeats; added is what lies above the median of
  a plain posix_spawn. The keeper forks itself; the launcher is started anew, and with a whole run of cron it stays until the
  outcome is written. Goals are for the launcher's median.
- **cold start**: from the start of a command to its end, {cold} repeats after one that is not counted.

`make bench` repeats this (`BENCH_FLAGS=--quick`: a few minutes; `BENCH_FLAGS="--only a,e"`: some tables).
"""
Cell = Callable[[Results, str], str]


def write(results: Results) -> str:
    """Return the whole page."""
    parts = [head(results), goals_table(results), *tables(results), method(results)]
    return "\n".join(part for part in parts if part)


def head(results: Results) -> str:
    """Return what was measured, and where."""
    known = {
        name.partition(",")[0]: version
        for name, version in results.versions.items()
        if name not in (LIMIT, LAUNCHED)
    }
    versions = ", ".join(f"{name} {version}" for name, version in known.items())
    return HEAD.format(
        machine=results.machine,
        load=results.load,
        versions=versions,
        python=results.python,
        minutes=results.minutes,
    )


def method(results: Results) -> str:
    """Return how it was measured."""
    cold = len(results.values("cold", "shiftboss --version", "s"))
    return METHOD.format(
        rounds=results.rounds,
        crowd=results.effort["crowd"],
        up=results.effort["up_seconds"],
        idle=results.effort["idle_seconds"],
        neighbours=results.effort["neighbours"],
        cold=cold,
        schedules=results.effort["schedules"],
        wait=results.effort["wait_seconds"],
        launch=len(results.values("launch", "plain exec", "s")),
    )


def goals_table(results: Results) -> str:
    """Return our goals, and whether they are met."""
    verdicts = [judge(goal, results) for goal in goals(results.effort)]
    rows = [verdict_row(verdict) for verdict in verdicts if verdict.ours != "-" or verdict.met is not None]
    header = ("", "shiftboss", "to limit-c", "to the best peer", "goal", "met")
    return f"## Goals\n\n{table(header, rows)}"


def verdict_row(verdict: Verdict) -> list[str]:
    """Return the cells of a goal."""
    best = f"{times(verdict.to_best)} {verdict.best}" if verdict.to_best is not None else "-"
    answer = {True: "yes", False: "**no**", None: "?"}[verdict.met]
    return [verdict.what, verdict.ours, times(verdict.to_limit), best, verdict.goal, answer]


def tables(results: Results) -> list[str]:
    """Return one section for each thing measured."""
    many, some = results.effort["many"], results.effort["some"]
    sections = [
        ("a. Crash to running", crash_table(results)),
        (f"b. Start and stop of {some} and {many}", scale_table(results, START_STOP)),
        ("c. Memory of the program itself", scale_table(results, MEMORY)),
        ("d. Idle, per minute", scale_table(results, IDLE)),
        ("e. Log capture with rotation", capture_table(results)),
        ("f. Status", scale_table(results, STATUS)),
        (f"g. One program more among {results.effort['neighbours']}", more_table(results)),
        ("h. kill -9 of the program, 20 logging children", kill_table(results)),
        *page_schedules.sections(results),
        ("Cold start", cold_table(results)),
        ("Start of a program, with limits and isolation", launch_table(results)),
        ("Not measured", failures(results)),
    ]
    return [f"## {title}\n\n{text}" for title, text in sections if text]


def crash_table(results: Results) -> str:
    """Return a."""
    rows = []
    for program in results.measured("crash"):
        if found := results.spread("crash", program, "restart_s"):
            cells = [duration(v) for v in (found.least, found.median, found.p99, found.most)]
            back = results.median("mass", program, "all_back_s")
            rows.append(
                [
                    program,
                    str(found.count),
                    *cells,
                    to_limit(results, "crash", program, "restart_s"),
                    duration(back),
                    to_limit(results, "mass", program, "all_back_s"),
                ]
            )
    crowd = f"{results.effort['crowd']} at once"
    header = ("", "kills", "least", "median", "p99", "most", "to limit-c", crowd, "to limit-c")
    return table(header, rows) if rows else ""


def to_limit(results: Results, measure: str, program: str, figure: str) -> str:
    """Return a program's median as a multiple of the limit's."""
    if program == LIMIT:
        return ""
    ours, limit = (results.median(measure, name, figure) for name in (program, LIMIT))
    return times(ratio(ours, limit))


Column = tuple[str, str, str, Callable[[float | None], str], bool]  # title, size, figure, how, with the ratio
START_STOP: tuple[Column, ...] = (
    ("start", "some", "start_s", duration, False),
    ("start", "many", "start_s", duration, True),
    ("stop", "some", "stop_s", duration, False),
    ("stop", "many", "stop_s", duration, True),
)
MEMORY: tuple[Column, ...] = (
    ("PSS with", "1", "pss_mb", megabytes, False),
    ("PSS with", "some", "pss_mb", megabytes, False),
    ("PSS with", "many", "pss_mb", megabytes, False),
    ("processes with", "many", "processes", number, False),
)
IDLE: tuple[Column, ...] = (
    ("wake-ups with", "some", "idle_switches", number, False),
    ("CPU with", "some", "idle_cpu_s", duration, False),
    ("wake-ups with", "many", "idle_switches", number, False),
    ("CPU with", "many", "idle_cpu_s", duration, False),
)
STATUS: tuple[Column, ...] = (
    ("command line,", "1", "status_cli_s", duration, False),
    ("command line,", "some", "status_cli_s", duration, False),
    ("command line,", "many", "status_cli_s", duration, False),
    ("api,", "1", "status_api_s", duration, False),
    ("api,", "many", "status_api_s", duration, False),
)


def scale_table(results: Results, columns: Sequence[Column]) -> str:
    """Return a table of figures that were taken at several sizes."""
    header, rows = [""], []
    for title, size, _, _, with_ratio in columns:
        header += [f"{title} {count(results, size)}", *(["to limit-c"] if with_ratio else [])]
    for program in results.measured(f"scale {count(results, 'many')}"):
        cells = list(scale_cells(results, program, columns))
        if any(cell not in ("-", "") for cell in cells):
            rows.append([program, *cells])
    return table(header, rows) if rows else ""


def scale_cells(results: Results, program: str, columns: Sequence[Column]) -> Iterable[str]:
    """Yield the cells of one program."""
    for _, size, figure, how, with_ratio in columns:
        measure = f"scale {count(results, size)}"
        yield how(results.median(measure, program, figure))
        if with_ratio:
            yield to_limit(results, measure, program, figure)


def count(results: Results, size: str) -> int:
    """Return how many programs a size is."""
    return int(results.effort[size]) if size in results.effort else int(size)


def capture_table(results: Results) -> str:
    """Return e."""
    rows = []
    for program in results.measured("flood 80"):
        cells = [program]
        for measure in ("flood 80", "flood 4080"):
            cells += [
                per_gib(results.median(measure, program, "cpu_s_per_gib")),
                to_limit(results, measure, program, "cpu_s_per_gib"),
                speed(results.median(measure, program, "mb_per_s")),
            ]
        cells += [
            percent(results.median("rate", program, "cpu_percent")),
            to_limit(results, "rate", program, "cpu_percent"),
            " / ".join(number(harm(results, program, f)) for f in ("torn_lines", "lost_bytes")),
        ]
        rows.append(cells)
    header = ["", "80-byte lines", "to limit-c", "", "4 KiB blocks", "to limit-c", ""]
    header += ["50 x 1000 lines/s", "to limit-c", "torn lines / lost bytes"]
    return table(header, rows) if rows else ""


def harm(results: Results, program: str, figure: str) -> float | None:
    """Return the sum over both floods."""
    found = [results.total(measure, program, figure) for measure in ("flood 80", "flood 4080")]
    known = [value for value in found if value is not None]
    return sum(known) if known else None


def more_table(results: Results) -> str:
    """Return g."""
    rows = [
        [
            program,
            duration(results.median("more", program, "runs_s")),
            to_limit(results, "more", program, "runs_s"),
            number(results.total("more", program, "restarted")),
        ]
        for program in results.measured("more")
    ]
    return table(("", "it runs after", "to limit-c", "others restarted"), rows) if rows else ""


KILL = ("alive", "broken", "logging", "twice", "missing", "lines_lost", "lines_written")


def kill_table(results: Results) -> str:
    """Return h."""
    rows = []
    for run in results.runs:
        if run.measure.startswith("kill ") and run.figures:
            found = dict(run.figures)
            found["logging"] = "yes" if found.get("logging") else "no"  # type: ignore[assignment]
            cells = [v if isinstance(v := found.get(k), str) else short(v) for k in KILL]
            rows.append([f"{run.program}: {run.measure.removeprefix('kill ')}", *cells])
    header = ["killed", "children alive", "broken pipes", "logging goes on", "running twice after restart"]
    return table([*header, "missing", "lines lost", "of"], rows) if rows else ""


def cold_table(results: Results) -> str:
    """Return the commands."""
    rows = []
    python = results.median("cold", "python -c pass", "s")
    for command in results.measured("cold"):
        if found := results.spread("cold", command, "s"):
            cells = [duration(found.least), duration(found.median), times(ratio(found.median, python))]
            rows.append([f"`{command}`", *cells])
    return table(("", "least", "median", "to `python -c pass`"), rows) if rows else ""


def launch_table(results: Results) -> str:
    """Return what keeper and launcher add to a start."""
    rows = []
    for way in dict.fromkeys(run.program for run in results.runs if run.measure == "launch" and run.figures):
        if found := results.spread("launch", way, "s"):
            added = duration(results.median("launch", way, "added_s"))
            rows.append([way, duration(found.least), duration(found.median), added])
    return table(("", "least", "median", "added"), rows) if rows else ""


def failures(results: Results) -> str:
    """Return what could not be measured, and why."""
    found = dict.fromkeys(f"- {r.program}, {r.measure}: {r.error}\n" for r in results.runs if r.error)
    return "".join(found)


def short(value: float | list[float] | None) -> str:
    """Write a figure of any kind in few letters: the middle of repeats."""
    if isinstance(value, list):
        value = sorted(value)[len(value) // 2] if value else None
    if value is None or value == int(value):
        return number(value)
    return f"{value:.4f}" if abs(value) < 1 else number(value)
