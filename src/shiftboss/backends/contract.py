"""What every backend is: a pure translator. It names what it must read, and plans from the answers.

`setup/` reads and acts; nothing in this room does.
"""

from typing import Protocol

from msgspec import Struct

from shiftboss.core.facts import Answers, Query
from shiftboss.core.plan import Override, Plan
from shiftboss.core.spec import Project, Site, Unit


class Wanted(Struct, frozen=True):
    """What a backend should hold for one project: all units of the project that live on it (maybe none)."""

    project: Project
    units: tuple[Unit, ...]
    site: Site


class Backend(Protocol):
    """A target that can run workers, schedules or both."""

    name: str

    def holds(self, unit: Unit) -> bool:
        """Tell whether a unit lives here (or leaves something here, as its log does at logrotate)."""
        ...

    def is_left_of(self, project: str, text: str) -> bool:
        """Tell whether the text of a file that `queries` names is ours and of this project."""
        ...

    def queries(self, wanted: Wanted) -> tuple[Query, ...]:
        """Name everything that `plan` must know about the machine; all of it is read-only."""
        ...

    def plan(self, wanted: Wanted, answers: Answers, override: Override) -> Plan:
        """Return the actions that make the machine hold exactly the wanted units of this project.

        Files of ours for units that are no longer wanted are removed. The plan of a machine on which the
        plan was performed is empty.
        """
        ...
