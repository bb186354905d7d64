"""What `shiftboss up` applies before the keeper runs in its place."""

from collections.abc import Iterable

from msgspec.structs import replace

from shiftboss.backends.native_manifest import manifest_directory
from shiftboss.core.plan import Action, Override, ReloadEngine, StartProcess
from shiftboss.core.spec import Site
from shiftboss.host.machine import Machine
from shiftboss.setup.catalog import Catalog
from shiftboss.setup.change import Change, prepare_apply


def prepare_up(
    machine: Machine, site: Site, catalog: Catalog, names: Iterable[str], override: Override
) -> Change:
    """Return the change of `prepare_apply`, without what only a running engine can be told.

    The engine that is started next goes by the manifests that this change writes.
    """
    change = prepare_apply(machine, site, catalog, names, override)
    actions = tuple(action for action in change.plan.actions if not _is_told(action))
    return replace(change, plan=replace(change.plan, actions=actions))


def runs_something(change: Change) -> bool:
    """Tell whether the native backend has anything to run."""
    return any(unit.backend == "native" for project in change.projects for unit in project.units)


def make_places(machine: Machine, site: Site) -> None:
    """Make the directory that the keeper reads, where there is none: an empty one is no error of anybody."""
    own = machine.accounts.own()
    machine.files.make_directory(manifest_directory(site), own.uid, own.gid, 0o755)


def _is_told(action: Action) -> bool:
    return isinstance(action, ReloadEngine) or (
        isinstance(action, StartProcess) and action.backend == "native"
    )
