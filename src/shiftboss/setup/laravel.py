"""What only Laravel itself can tell, or do: asked of artisan as the project's user, never as root."""

import re
import shlex
from collections.abc import Iterable

from msgspec import Struct

from shiftboss.core.errors import HostError
from shiftboss.core.facts import Finished, Running
from shiftboss.core.laravel_list import Task, read_list
from shiftboss.core.laravel_lock import GRACE_SECONDS, LockFacts, judge_lock
from shiftboss.core.laravel_text import lines_of
from shiftboss.core.laravel_version import (
    clear_command,
    has_json_list,
    interrupt_command,
    lists_repeats,
    tells_failures,
)
from shiftboss.core.lockfiles import read_composer_lock
from shiftboss.core.spec import Project, Schedule
from shiftboss.host.commands import TIMED_OUT
from shiftboss.host.machine import Machine
from shiftboss.setup.progress import Progress

_TIMEOUT_SECONDS = 10
_COMPOSER_LIMIT = 32 * 1024 * 1024
_PROVIDER_LIMIT = 1024 * 1024
# Lumen's own version says nothing of artisan: that is illuminate/console, which laravel/framework contains
_FRAMEWORKS = ("laravel/framework", "illuminate/console", "laravel/lumen-framework")
_RUN = "schedule:run"
_VERSION_TOLD = re.compile(r"Laravel Framework v?(\d{1,4}\.\d{1,4}[.\w-]{0,20})$")
_LONGEST_REASON = 200
_MOST_NAMED = 3
_CLASS = re.compile(r"\w+(?:\\\w+)+")


class TasksInside(Struct, frozen=True):
    """The tasks inside the scheduler of a project, and what is to be said about them (sentences)."""

    schedule: str
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()


def has_tasks_inside(schedule: Schedule) -> bool:
    """Tell whether a schedule is a Laravel scheduler, whose tasks have times of their own."""
    return schedule.policy.asks_inside and _RUN in schedule.argv


def scheduled_tasks(machine: Machine, project: Project) -> int | None:
    """Return how many tasks the scheduler of a Laravel project has, None if artisan does not tell."""
    php = machine.commands.find("php", project.path, project.account)
    if php is None:
        return None
    listed = _listed(machine, project, (php, "artisan"), framework_version(machine, project))
    return None if isinstance(listed, Finished) else len(listed)


def tasks_inside(machine: Machine, schedule: Schedule, progress: Progress) -> TasksInside:
    """Return the tasks inside a Laravel scheduler; raise HostError if artisan does not tell.

    Starts artisan once or twice, as the project's user. Where a lock of `withoutOverlapping` looks as if nobody held
    it, waits some seconds and looks again.
    """
    project, artisan = schedule.project, _artisan(schedule)
    version = framework_version(machine, project)
    before = machine.processes.running("artisan")
    listed = _listed(machine, project, artisan, version)
    if isinstance(listed, Finished):
        raise _does_not_tell(schedule, artisan, listed)
    stuck = _without_process(listed, (*before, *machine.processes.running("artisan")), project)
    if stuck:
        progress.waiting(f"looking again at the lock of {stuck[0].name}")
        stuck = _still_stuck(machine, project, artisan, version, stuck)
    notes = (
        *_about_locks(stuck, version, artisan, project),
        *_about_failures(machine, project, listed, version),
        *_about_spread(schedule, listed),
    )
    return TasksInside(schedule.address, listed, notes)


def repeats_inside(machine: Machine, schedule: Schedule) -> str:
    """Return why tasks inside a schedule repeat within its minute, or may for all that is known; "" if none does.

    Asks artisan, as the project's user, where the version of Laravel does not answer that.
    """
    project, unknown = schedule.project, "whether a task inside repeats within the minute is not known"
    if not has_tasks_inside(schedule):
        return unknown
    version = framework_version(machine, project) or _told_version(machine, schedule)
    is_listed = lists_repeats(version)
    if not is_listed:
        return "" if is_listed is None else f"{unknown} (Laravel {version or '?'})"
    listed = _listed(machine, project, _artisan(schedule), version)
    return f"{unknown}: {_reason(listed)}" if isinstance(listed, Finished) else _repeating(listed)


def _told_version(machine: Machine, schedule: Schedule) -> str | None:
    """Return the version of Laravel as artisan tells it: not every release has a composer.lock."""
    ended = _asked(machine, schedule.project, (*_artisan(schedule), "--version", "--no-ansi"))
    found = _VERSION_TOLD.match(ended.stdout.strip()) if ended.status == 0 else None
    return found[1] if found else None


def _repeating(tasks: Iterable[Task]) -> str:
    names = [task.name for task in tasks if task.repeat_seconds]
    return f"{', '.join(names[:_MOST_NAMED])} repeats within the minute" if names else ""


def interrupt(machine: Machine, schedule: Schedule) -> bool:
    """End the `schedule:run` that repeats tasks of an older release within this minute; False if there is no such command.

    Raises HostError if artisan could not do it.
    """
    project, artisan = schedule.project, _artisan(schedule)
    version = framework_version(machine, project)
    command = interrupt_command(version, artisan)
    if command is None:
        return False
    ended = _asked(machine, project, (*command, "--no-ansi"))
    if ended.status == 0:
        return True
    if "is not defined" in ended.stdout + ended.stderr:
        return False
    raise HostError(
        f"cannot interrupt {schedule.address}: {_reason(ended)}",
        hint=f"Run it as {project.account.name} in {project.current}: {shlex.join(command)}",
    )


