"""Events of the engine as lines for people and as rows of `history --json`."""

from datetime import datetime, tzinfo
from typing import Any

from shiftboss.api.calls import Event

_FAILED = frozenset({"failed", "timed_out"})
# what a reader of the history wants to see; a state in between tells nothing that these do not
HISTORY_KINDS = ("start", "exit", "failure", "recycle", "asked", "config", "trouble")


def event_line(event: Event, zone: tzinfo) -> str:
    """Return an event as one line: when, what it is about, what happened, who asked."""
    words = {
        "start": f"started, pid {event.pid}",
        "exit": f"ended: {event.reason or 'exit'}",
        "failure": f"could not start: {event.reason}",
        "state": str(event.state),
        "recycle": f"asked to start afresh: {event.reason}",
        "asked": f"{event.reason} asked",
        "config": f"configuration: {event.reason}",
        "trouble": f"trouble: {event.reason}",
    }.get(event.kind, f"{event.kind} {event.reason or ''}".rstrip())
    by = f" by {event.who}" if event.who else ""
    return f"{moment(event.at, zone)}  {target(event) or 'shiftboss'}  {words}{by}"


def target(event: Event) -> str:
    """Return the address of what an event is about, empty for the backend itself."""
    return f"{event.target}:{event.process}" if event.process else event.target


def moment(at: float, zone: tzinfo) -> str:
    """Return a time as a log shows it."""
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def failed(event: Event) -> bool:
    """Tell whether an event is something that went wrong."""
    return event.kind in {"failure", "trouble"} or event.outcome in _FAILED


def row(event: Event, zone: tzinfo) -> dict[str, Any]:
    """Return an event as a row of `history --json`; `kind`, `pid` and `who` come on top of the contract."""
    return {
        "target": target(event),
        "kind": event.kind,
        "due": None,
        "started": _iso(event.started if event.kind == "exit" else _started(event), zone),
        "ended": _iso(event.at if event.kind in {"exit", "failure"} else None, zone),
        "at": _iso(event.at, zone),
        "outcome": event.outcome,
        "exit_status": event.code,
        "reason": event.reason,
        "pid": event.pid,
        "who": event.who,
        "uid": event.uid,
    }


def _started(event: Event) -> float | None:
    return event.at if event.kind == "start" else None


def _iso(at: float | None, zone: tzinfo) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, zone).isoformat(timespec="milliseconds")
