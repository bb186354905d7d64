"""What a run of the benchmarks found, and how it is pooled. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from benchmarks.figures import Spread, median, spread


@dataclass(frozen=True)
class Run:
    """One measure of one program in one round; `error` says why there are no figures."""

    number: int
    measure: str
    program: str
    figures: Mapping[str, float | list[float]]
    error: str = ""


@dataclass
class Results:
    """Everything one run of the benchmarks found, and where."""

    versions: Mapping[str, str]
    machine: str
    python: str
    effort: Mapping[str, Any]
    rounds: int
    load: float = 0.0
    minutes: float = 0.0
    runs: list[Run] = field(default_factory=list)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Return what `plain` wrote."""
        return cls(**{**plain, "runs": [Run(**run) for run in plain["runs"]]})

    def plain(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return asdict(self)

    def values(self, measure: str, program: str, figure: str) -> list[float]:
        """Return all repeats of a figure, of all rounds."""
        found: list[float] = []
        for run in self.runs:
            if (run.measure, run.program) == (measure, program) and figure in run.figures:
                value = run.figures[figure]
                found += value if isinstance(value, list) else [value]
        return found

    def median(self, measure: str, program: str, figure: str) -> float | None:
        """Return the median of all repeats, None where there are none."""
        return median(self.values(measure, program, figure))

    def total(self, measure: str, program: str, figure: str) -> float | None:
        """Return the sum over all repeats: for what must never happen."""
        found = self.values(measure, program, figure)
        return sum(found) if found else None

    def spread(self, measure: str, program: str, figure: str) -> Spread | None:
        """Return the spread of all repeats, None where there are none."""
        return spread(self.values(measure, program, figure))

    def measured(self, measure: str) -> list[str]:
        """Return the programs that have runs of a measure, in the order of `versions`, then others."""
        found = {run.program for run in self.runs if run.measure == measure}
        return [name for name in dict.fromkeys([*self.versions, *sorted(found)]) if name in found]

    def error(self, measure: str, program: str) -> str:
        """Return why a program has no figures, "" if nothing went wrong."""
        words = (r.error for r in self.runs if (r.measure, r.program) == (measure, program) and r.error)
        return next(words, "")

    def best(self, measure: str, figure: str, without: set[str], *, most: bool = False) -> tuple[str, float]:
        """Return the program with the least (or greatest) median, and that; ("", nan) if there is none."""
        found = {p: self.median(measure, p, figure) for p in self.measured(measure) if p not in without}
        known = {program: value for program, value in found.items() if value is not None}
        if not known:
            return "", float("nan")
        name = (max if most else min)(known, key=lambda program: known[program])
        return name, known[name]
