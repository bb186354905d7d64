"""The tasks inside Laravel schedulers, for people and for programs."""

from collections.abc import Iterable
from typing import Any

from msgspec import to_builtins

from shiftboss.cli.output import Console, table
from shiftboss.cli.session import Session
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.laravel_list import Task, exact
from shiftboss.core.spec import Schedule
from shiftboss.setup.laravel import TasksInside, has_tasks_inside, tasks_inside


def ask_for_tasks(
    session: Session, schedules: Iterable[Schedule]
) -> tuple[list[TasksInside], list[ShiftbossError]]:
    """Ask every Laravel scheduler among `schedules` for its tasks; return them, and the errors of those that do not tell."""
    found: list[TasksInside] = []
    errors: list[ShiftbossError] = []
    for schedule in schedules:
        if has_tasks_inside(schedule):
            try:
                found.append(tasks_inside(session.machine, schedule, session.console))
            except ShiftbossError as error:
                errors.append(error)
    return found, errors


def print_tasks(console: Console, inside: Iterable[TasksInside]) -> None:
    """Print a table of the tasks, and what is to be said about them."""
    found = tuple(inside)
    rows = [
        (f"{scheduler.schedule}: {task.name}", times_of(task), _next(task), _lock(task))
        for scheduler in found
        for task in scheduler.tasks
    ]
    if rows:
        console.print()
        console.print(table(("TASK INSIDE", "CRON", "NEXT", "LOCK"), rows))
    for scheduler in found:
        if not scheduler.tasks:
            console.print(f"{scheduler.schedule}: no task inside")
        for note in scheduler.notes:
            console.print(f"{scheduler.schedule}: {note}", colour="yellow")


def tasks_as_json(inside: Iterable[TasksInside]) -> dict[str, dict[str, Any]]:
    """Return tasks and notes by the address of their schedule."""
    return {
        scheduler.schedule: {
            "tasks": [to_builtins(task) for task in scheduler.tasks],
            "notes": list(scheduler.notes),
        }
        for scheduler in inside
    }


def times_of(task: Task) -> str:
    """Return when a task runs: its expression, and its seconds if it repeats within the minute."""
    return f"{task.expression} each {task.repeat_seconds}s" if task.repeat_seconds else task.expression


def _next(task: Task) -> str:
    moment = exact(task.next)
    return f"{moment:%Y-%m-%d %H:%M %z}" if moment else task.next or "-"


def _lock(task: Task) -> str:
    return "-" if task.locked is None else "taken" if task.locked else "free"
