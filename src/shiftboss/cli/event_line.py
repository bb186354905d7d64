"""One line of words for an event of the native backend."""

from datetime import UTC, datetime

from shiftboss.api.calls import Event
from shiftboss.core.log_lines import harmless

# states that a start, exit or failure has already told of
_TOLD = frozenset({"STARTING", "RUNNING", "STOPPING", "STOPPED", "EXITED"})


def event_line(event: Event) -> str:
    """Return an event with its time of day, safe for a terminal; "" for what another event tells as well."""
    words = _words(event)
    if not words:
        return ""
    clock = datetime.fromtimestamp(event.at, UTC).astimezone().strftime("%H:%M:%S")
    process = f":{event.process}" if event.process else ""
    return harmless(" ".join(filter(None, (clock, f"{event.target}{process}", words))))


def _words(event: Event) -> str:
    reason = f": {event.reason}" if event.reason else ""
    match event.kind:
        case "start":
            return f"started, pid {event.pid}" + (f" ({event.reason})" if event.reason else "")
        case "exit":
            return f"ended{reason}"
        case "failure":
            return f"cannot start{reason}"
        case "state":
            return "" if event.state in _TOLD else f"{event.state}{reason}"
        case "recycle":
            return f"is asked to start afresh{reason}"
        case "asked":
            return f"{event.who or 'somebody'} asked{reason}"
        case "release":
            return f"new release{reason}" if event.reason else "has no release now"
        case _:
            return f"{event.kind}{reason}"
