"""Orders for the launcher: units that Supervisor or cron starts, and that have limits or isolation they cannot give.

A file for each project and backend says what to run, as whom and how confined (the manifest's format). It is root's
alone: environment variables may be secrets.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from shiftboss.backends.contract import Wanted
from shiftboss.backends.launch_places import orders_directory
from shiftboss.backends.native_bounds import bound_notes
from shiftboss.backends.native_manifest import plain_entry
from shiftboss.core.facts import Answers, FindGround, FindLauncher, Query, ReadFile
from shiftboss.core.isolation import confined, default_level, needs_launcher
from shiftboss.core.limits import Ground, launcher_ground
from shiftboss.core.plan import Plan, RemoveFile, WriteFile
from shiftboss.core.schedule_entry import SCHEDULE
from shiftboss.core.spec import Schedule, Site, Unit
from shiftboss.core.wire.entry import Entry, Policy, with_revision
from shiftboss.core.wire.manifest import manifest_text

_MODE = 0o600


class Launch(Struct, frozen=True):
    """How a unit is started: the launcher's command up to the address, and the `revision` of what it will find."""

    command: tuple[str, ...]
    revision: str


def launch_command(site: Site, backend: str, launcher: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that starts a unit of a backend, up to what is special of that backend."""
    return (*launcher, "--orders", orders_directory(site, backend))


def orders_queries(wanted: Wanted, backend: str) -> tuple[Query, ...]:
    """Name what `plan_orders` must know; the launcher is looked for only if a unit needs it."""
    found = (ReadFile(_path(wanted, backend)),)
    return (*found, FindGround(), FindLauncher()) if any(map(needs_launcher, wanted.units)) else found


def is_orders(text: str) -> bool:
    """Tell whether a text is a file of orders: in directories that hold other files of ours too none is JSON."""
    return text.startswith("{")


def plan_orders(wanted: Wanted, backend: str, answers: Answers) -> tuple[Plan, Mapping[str, Launch]]:
    """Return what brings the orders of a project up to date, and how each unit that needs the launcher is started."""
    before = answers[ReadFile(_path(wanted, backend))]
    assert before is None or isinstance(before, str)
    units = tuple(filter(needs_launcher, wanted.units))
    if not units:
        gone = RemoveFile(wanted.project.name, _path(wanted, backend), before or "")
        return Plan(actions=() if before is None else (gone,)), {}
    entries = tuple(_order(unit, wanted.site) for unit in units)
    ground, words = answers[FindGround()], answers[FindLauncher()]
    assert isinstance(ground, Ground)
    assert isinstance(words, tuple)
    notes = bound_notes(units, entries, wanted.site, before, launcher_ground(ground))
    command = launch_command(wanted.site, backend, words)
    launches = {entry.address: Launch(command, entry.revision) for entry in entries}
    return Plan(actions=_written(wanted, backend, entries, before), notes=notes), launches


def _written(
    wanted: Wanted, backend: str, entries: Iterable[Entry], before: str | None
) -> tuple[WriteFile, ...]:
    name, path = wanted.project.name, _path(wanted, backend)
    text = manifest_text(name, tuple(entries))
    return () if text == before else (WriteFile(name, path, text, before, _MODE),)


def _path(wanted: Wanted, backend: str) -> str:
    return f"{orders_directory(wanted.site, backend)}/{wanted.project.name}.json"


def _order(unit: Unit, site: Site) -> Entry:
    """Return what the launcher goes by, without what is Supervisor's or cron's to know (how many, when)."""
    entry = plain_entry(unit)._replace(processes_max=1, policy=_policy(unit))
    return with_revision(confined(entry, unit, site, default_level(unit), watched=False))


def _policy(unit: Unit) -> Policy:
    """Return what `launcher/run.py` must know of a schedule: Supervisor watches over its workers itself."""
    if not isinstance(unit, Schedule):
        return Policy()
    wishes = unit.policy
    options = {
        "overlap": wishes.overlap,
        "timeout_seconds": wishes.timeout_seconds,
        "keeps_output": int(wishes.asks_inside),
    }
    return Policy(kind=SCHEDULE, processes=0, log_path=unit.log_path, options=options)
