"""The `Shell` in memory: what was asked for is kept, time stands still until it is moved."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shiftboss.api.calls import Event
from shiftboss.confine.usage import Usage
from shiftboss.core.agenda_values import Save
from shiftboss.core.clock_gap import Moment
from shiftboss.core.exit_reason import Starved
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry, Policy, StopTerms
from shiftboss.engine.database import ProcessMemory, ScaleMemory
from shiftboss.engine.occurrences import Detail
from shiftboss.engine.shell_port import Key


@dataclass
class FakeShell:
    """Performs nothing; `settle` runs what was put off, `sent` is what the keeper would have got."""

    clock: float = 1000.0
    jitter_value: float = 0.0
    log_lines: list[str] = field(default_factory=list)
    store_answers: bool = True
    tail_answers: bool = True
    finish_answers: bool = True
    port_owner: str = ""
    used: dict[int, Usage] = field(default_factory=dict)
    hungry: Starved | None = None
    sent: list[messages.Request] = field(default_factory=list)
    timers: dict[Key, tuple[int, float]] = field(default_factory=dict)
    attached: list[tuple[str, int, int]] = field(default_factory=list)
    finished: list[tuple[str, int, int]] = field(default_factory=list)
    finishing: list[tuple[tuple[str, int, int], Callable[[], None]]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    recorded: list[Event] = field(default_factory=list)
    published: list[Event] = field(default_factory=list)
    memories: dict[Key, ProcessMemory | None] = field(default_factory=dict)
    scales: dict[str, ScaleMemory | None] = field(default_factory=dict)
    missing: list[Key] = field(default_factory=list)
    limits: list[list[Entry]] = field(default_factory=list)
    waits: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    held_back: list[Callable[[], None]] = field(default_factory=list)
    tails: list[Callable[[list[str]], None]] = field(default_factory=list)
    served: list[tuple[int, str]] = field(default_factory=list)
    is_ready: bool = False
    is_closing: bool = False
    is_lost: bool = False
    has_ended: bool = False
    flushes: int = 0
    wake: tuple[float, float, Callable[[], None]] = (0.0, 0.0, lambda: None)
    lines: list[str] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)
    _soon: deque[Callable[[], None]] = field(default_factory=deque)

    def settle(self) -> None:
        while self._soon:
            self._soon.popleft()()

    def take_sent(self) -> list[messages.Request]:
        sent, self.sent = self.sent, []
        return sent

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.recorded if event.kind == kind]

    def now(self) -> float:
        return self.clock

    def wall(self) -> float:
        return 1_000_000 + self.clock

    def moment(self) -> Moment:
        return Moment(self.wall(), self.clock, self.clock)

    def wake_at(self, wall: float, mono: float, then: Callable[[], None]) -> None:
        self.wake = (wall, mono, then)

    def begin_output(self, entry: Entry, lane: int, run: int, descriptor: int, line: str) -> None:
        self.attached.append((entry.address, lane, run))
        self.lines.append(line)

    def end_output(self, entry: Entry, lane: int, run: int, line: str) -> None:
        self.lines.append(line)

    def tail_output(
        self, entry: Entry, lane: int, run: int, lines: int, then: Callable[[list[str]], None]
    ) -> None:
        self.tail(entry.address, lines, then)

    def finish_output(self, entry: Entry, lane: int, run: int, then: Callable[[], None]) -> None:
        self.finish(entry, lane, run, then)

    def save(self, save: Save, details: list[Detail], then: Callable[[str], None]) -> None:
        self.saves.append(save)
        self.details += details
        if self.store_answers:
            then("")
        else:
            self.held_back.append(lambda: then(""))

    def jitter(self) -> float:
        return self.jitter_value

    def send(self, request: messages.Request) -> None:
        self.sent.append(request)

    def arm(self, key: Key, epoch: int, seconds: float) -> None:
        self.timers[key] = (epoch, self.clock + seconds)

    def cancel(self, key: Key) -> None:
        self.timers.pop(key, None)

    def due_in(self, key: Key) -> float | None:
        return self.timers[key][1] - self.clock if key in self.timers else None

    def serve(self, descriptor: int, path: str) -> None:
        self.served.append((descriptor, path))

    def attach(self, entry: Entry, process: int, run: int, descriptor: int) -> None:
        self.attached.append((entry.address, process, run))

    def finish(self, entry: Entry, process: int, run: int, then: Callable[[], None]) -> None:
        self.finished.append((entry.address, process, run))
        if self.finish_answers:
            then()
        else:
            self.finishing.append(((entry.address, process, run), then))

    def tail(self, entry: str, lines: int, then: Callable[[list[str]], None]) -> None:
        if self.tail_answers:
            then(self.log_lines[-lines:])
        else:
            self.tails.append(then)

    def limits_changed(self, entries: list[Entry]) -> None:
        self.limits.append(entries)

    def listener(self, port: int, then: Callable[[str], None]) -> None:
        then(self.port_owner)

    def usage(self, pid: int, cgroup: str, groups: tuple[str, ...]) -> Usage:
        return self.used.get(pid, Usage())

    def starved(self, groups: tuple[str, ...]) -> Starved | None:
        return self.hungry

    def is_deleted(self, path: str) -> bool | None:
        return "deleted" in path

    def record(self, event: Event, then: Callable[[], None] | None = None) -> None:
        self.recorded.append(event)
        if then and self.store_answers:
            then()
        elif then:
            self.held_back.append(then)

    def remember(self, key: Key, memory: ProcessMemory | None) -> None:
        self.memories[key] = memory

    def vanished(self, key: Key) -> None:
        self.missing.append(key)

    def remember_scale(self, entry: str, memory: ScaleMemory | None) -> None:
        self.scales[entry] = memory

    def flush(self) -> None:
        self.flushes += 1

    def publish(self, event: Event) -> None:
        self.published.append(event)

    def after(self, seconds: float, then: Callable[[], None]) -> Callable[[], None]:
        wait = (seconds, then)
        self.waits.append(wait)
        return lambda: self.waits.remove(wait) if wait in self.waits else None

    def soon(self, then: Callable[[], None]) -> None:
        self._soon.append(then)

    def close_descriptor(self, descriptor: int) -> None:
        self.closed.append(descriptor)

    def ready(self) -> None:
        self.is_ready = True

    def closing(self, *, is_lost: bool) -> None:
        self.is_closing, self.is_lost = True, is_lost

    def end(self) -> None:
        self.has_ended = True


def entry(address: str = "shop/queue", processes: int = 1, **changes: Any) -> Entry:
    """Return an entry; `policy_…` and `stop_…` go to the policy and the stop terms."""
    policy = {
        key.removeprefix("policy_"): changes.pop(key) for key in [*changes] if key.startswith("policy_")
    }
    stop = {key.removeprefix("stop_"): changes.pop(key) for key in [*changes] if key.startswith("stop_")}
    fields: dict[str, Any] = {
        "address": address,
        "argv": ("/usr/bin/php", "artisan", "queue:work"),
        "user": "shop_user",
        "uid": 1500,
        "gid": 1500,
        "home": "/home/shop",
        "directory": "/srv/shop/current",
        "current": "/srv/shop/current",
        "revision": "r1",
        "processes_max": max(10, processes),
        "stop": StopTerms(**stop),
        "policy": Policy(processes=processes, log_path="/logs/shop/queue.log", **policy),
    }
    return Entry(**{**fields, **changes})
