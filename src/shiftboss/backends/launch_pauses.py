"""Which schedules of a project on cron are paused: a file beside their orders, which the launcher reads at each run.

It is root's alone, as they are, and no part of them: a pause outlives what `apply` writes.
"""

from collections.abc import Iterable, Mapping

from shiftboss.backends.contract import Wanted
from shiftboss.backends.launch_places import paused_path
from shiftboss.backends.paused_file import paused_text, read_paused
from shiftboss.core.facts import Answers, ReadFile
from shiftboss.core.isolation import needs_launcher
from shiftboss.core.plan import Plan, RemoveFile, WriteFile

PAUSED_MODE = 0o600


def pauses_query(wanted: Wanted) -> ReadFile:
    """Name what `plan_pauses` must know."""
    return ReadFile(paused_path(wanted.site, wanted.project.name))


def plan_pauses(wanted: Wanted, answers: Answers) -> Plan:
    """Return what forgets the pauses of schedules that the launcher does not start any more."""
    path, before = pauses_query(wanted).path, answers[pauses_query(wanted)]
    assert before is None or isinstance(before, str)
    paused = read_paused(before, path)
    kept = {name: who for name, who in paused.items() if name in _launched(wanted)}
    if before is None or kept == paused:
        return Plan()
    return Plan(actions=(changed(wanted.project.name, path, before, kept),))


def changed(project: str, path: str, before: str | None, paused: Mapping[str, str]) -> WriteFile | RemoveFile:
    """Return the action after which just these schedules are paused; without any there is no file."""
    if not paused:
        return RemoveFile(project, path, before or "")
    return WriteFile(project, path, paused_text(project, paused), before, PAUSED_MODE)


def _launched(wanted: Wanted) -> Iterable[str]:
    return {unit.name for unit in wanted.units if needs_launcher(unit)}
