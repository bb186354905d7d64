"""What a release declares about its own project: read as hostile input, accepted by `apply` or refused.

The accepted file is kept by root (`accepted_path`): it is what is in force until the next `apply`.
"""

from collections.abc import Callable

from msgspec import Struct

from shiftboss.backends.supervisor import refuse_collisions
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.plan import Action, Plan, RemoveFile, WriteFile, merge
from shiftboss.core.self_service import MAX_BYTES
from shiftboss.core.spec import Site
from shiftboss.host.machine import Machine
from shiftboss.setup.catalog import Catalog, Entry, accepted_path, entry_with, offer_path
from shiftboss.setup.units import Resolved, resolve, resolve_project

_MODE = 0o600  # variables in it may be secrets


class Taken(Struct, frozen=True):
    """A project as it will run, the plan for it, and why not all that its release declares is taken."""

    resolved: Resolved
    plan: Plan
    errors: tuple[ShiftbossError, ...] = ()


def take_offer(
    machine: Machine, site: Site, catalog: Catalog, name: str, planned: Callable[[Resolved], Plan]
) -> Taken:
    """Return a project with what its release declares now, or, if that is refused, with what was accepted before.

    Raises UserError or HostError if it cannot be had even so.
    """
    entry = catalog.require(name)
    before = machine.files.read(accepted_path(site, name))
    if not entry.own.project.self_service:
        plan = Plan(actions=forgotten_offer(machine, site, name))
        return _taken(machine, site, name, entry, planned, plan)
    try:
        text = offered_text(machine, site, name, entry)
        return _fresh(machine, site, catalog, name, text, before, planned)
    except ShiftbossError as error:
        error = _of_offer(error, offer_path(site, name, entry.own))
        refused = (
            (error,) if entry.refused is None or str(entry.refused) == str(error) else (error, entry.refused)
        )
        kept = _taken(machine, site, name, entry, planned, Plan())  # raises if root's own part is wrong
        return Taken(kept.resolved, kept.plan, refused)


def _of_offer(error: ShiftbossError, path: str) -> ShiftbossError:
    """Return an error that names the release's file and has a hint."""
    named = path in str(error)
    if named and error.hint:
        return error
    hint = error.hint or "Mend it in the release; what was accepted before goes on."
    return UserError(str(error), where="" if named else path, hint=hint)


def _fresh(
    machine: Machine,
    site: Site,
    catalog: Catalog,
    name: str,
    text: str | None,
    before: str | None,
    planned: Callable[[Resolved], Plan],
) -> Taken:
    entry = catalog.require(name)
    if text is None:
        alone = Entry(entry.path, entry.text, entry.own, entry.own)
        plan = Plan(actions=forgotten_offer(machine, site, name))
        return _taken(machine, site, name, alone, planned, plan)
    new = entry_with(entry.path, entry.text, entry.own, text, offer_path(site, name, entry.own))
    refuse_collisions(
        [
            (project, unit)
            for project, each in {**catalog.entries, name: new}.items()
            for unit in each.tables.workers
        ]
    )
    writes = WriteFile(name, accepted_path(site, name), text, before, _MODE)
    plan = Plan() if text == before else Plan(actions=(writes,))
    return _taken(machine, site, name, new, planned, plan)


def _taken(
    machine: Machine,
    site: Site,
    name: str,
    entry: Entry,
    planned: Callable[[Resolved], Plan],
    plan: Plan,
) -> Taken:
    resolved = resolve(machine, site, name, entry)
    declared = ", ".join(sorted(f"{name}/{unit}" for unit in resolved.released))
    notes = (f"declared by the release ({entry.offer}): {declared}",) if declared else ()
    return Taken(resolved, merge((plan, planned(resolved), Plan(notes=notes))))


def offered_text(machine: Machine, site: Site, name: str, entry: Entry) -> str | None:
    """Return what the release declares now, None if it declares nothing; raises HostError if it cannot be read."""
    account = resolve_project(machine, site, name, entry.own).account
    path = offer_path(site, name, entry.own)
    try:
        return machine.files.read_offered(account, path, limit=MAX_BYTES)
    except HostError as error:
        raise HostError(
            error.message,
            hint=f"It must be a regular file of at most {MAX_BYTES // 1024} KiB that {account.name} can read; "
            "what was accepted before goes on.",
        ) from None


def offer_trouble(machine: Machine, site: Site, name: str, entry: Entry) -> str:
    """Return, as a sentence without a full stop, how what the release declares differs from what is in force; "" if not."""
    if not entry.own.project.self_service:
        return ""
    if entry.refused is not None:
        return f"what the release of {name} declares is not in force any more: {entry.refused}"
    try:
        text = offered_text(machine, site, name, entry)
        accepted = machine.files.read(accepted_path(site, name))
    except ShiftbossError as error:
        return f"what the release of {name} declares cannot be read: {error.message}"
    if text == accepted:
        return ""
    return f"{offer_path(site, name, entry.own)} is not what is in force: shiftboss apply {name}"


def forgotten_offer(machine: Machine, site: Site, name: str) -> tuple[Action, ...]:
    """Return what takes away the accepted file of a project's release, if there is one."""
    path = accepted_path(site, name)
    text = machine.files.read(path)
    return () if text is None else (RemoveFile(name, path, text),)