def framework_version(machine: Machine, project: Project) -> str | None:
    """Return the version of Laravel in composer.lock of the live release, None if it does not say."""
    try:
        text = machine.files.read_as(
            project.account, f"{project.current}/composer.lock", limit=_COMPOSER_LIMIT
        )
    except HostError:
        return None
    packages, _ = read_composer_lock(text or "")
    return next((packages[name].version for name in _FRAMEWORKS if name in packages), None)


def _artisan(schedule: Schedule) -> tuple[str, ...]:
    return schedule.argv[: schedule.argv.index(_RUN)]


def _listed(
    machine: Machine, project: Project, artisan: tuple[str, ...], version: str | None
) -> tuple[Task, ...] | Finished:
    """Ask for the list as the version can give it; return how artisan ended if there is none."""
    ended = Finished(0)
    for option in ("--json", "-v") if has_json_list(version) else ("-v",):
        ended = _asked(machine, project, (*artisan, "schedule:list", "--no-ansi", option))
        tasks = read_list(ended.stdout) if ended.status == 0 else None
        if tasks is not None:
            return tasks
        if ended.status == TIMED_OUT:
            break
    return ended


def _asked(machine: Machine, project: Project, argv: tuple[str, ...]) -> Finished:
    return machine.commands.run(
        argv, account=project.account, directory=project.current, timeout=_TIMEOUT_SECONDS
    )


def _does_not_tell(schedule: Schedule, artisan: tuple[str, ...], ended: Finished) -> HostError:
    project = schedule.project
    return HostError(
        f"cannot list the tasks inside {schedule.address}: {_reason(ended)}",
        hint=f"Run it as {project.account.name} in {project.current}: {shlex.join(artisan)} schedule:list",
    )


def _reason(ended: Finished) -> str:
    if ended.status == TIMED_OUT:
        return f"artisan did not answer within {_TIMEOUT_SECONDS} s"
    said = [line.strip() for line in lines_of(ended.stderr or ended.stdout) if line.strip()]
    words = " ".join(said[:2])[:_LONGEST_REASON]
    return words or f"artisan ended with exit status {ended.status}"


def _without_process(tasks: Iterable[Task], seen: Iterable[Running], project: Project) -> list[Task]:
    """Return the tasks whose lock is taken and of which no process was seen."""
    own = [process for process in seen if process.uid in (project.account.uid, 0)]
    return [task for task in tasks if task.locked and not any(_is_of(process, task) for process in own)]


def _is_of(process: Running, task: Task) -> bool:
    """Tell whether a process may be one of a task: it has its words, or is the scheduler that a closure runs in."""
    if _CLASS.fullmatch(task.name) or task.name.startswith("Closure") or task.name == task.description:
        return any(word.startswith("schedule:") for word in process.argv)
    words = " ".join(process.argv).replace("'", "").replace('"', "")
    return task.name.rstrip("…").replace("'", "").replace('"', "") in words


def _still_stuck(
    machine: Machine, project: Project, artisan: tuple[str, ...], version: str | None, stuck: list[Task]
) -> list[Task]:
    began = machine.clock.monotonic()
    machine.clock.sleep(GRACE_SECONDS + 0.5)
    listed = _listed(machine, project, artisan, version)
    seen = machine.clock.monotonic() - began
    if isinstance(listed, Finished):
        return []
    names = {task.name for task in stuck}
    gone = _without_process(listed, machine.processes.running("artisan"), project)
    facts = LockFacts(locked=True, lives=False, seen_seconds=seen)
    return [task for task in gone if task.name in names and judge_lock(facts) == "stuck"]


def _about_locks(
    stuck: list[Task], version: str | None, artisan: tuple[str, ...], project: Project
) -> Iterable[str]:
    if not stuck:
        return
    names = ", ".join(task.name for task in stuck)
    yield (
        f"the lock of {names} (withoutOverlapping) is taken and no process on this server holds it: "
        "it does not run until the lock expires. If no other server runs it, free all locks as "
        f"{project.account.name} in {project.current}: {shlex.join(clear_command(version, artisan))}"
    )


def _about_failures(
    machine: Machine, project: Project, tasks: tuple[Task, ...], version: str | None
) -> Iterable[str]:
    if tasks and tells_failures(version) is False and not _has_lines_of_guide(machine, project):
        yield (
            f"Laravel {version} does not say by itself which task failed; "
            "some lines in the application mend that: docs/how-to/laravel.md"
        )


def _about_spread(schedule: Schedule, tasks: tuple[Task, ...]) -> Iterable[str]:
    if schedule.policy.spread and schedule.backend == "native" and (why := _repeating(tasks)):
        yield f"{why}, so it must not be spread: shiftboss apply {schedule.project.name} sees to that"


def _has_lines_of_guide(machine: Machine, project: Project) -> bool:
    path = f"{project.current}/app/Providers/AppServiceProvider.php"
    try:
        text = machine.files.read_as(project.account, path, limit=_PROVIDER_LIMIT)
    except HostError:
        return False
    return "failed with exit code [" in (text or "")
