"""What goes wrong, and when: faults planted at calls of the ports in memory."""

from collections import Counter
from collections.abc import Callable

Act = Callable[[], None]


class Faults:
    """Counts every call of the ports (`files.stage`, `supervisor.reread`, …) and lets what is planted happen there.

    A fault is an exception that is raised before the call does anything, or a function that is called then
    (to send ourselves a signal, or to change the world behind the program's back). Each happens once.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._counts: Counter[str] = Counter()
        self._planted: dict[tuple[str, int], BaseException | Act] = {}

    def plant(self, call: str, fault: BaseException | Act, *, at: int = 1) -> None:
        """Let `fault` happen at the `at`-th call of this name from now on; an empty name counts every call."""
        self._planted[(call, self._counts[call] + at)] = fault

    def reach(self, call: str, subject: str = "") -> None:
        """Say that a call begins; raises what was planted there."""
        self.calls.append((call, subject))
        for name in (call, ""):
            self._counts[name] += 1
            fault = self._planted.pop((name, self._counts[name]), None)
            if isinstance(fault, BaseException):
                raise fault
            if fault is not None:
                fault()

    def subjects(self, call: str) -> list[str]:
        """Return what calls of a name were about, in their order."""
        return [subject for name, subject in self.calls if name == call]

    @property
    def unused(self) -> bool:
        """Tell whether something that was planted did not happen yet."""
        return bool(self._planted)
