"""A native engine in memory: it reads the manifests from the files in memory and runs scripts instead of programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shiftboss.core.errors import HostError
from shiftboss.core.facts import EngineFacts, EngineProcess, EngineSchedule, EngineUnit
from shiftboss.core.wire.entry import Entry, fingerprint
from shiftboss.core.wire.manifest import read_manifest
from shiftboss.host.fake_faults import Faults
from shiftboss.host.fake_files import FakeFiles
from shiftboss.host.fake_supervisor import Script
from shiftboss.host.ports import Clock, Engine

_FIRST_PID = 50_000


@dataclass
class _Process:
    number: int
    script: Script
    state: str = "STOPPED"
    up: bool = True
    pid: int | None = None
    since: float = 0.0
    reason: str | None = None

    def advance(self, now: float, start_seconds: float) -> None:
        """Go on to the state that the time has brought."""
        age = now - self.since
        if self.state not in {"STARTING", "RUNNING"}:
            return
        if self.script.ends and age >= self.script.after_seconds:
            self.state, self.pid, self.reason = self.script.ends, None, f"exit {self.script.exit_status}"
        elif age >= start_seconds:
            self.state = "RUNNING"


@dataclass
class _Unit:
    entry: Entry
    processes: dict[int, _Process] = field(default_factory=dict)
    scaled: int | None = None
    instead_of: int = 0

    @property
    def wanted(self) -> int:
        return self.entry.policy.processes if self.scaled is None else self.scaled


class FakeEngine:
    """The `Engine` port in memory. `scripts` are by unit (`myapp/queue`); `down`: it does not run.

    `refuses` are manifest files with what is wrong with them. Its manifests are read at `reload` from `manifests`, a directory of the files in memory.
    """

    def __init__(self, manifests: str, files: FakeFiles, clock: Clock, faults: Faults) -> None:
        self.down = False
        self.manifests = manifests
        self.scripts: dict[str, Script] = {}
        self.asked: list[str] = []
        self.timed: dict[str, EngineSchedule] = {}
        self.refuses: dict[str, str] = {}
        self._files, self._clock, self._faults = files, clock, faults
        self._units: dict[str, _Unit] = {}
        self._next_pid = _FIRST_PID

    def living(self) -> dict[int, str]:
        """Return pid and directory of every living process."""
        return {
            process.pid: self._files.real_path(unit.entry.directory) or unit.entry.directory
            for unit in self._units.values()
            for process in unit.processes.values()
            if process.pid
        }

    def facts(self, *, usage: bool = False) -> EngineFacts | None:
        self._faults.reach("engine.facts")
        if self.down:
            return None
        self._advance()
        return EngineFacts("test", tuple(_told(unit, self._clock) for unit in self._units.values()))

    def schedules(self) -> tuple[EngineSchedule, ...]:
        if self.down:
            return ()
        known = {
            a: EngineSchedule(a) for a, unit in self._units.items() if unit.entry.policy.kind == "schedule"
        }
        return tuple({**known, **self.timed}.values())

    def reload(self) -> Mapping[str, str]:
        self._faults.reach("engine.reload")
        self._require_running()
        entries: dict[str, Entry] = {}
        for path, text in self._files.read_matching(self.manifests, "*.json").items():
            project = path.rpartition("/")[2].removesuffix(".json")
            entries |= {entry.address: entry for entry in read_manifest(text.encode(), project)}
        for address in self._units.keys() - entries.keys():
            del self._units[address]
        for address, entry in entries.items():
            self._take(address, entry)
        return self.refuses

    def start(self, target: str) -> None:
        self._require_running()
        for unit, process in self._chosen("start", target):
            process.up = True
            if process.pid is None:
                self._spawn(unit, process)

    def stop(self, target: str, *, keep: bool = False) -> None:
        self._require_running()
        for _, process in self._chosen("stop", target):
            process.up, process.pid, process.state = False, None, "STOPPED"

    def restart(self, target: str) -> None:
        self._require_running()
        for unit, process in self._chosen("restart", target):
            process.up = True
            self._spawn(unit, process)

    def scale(self, target: str, processes: int) -> None:
        self._require_running()
        self.asked.append(f"scale {target} {processes}")
        unit = self._units[target]
        unit.instead_of = unit.entry.policy.processes
        unit.scaled = None if processes == unit.instead_of else processes
        self._resize(unit, restarts=False)

    def _take(self, address: str, entry: Entry) -> None:
        unit = self._units.setdefault(address, _Unit(entry))
        restarts = unit.entry.revision != entry.revision
        unit.entry = entry
        if unit.instead_of != entry.policy.processes:
            unit.scaled = None
        self._resize(unit, restarts=restarts)

    def _resize(self, unit: _Unit, *, restarts: bool) -> None:
        for number in [n for n in unit.processes if n > unit.wanted]:
            del unit.processes[number]
        for number in range(1, unit.wanted + 1):
            is_new = number not in unit.processes
            process = unit.processes.setdefault(number, _Process(number, Script()))
            if (is_new or restarts) and process.up:
                self._spawn(unit, process)

    def _spawn(self, unit: _Unit, process: _Process) -> None:
        process.script = self.scripts.get(unit.entry.address, Script())
        self._next_pid += 1
        process.pid, process.state, process.since = self._next_pid, "STARTING", self._clock.monotonic()

    def _chosen(self, verb: str, target: str) -> list[tuple[_Unit, _Process]]:
        self.asked.append(f"{verb} {target}")
        return [
            (unit, process)
            for address, unit in self._units.items()
            for process in unit.processes.values()
            if target in (unit.entry.project, address, f"{address}:{process.number}")
        ]

    def _advance(self) -> None:
        for unit in self._units.values():
            for process in unit.processes.values():
                process.advance(self._clock.monotonic(), unit.entry.policy.start_seconds)

    def _require_running(self) -> None:
        if self.down:
            raise HostError("shiftboss is not running", hint="Start it with: shiftboss up")


def _told(unit: _Unit, clock: Clock) -> EngineUnit:
    processes = tuple(
        EngineProcess(
            process.number,
            process.state,
            process.up,
            process.pid,
            clock.monotonic() - process.since if process.pid else None,
            reason=process.reason,
        )
        for process in unit.processes.values()
    )
    revision, override = unit.entry.revision, unit.scaled
    return EngineUnit(unit.entry.address, fingerprint(unit.entry), revision, processes, override)


class FakeEngines:
    """The `Engines` port: there is one engine, whatever the socket."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def connect(self, socket: str) -> Engine:
        return self._engine
