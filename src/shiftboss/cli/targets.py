"""Targets on the command line: which projects, units and processes a command is about."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from shiftboss.cli.session import Session, open_session
from shiftboss.core.errors import ShiftbossError, UserError
from shiftboss.core.names import Target, parse_target
from shiftboss.core.spec import Unit
from shiftboss.setup.live import as_scaled
from shiftboss.setup.selection import Selection, combined, select
from shiftboss.setup.units import Resolved, resolve

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def resolve_target(session: Session, target: Target) -> Resolved:
    """Return the project of a target; raises UserError or HostError that says what is wrong."""
    entry = session.catalog.require(target.project)
    return resolve(session.machine, session.site, target.project, entry)


def units_of(
    session: Session, text: str | None
) -> tuple[list[tuple[Resolved, tuple[Unit, ...]]], list[ShiftbossError]]:
    """Return projects and the units that are meant (all of all projects for None), and what could not be read."""
    if text is not None:
        target = parse_target(text)
        resolved = resolve_target(session, target)
        if target.process is not None:
            select(resolved, target)  # raises if there is no such process
        return [(resolved, resolved.units if target.unit is None else (resolved.unit(target.unit),))], []
    found, errors = [], list(session.catalog.errors.values())
    for name, entry in sorted(session.catalog.entries.items()):
        try:
            resolved = resolve(session.machine, session.site, name, entry)
        except ShiftbossError as error:
            errors.append(error)
        else:
            found.append((resolved, resolved.units))
    return found, errors


def require_native_schedule(session: Session, text: str) -> None:
    """Raise UserError for what is known to be no schedule of the native backend; the engine judges the rest."""
    target = parse_target(text)
    entry = None if session.is_guest else session.catalog.entries.get(target.project)
    if entry is None or target.unit is None or target.unit not in entry.tables.schedules:
        return
    schedule = resolve_target(session, target).unit(target.unit)
    if schedule.backend != "native":
        raise UserError(
            f"{text} runs on {schedule.backend}, which cannot do that",
            hint=f'Let our own engine run it: [schedules.{target.unit}] backend = "native", then: shiftboss apply',
        )


def usable_projects(session: Session, name: str | None) -> tuple[list[str], list[ShiftbossError]]:
    """Return the projects that are meant, and the errors of files that cannot be read if all are meant."""
    if name is not None:
        session.catalog.require(name)
        return [name], []
    return sorted(session.catalog.entries), list(session.catalog.errors.values())


def selections(session: Session, targets: Sequence[str]) -> tuple[Selection, ...]:
    """Return the workers that targets mean, each once; raises UserError if one of them means none."""
    parsed = [parse_target(text) for text in targets]
    projects = {target.project: resolve_target(session, target) for target in parsed}
    scaled = {name: as_scaled(session.machine, session.site, found) for name, found in projects.items()}
    return combined([part for target in parsed for part in select(scaled[target.project], target)])


def complete_project(ctx: click.Context, _: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name of a project."""
    return _items(name for name in _names(ctx) if name.startswith(incomplete) and "/" not in name)


def complete_target(ctx: click.Context, _: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete a project or a unit."""
    return _items(name for name in _names(ctx) if name.startswith(incomplete))


def _items(names: Iterable[str]) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem  # only a shell that asks needs it

    return [CompletionItem(name) for name in names]


def _names(ctx: click.Context) -> list[str]:
    try:
        session = open_session(ctx)
        if session.is_guest:
            from shiftboss.cli import guest

            return guest.names(session)
        entries = session.catalog.entries
    except ShiftbossError:
        return []
    units = [
        f"{name}/{unit}" for name, e in entries.items() for unit in (*e.tables.workers, *e.tables.schedules)
    ]
    return sorted([*entries, *units])
