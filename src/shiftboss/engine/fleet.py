"""Everything the engine knows of units and their processes. Plain state with one owner: the loop."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from shiftboss.core import access
from shiftboss.core.errors import UserError
from shiftboss.core.lifecycle import Policy, Process, RestartWhen, State, Wish
from shiftboss.core.names import Target, parse_target, suggest
from shiftboss.core.wire.entry import Entry, fingerprint
from shiftboss.engine.database import ProcessMemory, ScaleMemory

# The keeper sends KILL after the unit's wait; ours follows only if that had no effect.
KILL_MARGIN_SECONDS = 2.0
AUTOSTARTED = "worker"  # the kind of unit whose processes run without being asked for


class Slot:
    """One numbered process of a unit: the pure process, and what is shown of it."""

    __slots__ = (
        "cgroup",
        "down",
        "ended_run",
        "groups",
        "is_telling",
        "notes",
        "number",
        "pid",
        "process",
        "reason",
        "release",
        "restarts",
        "retired",
        "revision",
        "started",
        "unit",
        "untold",
        "waiters",
    )

    def __init__(self, unit: "Unit", number: int) -> None:
        self.unit = unit
        self.number = number
        self.process = Process()
        self.down = ""  # as in ProcessMemory
        self.pid: int | None = None
        self.started = 0.0
        self.release = ""
        self.revision = ""
        self.reason = ""
        self.notes: tuple[str, ...] = ()
        self.cgroup = ""
        self.groups: tuple[str, ...] = ()
        self.restarts = 0
        self.ended_run = 0
        self.retired = False
        self.is_telling = False  # the reason of an end is being looked for
        self.untold: deque[Callable[[], None]] | None = None  # what is told after it
        self.waiters: list[Callable[[Slot], None]] | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Entry and number: the name of the process towards keeper, timers and store."""
        return (self.unit.address, self.number)

    @property
    def address(self) -> str:
        """What users call it: `myapp/queue:2`."""
        return f"{self.unit.address}:{self.number}"

    def memory(self) -> ProcessMemory:
        """Return what must be remembered of it."""
        tally = self.process.tally
        return ProcessMemory(
            self.down,
            self.ended_run,
            self.restarts,
            tally.failures,
            tally.brief,
            self.reason,
        )

    def is_settled(self) -> bool:
        """Tell whether what was asked for has happened, or has failed."""
        return self.process.state not in (State.STARTING, State.STOPPING)


