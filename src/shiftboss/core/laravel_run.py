"""What one `php artisan schedule:run` says of the tasks that it ran, in the words of Laravel 8 to 13.

It ends with exit status 0 even when a task failed. Texts, from laravel/framework's
Console/Scheduling/ScheduleRunCommand.php and Console/View/Components/Task.php:

- before 9.21 (`[2024-01-01T00:00:00+00:00] Running scheduled command: …`): a line at the start of each task, and
  nothing about its end, whatever became of it;
- since 9.21 (`  2024-01-01 00:00:00 Running ['artisan' app:x] ..... 35ms DONE`, or FAIL): the time and the result
  are written when the task has ended, so a task's own output may stand in between; a line with the full command
  follows. A task in background is DONE when it was started;
- since 12.4 it says DONE whatever happened: the command returns a boolean and Task.php compares it with the numbers
  of TaskResult (seen on 12.67, the same in 13);
- since 12.11 the exception handler is told (`Scheduled command […] failed with exit code […].`), which is on the
  output where the log channel is stderr. The lines in our documentation for versions that do not tell are the same.

`laravel_version.tells_failures` says which versions tell by themselves.
"""

import re
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.laravel_text import is_background, lines_of, task_name

TaskOutcome = Literal["done", "failed", "skipped", "untold"]
"""`skipped`: another server had run it already. `untold`: it was started, and its end is not in the text."""

_MOST_RUNS = 500
_NAMES_SHOWN = 5
_CALLBACK = "Callback"  # what Laravel calls a closure without a name

_STARTED_BEFORE_9 = re.compile(r"\[\d{4}-\d\d-\d\dT[\d:]{8}\S{1,6}\] Running scheduled command: (.+)")
_STARTED = re.compile(r"\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Running \[(?P<rest>.*)")
# `12.34ms` or, from a second on, Carbon's words in the application's language
_ENDED = re.compile(r"(?P<before>.*?)(?:\.| |^) (?P<time>\d[^\n]{0,40}) (?P<result>DONE|FAIL|SKIPPED)")
_WHOLE = re.compile(r"(?P<name>.*)\](?P<background> in background)?[ .]*")
_BEGUN = re.compile(r"(?P<name>.*?)\](?P<background> in background)?(?= |$)")
_TOLD = re.compile(
    r"Scheduled command \[(?P<name>.{0,2000}?)\] failed with exit code \[(?P<code>-?\d{1,9})\]"
)
_SKIPPED = re.compile(
    r"(?:\s*Skipping command \(has already run on another server\): (?P<old>.+)"
    r"|\s*INFO\s+Skipping \[(?P<new>.+)\](?:, as command| because the command).*)"
)
_IDLE = re.compile(r"\s*(?:INFO\s+)?No scheduled commands are ready to run\.?")
_RESULTS: dict[str, TaskOutcome] = {"DONE": "done", "FAIL": "failed", "SKIPPED": "skipped"}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = re.compile(r"([\d.,]+) ?(ms|s|m|h|d)(?![a-z])")


class TaskRun(Struct, frozen=True):
    """One start of a task; `exit_code` and `seconds` are None where the text does not tell."""

    name: str
    outcome: TaskOutcome
    background: bool = False
    seconds: float | None = None
    exit_code: int | None = None


class SchedulerRun(Struct, frozen=True):
    """What one `schedule:run` did; `idle`: it said that no task was due."""

    tasks: tuple[TaskRun, ...] = ()
    idle: bool = False

    @property
    def failed(self) -> tuple[TaskRun, ...]:
        """The tasks that failed, each name once."""
        return tuple({task.name: task for task in self.tasks if task.outcome == "failed"}.values())


class Verdict(Struct, frozen=True):
    """What a run of the scheduler came to: `ok` only if it and every task in it that tells did well.

    `failed` names the tasks, `words` say it in a sentence part ("" if none failed): `task app:mail failed (exit
    code 3)`. `told` is False where tasks ran and nothing in the text says how any of them ended.
    """

    ok: bool
    failed: tuple[str, ...] = ()
    words: str = ""
    told: bool = True


