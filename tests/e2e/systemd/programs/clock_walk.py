"""Sets the clock of a machine under test again and again, and tells what became of its schedules' times meanwhile.

Runs inside the machine, never on one whose clock is anybody else's. Its argument is JSON:

    {"beat": "alice/beat", "watched": ["alice/daily", ...], "legs": [{"at", "when", "step", "until"}, ...]}

One leg: set the clock to `at`, if there is one; when it shows `when`, set it by `step` seconds; when it shows `until`,
and a start of `beat` at that time or later has ended, note every row of history that is new since the leg began.
It prints a line for each leg: {"rows": {address: [[due, last, outcome, reason], ...]}, "seconds"}. At
the end the clock is as if nobody had set it.
"""

import json
import sys
import time
from typing import Any

from shiftboss.api.calls import Occurrence, Occurrences
from shiftboss.api.client import Client
from shiftboss.core.errors import HostError

SOCKET = "/run/shiftboss/api.sock"
_LOOK_SECONDS = 0.4
_MOST_SECONDS = 120
Leg = dict[str, float]


def main() -> None:
    wanted = json.loads(sys.argv[1])
    true = time.time() - time.monotonic()
    try:
        for leg in wanted["legs"]:
            print(json.dumps(_walk(wanted["beat"], wanted["watched"], leg)), flush=True)
    finally:
        _set(true + time.monotonic())


def _walk(beat: str, watched: list[str], leg: Leg) -> dict[str, Any]:
    begun, seen = time.monotonic(), {_key(row) for row in _rows(beat, *watched)}
    if "at" in leg:
        _set(leg["at"])
    if "when" in leg:
        _wait_for_clock(leg["when"])
    if "step" in leg:
        _set(time.time() + leg["step"])
    end = leg.get("until", time.time())
    _wait_for_clock(end)
    new = _wait_for_beat(beat, watched, seen, end)
    rows = {
        address: sorted(_told(row) for row in new if row.target == address) for address in (beat, *watched)
    }
    return {"rows": rows, "seconds": time.monotonic() - begun}


def _wait_for_beat(beat: str, watched: list[str], seen: set[tuple[str, int]], end: float) -> list[Occurrence]:
    """Wait for the end of a beat that began at `end` or later, and until every new row has its outcome; return those."""
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        new = [row for row in _rows(beat, *watched) if _key(row) not in seen]
        beats = [row for row in new if row.target == beat and row.outcome == "ran"]
        if any(end <= (row.began or 0) <= time.time() for row in beats) and all(row.outcome for row in new):
            return new
        time.sleep(_LOOK_SECONDS)
    raise TimeoutError(f"no {beat} after {time.ctime(end)}")


def _rows(*addresses: str) -> tuple[Occurrence, ...]:
    """Return all rows of these schedules; an engine that is slow to answer is asked again."""
    deadline = time.monotonic() + _MOST_SECONDS
    while True:
        try:
            with Client(SOCKET) as client:
                return client.occurrences(Occurrences(targets=addresses, limit=10_000)).occurrences
        except HostError:
            if time.monotonic() > deadline:
                raise


def _key(row: Occurrence) -> tuple[str, int]:
    return row.target, row.number


def _told(row: Occurrence) -> list[Any]:
    return [row.due, row.last, row.outcome, row.reason]


def _set(wall: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, wall)


def _wait_for_clock(wall: float) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while (left := wall - time.time()) > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the clock does not come to {time.ctime(wall)}")
        time.sleep(left)


if __name__ == "__main__":
    main()
