"""The page's tables of schedules. Pure."""

from collections.abc import Iterator

from benchmarks.figures import duration, number, table
from benchmarks.goals import OURS, megabytes
from benchmarks.results import Results

MATHS = (
    ("next times", "next_s"),
    ("previous times", "previous_s"),
    ("expressions read", "read_s"),
    ("schedules loaded", "load_s"),
    ("the next full minute: 1000 and more due, claimed", "claim_s"),
    ("a look at the clocks, none due", "idle_s"),
)


def sections(results: Results) -> list[tuple[str, str]]:
    """Return title and table of each thing measured."""
    waiting = f"{results.effort['schedules']:,}"
    return [
        ("i. Schedules due in one second: how late they start", due_table(results)),
        (f"i. {waiting} schedules, none due", wait_table(results)),
        ("i. The maths of 10,000 schedules", maths_table(results)),
    ]


def due_table(results: Results) -> str:
    """Return how late schedules start."""
    counts = [*results.effort["due"], results.effort["storm"]]
    header = [""]
    for count in counts:
        header += [f"{count}: median", "last"] if count > 1 else [f"{count}"]
    programs = {program for count in counts for program in results.measured(f"due {count}")}
    rows = [[each, *due_cells(results, each, counts)] for each in results.versions if each in programs]
    return table((*header, "not started"), rows) if rows else ""


def due_cells(results: Results, program: str, counts: list[int]) -> Iterator[str]:
    """Yield the cells of one program."""
    for count in counts:
        late = results.spread(f"due {count}", program, "late_s")
        yield duration(late.median if late else None)
        if count > 1:
            yield duration(late.most if late else None)
    missing = [results.total(f"due {count}", program, "missing") for count in counts]
    yield number(sum(filter(None, missing)) if any(value is not None for value in missing) else None)


def wait_table(results: Results) -> str:
    """Return what schedules cost that are not due."""
    measure = f"wait {results.effort['schedules']}"
    rows = []
    for program in results.measured(measure):
        cells = [megabytes(results.median(measure, program, "pss_mb"))]
        cells += [duration(results.median(measure, program, "idle_cpu_s"))]
        cells += [number(results.median(measure, program, "idle_switches"))]
        cells += [duration(results.median(measure, program, name)) for name in ("ready_alone_s", "ready_s")]
        rows.append([program, *cells])
    header = ("", "PSS", "CPU a minute", "wake-ups a minute", "ready with 1", "ready with all")
    return table(header, rows) if rows else ""


def maths_table(results: Results) -> str:
    """Return what the pure rules take."""
    rows = []
    for title, figure in MATHS:
        if found := results.spread("maths", OURS, figure):
            rows.append([title, duration(found.least), duration(found.median)])
    return table(("", "least", "median"), rows) if rows else ""
