"""What each backend runs. A project file is read with this alone: the translators are only needed for a plan."""

from collections.abc import Mapping

from shiftboss.core.spec import UnitKind

KINDS: Mapping[str, frozenset[UnitKind]] = {
    "supervisor": frozenset({"worker"}),
    "native": frozenset({"worker", "schedule"}),
    "cron": frozenset({"schedule"}),
}
