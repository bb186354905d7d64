"""Says what a keeper in the foreground does: `python -I -m shiftboss.cli.narrator SOCKET PID SINCE [logs]`.

A small process beside the keeper, so that the keeper itself stays small and may be process 1 of a container. It asks
the engine as any other client, and ends with the process PID. SINCE: seconds since the epoch.
"""

import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from shiftboss.api import calls
from shiftboss.api.client import Client
from shiftboss.cli.event_line import event_line
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.log_lines import harmless

_AGAIN_SECONDS = 0.03
_REMEMBERED = 5000
_LAST_WORDS_SECONDS = 0.2


class Teller:
    """Prints lines; ends the process when nobody reads them."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()

    def say(self, line: str) -> None:
        """Print a line at once."""
        try:
            os.write(1, harmless(line).encode("utf-8", "backslashreplace") + b"\n")
        except OSError:
            os._exit(0)

    def pass_on(self, line: str) -> None:
        """Print a line of a worker: as it is for a file or a pipe, harmless for a terminal."""
        try:
            os.write(
                1, (harmless(line) if self._is_terminal else line).encode("utf-8", "surrogateescape") + b"\n"
            )
        except OSError:
            os._exit(0)


class Narrator:
    """Follows events and, if asked to, the output of workers, through every death of the engine."""

    def __init__(self, socket: str, since: float) -> None:
        self._socket, self._since = socket, since
        self._teller = Teller()
        self._seen: deque[tuple[object, ...]] = deque(maxlen=_REMEMBERED)
        self._stops = 0

    def on_interrupt(self, *_: object) -> None:
        """Say what the Ctrl-C does that the keeper got too."""
        self._stops += 1
        first = "stopping every worker in its own way; Ctrl-C again kills what is left"
        self._teller.say(first if self._stops == 1 else "killing what is left")

    def follow_events(self, client: Client) -> None:
        """Tell every event since the last one that was told."""
        events = client.stream("events", calls.Select())
        next(events)  # from here on nothing is missed
        with Client(self._socket) as other:
            query = calls.History(since=self._since, limit=_REMEMBERED)
            for event in reversed(other.history(query).events):
                self._tell(event)
        for item in events:
            if isinstance(item, calls.Event):
                self._tell(item)

    def follow_logs(self, client: Client) -> None:
        """Pass on what workers write from now on."""
        for item in client.follow_logs(lines=0):
            process = f":{item.process}" if item.process else ""
            if item.lost:
                self._teller.say(f"{item.target}{process} | ({item.lost} lines were not shown: see its log)")
            for line in item.lines:
                self._teller.pass_on(f"{item.target}{process} | {line}")

    def _tell(self, event: calls.Event) -> None:
        key = (event.kind, event.target, event.process, event.run, event.state, event.at)
        if key in self._seen:
            return
        self._seen.append(key)
        self._since = max(self._since, event.at)
        if line := event_line(event):
            self._teller.say(line)

    def start(self, follow: Callable[[Client], None]) -> None:
        """Follow in a thread of its own, again and again."""
        threading.Thread(target=self._again_and_again, args=(follow,), daemon=True).start()

    def _again_and_again(self, follow: Callable[[Client], None]) -> None:
        while True:
            try:
                with Client(self._socket) as client:
                    follow(client)
            except (ShiftbossError, StopIteration):
                time.sleep(_AGAIN_SECONDS)


def main(socket: str, pid: str, since: str, *more: str) -> int:
    """Tell until the process `pid` ends."""
    try:
        keeper = os.pidfd_open(int(pid))
    except ProcessLookupError:
        return 0
    narrator = Narrator(socket, float(since))
    signal.signal(signal.SIGINT, narrator.on_interrupt)
    for ignored in (signal.SIGTERM, signal.SIGHUP):  # they are meant for the keeper, and we end with it
        signal.signal(ignored, signal.SIG_IGN)
    narrator.start(narrator.follow_events)
    if "logs" in more:
        narrator.start(narrator.follow_logs)
    select.select([keeper], [], [])
    time.sleep(_LAST_WORDS_SECONDS)  # what was told last is being printed
    return 0


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # the threads wait for a socket that will say nothing more
