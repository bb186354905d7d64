"""What only Laravel itself can tell: asked of artisan as the project's user, never as root."""

import re

from shiftboss.core.spec import Project
from shiftboss.host.machine import Machine

_TIMEOUT_SECONDS = 10
# each line of schedule:list has one cron expression: at its beginning, or (before Laravel 9) between bars
_TASK = re.compile(r"^(?:[^\n]*\|)?[ \t]*(?:[-*/,\d]+[ \t]+){4}[-*/,\dA-Z]+[ \t]", re.MULTILINE)


def scheduled_tasks(machine: Machine, project: Project) -> int | None:
    """Return how many tasks the scheduler of a Laravel project has, None if artisan does not tell."""
    php = machine.commands.find("php", project.path, project.account)
    if php is None:
        return None
    argv = (php, "artisan", "schedule:list", "--no-ansi")
    ended = machine.commands.run(
        argv, account=project.account, directory=project.current, timeout=_TIMEOUT_SECONDS
    )
    return len(_TASK.findall(ended.stdout)) if ended.status == 0 else None