def judge_run(text: str, exit_status: int | None) -> Verdict:
    """Return what a run of the scheduler came to, from (the end of) its output and its exit status.

    `exit_status` is None where it was killed or is unknown, which is never ok. Any text will do, only its last
    256 Ki characters are looked at.
    """
    run = read_run(text)
    failed = run.failed
    told = not run.tasks or any(task.outcome != "untold" for task in run.tasks)
    return Verdict(
        ok=exit_status == 0 and not failed,
        failed=tuple(task.name for task in failed),
        words=_words(failed),
        told=told,
    )


def read_run(text: str) -> SchedulerRun:
    """Return the tasks that an output of `schedule:run` speaks of, in the order of their starts (at most 500)."""
    reader = _Reader()
    for line in lines_of(text):
        reader.read(line)
    reader.close()
    return SchedulerRun(tuple(reader.tasks), reader.idle and not reader.tasks)


class _Reader:
    """Reads line after line; at most one task is open: schedule:run waits for each."""

    def __init__(self) -> None:
        self.tasks: list[TaskRun] = []
        self.idle = False
        self._open: TaskRun | None = None

    def read(self, line: str) -> None:
        if (told := _TOLD.search(line)) is not None:
            self._fail(told)
        if (started := _STARTED.fullmatch(line)) is not None:
            self.close()
            self._begin(started["rest"])
        elif (before_9 := _STARTED_BEFORE_9.fullmatch(line)) is not None:
            self.close()
            self._add(TaskRun(task_name(before_9[1]), "untold", is_background(before_9[1])))
        elif (skipped := _SKIPPED.fullmatch(line)) is not None:
            self._add(TaskRun(task_name(skipped["old"] or skipped["new"]), "skipped"))
        elif _IDLE.fullmatch(line):
            self.idle = True
        elif self._open is not None and (ended := _ENDED.fullmatch(line)) is not None:
            self._end(ended)

    def close(self) -> None:
        """A task whose end was not seen: it was cut off, or never ended."""
        if self._open is not None:
            self._add(self._open)
        self._open = None

    def _begin(self, rest: str) -> None:
        ended = _ENDED.fullmatch(rest)
        whole = _WHOLE.fullmatch(ended["before"]) if ended else None
        named = whole or _BEGUN.match(rest)
        name = named["name"] if named else rest
        self._open = TaskRun(task_name(name), "untold", bool(named and named["background"]))
        if ended:
            self._end(ended)

    def _end(self, ended: re.Match[str]) -> None:
        assert self._open is not None
        # what the exception handler said holds: DONE is also said of failures
        failed = self._open.outcome == "failed"
        outcome = "failed" if failed else _RESULTS[ended["result"]]
        self._open = replace(self._open, outcome=outcome, seconds=_seconds(ended["time"]))
        self.close()

    def _add(self, task: TaskRun) -> None:
        if len(self.tasks) < _MOST_RUNS:
            self.tasks.append(task)

    def _fail(self, told: re.Match[str]) -> None:
        """Take over what is said of a failure: of the open task, of one that ran before, or of one that nothing else tells of."""
        name, code = task_name(told["name"]), int(told["code"])
        if self._open is not None and name in ("", self._open.name):  # a closure has no command
            self._open = replace(self._open, outcome="failed", exit_code=code)
            return
        for number in range(len(self.tasks) - 1, -1, -1):
            task = self.tasks[number]
            if task.name == name:
                self.tasks[number] = replace(task, outcome="failed", exit_code=code)
                return
        self._add(TaskRun(name or _CALLBACK, "failed", exit_code=code))


def _seconds(time: str) -> float | None:
    """Return the seconds of `1,234.5ms` or `1m 5s`; None for words of another language."""
    amounts = _AMOUNT.findall(time)
    try:
        return (
            round(sum(float(n.replace(",", "")) * _UNITS[unit] for n, unit in amounts), 6)
            if amounts
            else None
        )
    except ValueError:
        return None


def _words(failed: Iterable[TaskRun]) -> str:
    shown = [_failure(task) for task in failed]
    if not shown:
        return ""
    more = f" and {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return f"{'task' if len(shown) == 1 else f'{len(shown)} tasks'} failed inside: {', '.join(shown[:_NAMES_SHOWN])}{more}"


def _failure(task: TaskRun) -> str:
    return task.name if task.exit_code is None else f"{task.name} (exit code {task.exit_code})"
