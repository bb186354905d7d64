"""Occurrences of schedules as lines for people and as rows of `history --json`."""

from datetime import datetime, tzinfo
from typing import Any

from shiftboss.api.calls import Occurrence
from shiftboss.cli.output import duration, size

BAD = ("failed", "timed_out", "missed", "unknown")
_STAGES = {
    "waiting": "waits for its start",
    "claimed": "is being started",
    "running": "runs",
    "detached": "has ended; what it left in the background runs on",
}


def occurrence_line(occurrence: Occurrence, zone: tzinfo) -> str:
    """Return an occurrence as one line: when it was due, what it is of, what became of it."""
    times = "" if occurrence.times == 1 else f" ({_count(occurrence)} until {_moment(occurrence.last, zone)})"
    cause = f" {occurrence.cause}" if occurrence.cause else ""
    run = f", run {occurrence.run}{cause}" if occurrence.run else cause
    words = f": {occurrence.reason}" if occurrence.reason else ""
    took = f", after {_took(occurrence)}" if _took(occurrence) else ""
    return f"{_moment(occurrence.due, zone)}  {occurrence.target}  {outcome(occurrence)}{took}{run}{times}{words}"


def outcome(occurrence: Occurrence) -> str:
    """Return what became of it, in words."""
    named = occurrence.outcome or _STAGES.get(occurrence.stage, occurrence.stage)
    return named.replace("_", " ")


def failed(occurrence: Occurrence) -> bool:
    """Tell whether it is something that went wrong."""
    return occurrence.outcome in BAD


def row(occurrence: Occurrence, zone: tzinfo) -> dict[str, Any]:
    """Return an occurrence as a row of `history --json`."""
    return {
        "target": occurrence.target,
        "kind": "occurrence",
        "due": _iso(occurrence.due, zone),
        "last": _iso(occurrence.last, zone),
        "times": occurrence.times,
        "started": _iso(occurrence.began, zone),
        "ended": _iso(occurrence.ended, zone),
        "outcome": occurrence.outcome,
        "exit_status": occurrence.exit_status,
        "reason": occurrence.reason or None,
        "run": occurrence.run or None,
        "attempt": occurrence.attempt,
        "cause": occurrence.cause or None,
        "lateness_seconds": occurrence.lateness,
        "memory_bytes": occurrence.memory_bytes,
        "output": occurrence.excerpt,
    }


def explained(occurrence: Occurrence, zone: tzinfo) -> list[str]:
    """Return what became of an occurrence and why, in sentences."""
    due, target = _moment(occurrence.due, zone), occurrence.target
    what = (
        f"{target} was made due at {due} {occurrence.cause}"
        if occurrence.cause
        else f"{target} was due at {due}"
    )
    if occurrence.times != 1:
        what += f" and {_count(occurrence)} in all until {_moment(occurrence.last, zone)}"
    found = [f"{what}: {_fate(occurrence)}."]
    if occurrence.began:
        late = (
            f", {occurrence.lateness:.1f} s late"
            if occurrence.lateness and occurrence.lateness >= 0.1
            else ""
        )
        took = f", took {_took(occurrence)}" if _took(occurrence) else ""
        memory = f", {size(occurrence.memory_bytes)} of memory at most" if occurrence.memory_bytes else ""
        found.append(f"Run {occurrence.run} began at {_moment(occurrence.began, zone)}{late}{took}{memory}.")
    if occurrence.excerpt:
        found += ["The end of its output:", *(f"  {line}" for line in occurrence.excerpt.splitlines())]
    if occurrence.run:
        found.append(f"All of its output: shiftboss logs {target} --run {occurrence.run}")
    return found


def _fate(occurrence: Occurrence) -> str:
    reason = f" ({occurrence.reason})" if occurrence.reason else ""
    attempt = f" at attempt {occurrence.attempt}" if occurrence.attempt > 1 else ""
    told = {
        "ran": "it ran well",
        "failed": "it failed",
        "timed_out": "it took too long and was ended",
        "skipped": "it was skipped",
        "missed": "it was missed",
        "unknown": "what became of it is not known",
    }.get(occurrence.outcome or "", f"it {_STAGES.get(occurrence.stage, occurrence.stage)}")
    return f"{told}{attempt}{reason}"


def _count(occurrence: Occurrence) -> str:
    return f"{occurrence.times} times" if occurrence.times else "many times"


def _took(occurrence: Occurrence) -> str:
    if occurrence.began is None or occurrence.ended is None or occurrence.ended < occurrence.began:
        return ""  # not known, or the clock was set back meanwhile
    seconds = occurrence.ended - occurrence.began
    return f"{seconds:.2f} s" if seconds < 60 else duration(seconds)


def _moment(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def _iso(at: float | None, zone: tzinfo) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, zone).isoformat(timespec="milliseconds")
