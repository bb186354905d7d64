"""Statistics of repeated measurements, and how figures are written. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """What many measurements of one thing say."""

    count: int
    least: float
    median: float
    p90: float
    p99: float
    most: float


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the sorted `values` do not exceed (nearest rank)."""
    rank = -int(-share * len(values) // 1)  # ceiling
    return values[min(max(rank, 1), len(values)) - 1]


def spread(values: Iterable[float]) -> Spread | None:
    """Return the spread of values, None of none."""
    found = sorted(values)
    if not found:
        return None
    middle = statistics.median(found)
    return Spread(len(found), found[0], middle, quantile(found, 0.9), quantile(found, 0.99), found[-1])


def median(values: Iterable[float]) -> float | None:
    """Return the median, None of none."""
    found = list(values)
    return statistics.median(found) if found else None


def ratio(value: float | None, reference: float | None) -> float | None:
    """Return how many times the reference a value is, None where that says nothing."""
    if value is None or not reference:
        return None
    return value / reference


def number(value: float | None) -> str:
    """Write a figure with three digits that say something."""
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """Write a time in the unit that fits."""
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{number(round(seconds, 3))} s"
    return f"{number(round(seconds * 1000, 3))} ms"


def times(value: float | None) -> str:
    """Write a ratio."""
    if value is None:
        return "-"
    return f"{value:.0f} x" if value >= 100 else f"{value:.1f} x" if value >= 10 else f"{value:.2f} x"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
