"""The lines that begin and end each run in the log of a schedule, and the output of one run between them."""

import re
from collections.abc import Iterable
from datetime import datetime, tzinfo

_LINE = re.compile(r"--- run (?P<run>\d{1,15}) of \S{1,80} (?P<what>began|ended) .* ---")


def header(address: str, run: int, began: float, cause: str, zone: tzinfo) -> str:
    """Return the line before the output of a run; `began` in seconds since the epoch, `cause` says what made it due."""
    return f"--- run {run} of {address} began {_time(began, zone)}, {cause} ---"


def footer(address: str, run: int, ended: float, words: str, seconds: float, zone: tzinfo) -> str:
    """Return the line after the output of a run: how it ended, and after how many seconds."""
    return f"--- run {run} of {address} ended {_time(ended, zone)}: {_plain(words)} after {seconds:.2f} s ---"


def output_of(lines: Iterable[str], run: int) -> list[str]:
    """Return the lines of one run, with the two that frame it; of runs side by side the lines are mixed.

    What a program prints may look like such a line: that deceives only those who read its own log.
    """
    found: list[str] = []
    inside = False
    for line in lines:
        match = _LINE.fullmatch(line)
        about_it = match is not None and int(match["run"]) == run
        if about_it and match and match["what"] == "began":
            inside, found = True, []
        if inside and (about_it or match is None):
            found.append(line)
        if about_it and match and match["what"] == "ended":
            inside = False
    return found


def last_output_of(lines: Iterable[str], run: int) -> list[str]:
    """Return what a run wrote of the last lines of a log, without the lines that frame it."""
    rows = list(lines)
    own = output_of(rows, run) or rows  # it has written more than these lines
    return [line for line in own if not _LINE.fullmatch(line)]


def _time(seconds: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")


def _plain(words: str) -> str:
    return " ".join(words.split())