class Unit:
    """An entry of the manifest with its processes. `is_ghost`: the manifest has it no more; it is being stopped."""

    __slots__ = ("_fingerprint", "address", "entry", "is_ghost", "policy", "project", "scale", "slots")

    def __init__(self, entry: Entry, *, is_ghost: bool = False) -> None:
        self.slots: dict[int, Slot] = {}
        self.scale: ScaleMemory | None = None
        self.is_ghost = is_ghost
        self.become(entry)

    def become(self, entry: Entry) -> None:
        """Take over the entry as the manifest has it now; running processes are not touched by this."""
        self.entry = entry
        self.address = entry.address  # what users type: `myapp/queue`
        self.project = entry.project
        self._fingerprint: int | None = None
        terms, policy = entry.stop, entry.policy
        self.policy = _policy(
            policy.restart,
            policy.start_seconds,
            terms.wait_seconds + KILL_MARGIN_SECONDS,
            policy.restart_limit,
        )

    @property
    def fingerprint(self) -> int:
        """The checksum of the entry (core/wire/entry.py)."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.entry)
        return self._fingerprint

    @property
    def is_worker(self) -> bool:
        """Whether its processes run without being asked for."""
        return self.entry.policy.kind == AUTOSTARTED

    @property
    def wanted(self) -> int:
        """How many processes should exist."""
        if self.is_ghost or not self.is_worker:
            return 0
        if self.scale:
            return min(self.scale.processes, self.entry.processes_max)
        return self.entry.policy.processes

    def slot(self, number: int) -> Slot:
        """Return the process of that number, a new one if there is none."""
        found = self.slots.get(number)
        if found is None:
            found = self.slots[number] = Slot(self, number)
        return found


@lru_cache(maxsize=256)
def _policy(restart: RestartWhen, start_seconds: float, stop_seconds: float, limit: int) -> Policy:
    """Return the policy; most units have the same."""
    return Policy(restart, start_seconds, stop_seconds, limit)


def ghost(address: str) -> Unit:
    """Return a stand-in for a unit that lives but is in the manifest no more."""
    entry = Entry(
        address=address,
        argv=("?",),
        user="",
        uid=0,
        gid=0,
        home="/",
        directory="/",
        current="/",
        revision="",
    )
    return Unit(entry, is_ghost=True)


@dataclass
class Fleet:
    """All units by address, where each project's `current` leads, whose it is, and what is wrong with the manifest."""

    units: dict[str, Unit] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    manifest_errors: dict[str, str] = field(default_factory=dict)
    projects: access.Projects = access.Projects()  # noqa: RUF009 -- frozen

    def slots(self) -> Iterator[Slot]:
        """Yield every process."""
        for unit in self.units.values():
            yield from unit.slots.values()

    def find(self, entry: str, number: int) -> Slot | None:
        """Return a process, None if there is none of that name."""
        unit = self.units.get(entry)
        return unit.slots.get(number) if unit else None

    def select(self, targets: tuple[str, ...]) -> list[Slot]:
        """Return the processes that addresses mean (none: all), sorted; raise UserError for one that means nothing."""
        if not targets:
            chosen = {slot.key: slot for slot in self.slots() if not slot.retired}
        else:
            found = (slot for text in targets for slot in self._meant(parse_target(text)))
            chosen = {slot.key: slot for slot in found}
        return [chosen[key] for key in sorted(chosen)]

    def leaving(self) -> list[Slot]:
        """Return the processes that nobody wants any more and that still live."""
        return [slot for slot in self.slots() if slot.retired and slot.pid is not None]

    def select_units(self, targets: tuple[str, ...]) -> list[Unit]:
        """Return the units that addresses mean (none: all); raise UserError for one that means nothing."""
        if not targets:
            return list(self.units.values())
        chosen: dict[str, Unit] = {}
        for text in targets:
            chosen.update((unit.address, unit) for unit in self._units_meant(parse_target(text)))
        return list(chosen.values())

    def _units_meant(self, target: Target) -> list[Unit]:
        if target.unit is not None:
            unit = self.units.get(f"{target.project}/{target.unit}")
            found = [unit] if unit else []
        else:
            found = [unit for unit in self.units.values() if unit.project == target.project]
        if not found:
            raise self._unknown(target)
        return found

    def _meant(self, target: Target) -> list[Slot]:
        units = self._units_meant(target)
        if target.process is None:
            return [slot for unit in units for slot in unit.slots.values() if not slot.retired]
        slot = units[0].slots.get(target.process)
        if slot is None or slot.retired:
            raise UserError(
                f"{target} does not exist: {units[0].address} has {units[0].wanted} processes",
                hint=f"Run more of them with: shiftboss scale {units[0].address} {target.process}",
            )
        return [slot]

    def _unknown(self, target: Target) -> UserError:
        projects = {unit.project for unit in self.units.values()}
        if target.project not in projects:
            return access.no_such_project(target.project, projects)
        own = [
            unit.address.partition("/")[2] for unit in self.units.values() if unit.project == target.project
        ]
        near = suggest(target.unit or "", own)
        return UserError(
            f"{target.project} has no unit '{target.unit}'{near}",
            hint=f"Its units here: {', '.join(sorted(own))}. {access.OTHER_BACKENDS}",
        )


def is_wanted_up(slot: Slot) -> bool:
    """Tell whether the process should run."""
    return slot.process.wish is Wish.UP and not slot.retired
