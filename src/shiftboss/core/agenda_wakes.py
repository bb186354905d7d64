"""Which schedule has to be looked at when: two heaps, one for each clock, and the next times kept at hand."""

from heapq import heapify, heappop, heappush
from math import inf

from shiftboss.core.clock_gap import Moment
from shiftboss.core.schedule_values import Scene, Track
from shiftboss.core.schedule_wake import Wake, next_wake
from shiftboss.core.timing import Timing, next_due


class Wakes:
    """Knows the next look at each schedule. An entry of a heap counts only if it is the schedule's latest."""

    def __init__(self) -> None:
        self._wakes: dict[str, Wake] = {}
        self._due: dict[str, tuple[int, Timing, int | None]] = {}
        self._walls: list[tuple[float, str]] = []
        self._monos: list[tuple[float, str]] = []

    def plan(self, address: str, track: Track, scene: Scene) -> None:
        """Take note of when a schedule has to be looked at again."""
        wake = next_wake(track, self._next_due(address, track, scene), scene)
        if wake == self._wakes.get(address):
            return
        self._wakes[address] = wake
        if wake.wall < inf:
            heappush(self._walls, (wake.wall, address))
        if wake.mono < inf:
            heappush(self._monos, (wake.mono, address))
        if len(self._walls) + len(self._monos) > 4 * len(self._wakes) + 1000:
            self._rebuild()

    def _next_due(self, address: str, track: Track, scene: Scene) -> int | None:
        timing = scene.terms.timing
        known = self._due.get(address)
        if known and known[0] == track.mark and known[1] is timing:
            return known[2]
        due = next_due(timing, track.mark)
        self._due[address] = (track.mark, timing, due)
        return due

    def _rebuild(self) -> None:
        self._walls = [(wake.wall, address) for address, wake in self._wakes.items() if wake.wall < inf]
        self._monos = [(wake.mono, address) for address, wake in self._wakes.items() if wake.mono < inf]
        heapify(self._walls)
        heapify(self._monos)

    def drop(self, address: str) -> None:
        """Forget a schedule."""
        self._wakes.pop(address, None)
        self._due.pop(address, None)

    def come(self, now: Moment) -> list[str]:
        """Return the schedules whose look has come, in the order of their names; each of them must be planned anew."""
        found: set[str] = set()
        while self._walls and (self._walls[0][0] <= now.wall or self._is_old(self._walls[0], "wall")):
            entry = heappop(self._walls)
            if not self._is_old(entry, "wall"):
                found.add(entry[1])
        while self._monos and (self._monos[0][0] <= now.mono or self._is_old(self._monos[0], "mono")):
            entry = heappop(self._monos)
            if not self._is_old(entry, "mono"):
                found.add(entry[1])
        for address in found:
            self._wakes.pop(address, None)
        return sorted(found)

    def _is_old(self, entry: tuple[float, str], clock: str) -> bool:
        wake = self._wakes.get(entry[1])
        return wake is None or getattr(wake, clock) != entry[0]

    def first(self) -> Wake:
        """Return the earliest look by each clock."""
        while self._walls and self._is_old(self._walls[0], "wall"):
            heappop(self._walls)
        while self._monos and self._is_old(self._monos[0], "mono"):
            heappop(self._monos)
        return Wake(self._walls[0][0] if self._walls else inf, self._monos[0][0] if self._monos else inf)
