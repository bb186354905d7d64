"""The tasks inside a Laravel scheduler, from what `php artisan schedule:list` prints in Laravel 8 to 13.

From laravel/framework's Console/Scheduling/ScheduleListCommand.php:

- 8.19 to 9.4: a table of Symfony's console, with the raw expression of each task and its next time in the
  application's zone; 9.4 has a column that says whether its `withoutOverlapping` lock is taken;
- 9.5 to 11.49: one line for each task, `EXPRESSION  COMMAND .... Has Mutex > Next Due: …`; 10.16 has its seconds in
  between, `-v` writes the next time in full and a second line with the description;
- since 11.50: `--json`. Since 11.51 expressions are turned into the zone of the list, so one task may be several rows.

No version tells `withoutOverlapping` or `runInBackground` as such, only whether the lock is taken now.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.laravel_text import LONGEST_TEXT, lines_of, task_name

_MOST_TASKS = 1000
_LONGEST_ZONE, _LONGEST_DUE = 64, 80
_LONGEST_REPEAT = 60
_MOST_COLUMNS = 10
_CALLBACK, _CLOSURE = "Callback", "Closure at:"

_FIELD = r"[-*/,\dA-Za-z#?]{1,100}"
_EXPRESSION = rf"(?:{_FIELD}(?: +{_FIELD}){{4}}|@[a-z]{{3,10}})"
_LINE = re.compile(rf" *(?P<expression>{_EXPRESSION}) +(?:(?P<repeat>\d{{1,2}})s +)?(?P<command>.*)")
_DUE, _MUTEX = "Next Due: ", re.compile(r"Has Mutex \W$")
_DESCRIPTION = re.compile(r" +⇁ (.+)")
_BORDER = re.compile(r"\+(?:-+\+)+")
_HEADINGS = {"command": "command", "interval": "expression", "description": "description", "next due": "due"}
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?: ([+-]\d\d:\d\d))?(?: .*)?")


class Task(Struct, frozen=True):
    """A task inside the scheduler of a Laravel project, as artisan lists it. None: this version does not tell.

    `name` is what a run calls it (see `laravel_text.task_name`), `description` may be empty. `next` is ISO 8601
    with offset, or the words of artisan (`3 hours from now`). `timezone` is that of the list, which is not
    always the one that the task was given. `repeat_seconds`: it repeats within its minute. `locked`: the lock of
    its `withoutOverlapping` is taken. `environments`: it runs only in these.
    """

    name: str
    expression: str
    description: str = ""
    next: str | None = None
    timezone: str | None = None
    repeat_seconds: int | None = None
    locked: bool | None = None
    environments: tuple[str, ...] = ()


class _Row(Struct):
    """A row of `--json`; what is missing or of another type makes the row none."""

    expression: str
    command: str | None = None
    description: str | None = None
    next_due_date: str | None = None
    timezone: str | None = None
    has_mutex: bool | None = None
    repeat_seconds: int | None = None
    environments: list[str] = []


def read_list(text: str) -> tuple[Task, ...] | None:
    """Return the tasks in an output of `schedule:list`, in its order (at most 1000); None if it is no list.

    Warnings that PHP printed before it do not matter. Any text will do.
    """
    from_json = _from_json(text)
    if from_json is not None:
        return from_json
    lines = lines_of(text)
    tasks = tuple(_from_table(lines)) or tuple(_from_lines(lines))
    if tasks or _is_empty(lines):
        return tasks[:_MOST_TASKS]
    return None


def tasks_due(tasks: Iterable[Task]) -> list[tuple[datetime, Task]]:
    """Return the tasks whose next time is known exactly, the nearest first."""
    timed = [(moment, task) for task in tasks if (moment := exact(task.next)) is not None]
    return sorted(timed, key=lambda pair: (pair[0], pair[1].name))


def exact(moment: str | None) -> datetime | None:
    """Return a next time with date and offset, None for mere words."""
    try:
        found = datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _is_empty(lines: Iterable[str]) -> bool:
    return any("No scheduled tasks have been defined" in line for line in lines) or bool(
        _columns(list(lines))
    )


def _from_json(text: str) -> tuple[Task, ...] | None:
    """Read the array that is the last line; PHP may have printed something before it."""
    line = text[-LONGEST_TEXT * 4 :].rstrip().rpartition("\n")[2].strip()
    if not line.startswith("["):
        return None
    try:
        rows = msgspec.json.decode(line, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return tuple(task for raw in rows[:_MOST_TASKS] if (task := _task_of(raw)) is not None)


def _task_of(raw: msgspec.Raw) -> Task | None:
    try:
        row = msgspec.json.decode(raw, type=_Row)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return Task(
        name=_name(row.command or "", row.description or ""),
        expression=task_name(row.expression),
        description=task_name(row.description or ""),
        next=_moment(row.next_due_date or ""),
        timezone=task_name(row.timezone or "")[:_LONGEST_ZONE] or None,
        repeat_seconds=_repeat(row.repeat_seconds),
        locked=row.has_mutex,
        environments=tuple(task_name(name) for name in row.environments[:20]),
    )


def _from_lines(lines: Iterable[str]) -> Iterator[Task]:
    """Read the lines of 9.5 and later."""
    task: Task | None = None
    for line in lines:
        if (found := _of_line(line)) is not None:
            if task:
                yield task
            task = found
        elif task and (described := _DESCRIPTION.fullmatch(line)) is not None:
            name = _name(task.name, described[1]) if task.name.startswith(_CLOSURE) else task.name
            task = replace(task, name=name, description=task_name(described[1]))
    if task:
        yield task


def _of_line(line: str) -> Task | None:
    """Read one line from both ends: only its middle may hold anything."""
    head, mark, due = line.rpartition(_DUE)
    rest = _MUTEX.sub("", head.rstrip())
    found = _LINE.match(rest)
    if not mark or found is None:
        return None
    return Task(
        name=_name(found["command"].rstrip(" ."), ""),
        expression=" ".join(found["expression"].split()),
        next=_moment(due),
        repeat_seconds=_repeat(int(found["repeat"])) if found["repeat"] else None,
        locked=rest != head.rstrip(),
    )


def _from_table(lines: list[str]) -> Iterator[Task]:
    """Read the table of 8.19 to 9.4 by the places of its borders: a command may have bars of its own."""
    columns = _columns(lines)
    for row in _rows(lines, columns) if columns else ():
        if re.fullmatch(_EXPRESSION, " ".join(row.get("expression", "").split())):
            yield _of_row(row)


def _of_row(row: dict[str, str]) -> Task:
    mutex = row.get("has mutex")
    return Task(
        name=_name(row.get("command", ""), row.get("description", "")),
        expression=" ".join(row["expression"].split()),
        description=task_name(row.get("description", "")),
        next=_moment(row.get("due", "")),
        locked=None if mutex is None else mutex == "Yes",
    )


Columns = dict[str, tuple[int, int]]


def _columns(lines: list[str]) -> Columns:
    """Return the name of each column and where it begins and ends; empty if there is no such table."""
    for border, heading in pairwise(lines):
        if _BORDER.fullmatch(border) and heading.startswith("|"):
            marks = [place for place, mark in enumerate(border) if mark == "+"]
            names = [heading[a + 1 : b].strip().lower() for a, b in pairwise(marks)]
            if "interval" in names and len(names) <= _MOST_COLUMNS:
                spans = pairwise(marks)
                return {_HEADINGS.get(name, name): span for name, span in zip(names, spans, strict=True)}
    return {}


def _rows(lines: list[str], columns: Columns) -> Iterator[dict[str, str]]:
    """Yield the rows; what a command with line breaks continues on the next line is left out."""
    ends = [end for _, end in columns.values()]
    for line in lines:
        if line.startswith("|") and all(line[end : end + 1] == "|" for end in ends):
            yield {name: line[start + 1 : end].strip() for name, (start, end) in columns.items()}
        elif line.startswith("|"):  # wide characters move the bars: only cells without bars are told apart
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if len(cells) == len(columns):
                yield dict(zip(columns, cells, strict=True))


def _name(command: str, description: str) -> str:
    """Return what a run calls the task: a closure is called by its description, if it has one."""
    if command.startswith(_CLOSURE):
        return task_name(description) or task_name(command)
    return task_name(command) or task_name(description) or _CALLBACK


def _repeat(seconds: int | None) -> int | None:
    return seconds if seconds is not None and 0 < seconds < _LONGEST_REPEAT else None


def _moment(text: str) -> str | None:
    """Return `2024-01-01 00:00:00 +00:00` as ISO 8601, other words as they are, None for nothing."""
    words = task_name(text)[:_LONGEST_DUE]
    found = _MOMENT.fullmatch(words)
    if found is None or found[3] is None:
        return words or None
    moment = f"{found[1]}T{found[2]}{found[3]}"
    return moment if exact(moment) else words
