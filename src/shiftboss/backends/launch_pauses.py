"""Which schedules of a project on cron are paused: a file beside their orders, which the launcher reads at each run.

It is root's alone, as they are, and no part of them: a pause outlives what `apply` writes.
"""

from collections.abc import Iterable, Mapping

import msgspec

from shiftboss.backends.contract import Wanted
from shiftboss.backends.launch_orders import orders_directory
from shiftboss.core.errors import UserError
from shiftboss.core.facts import Answers, ReadFile
from shiftboss.core.isolation import needs_launcher
from shiftboss.core.plan import Plan, RemoveFile, WriteFile
from shiftboss.core.spec import Site

PAUSED_MODE = 0o600
_VERSION = 1


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    project: str
    paused: dict[str, str]


def paused_path(site: Site, project: str) -> str:
    """Return where it is written which schedules of a project are paused."""
    return f"{orders_directory(site, 'cron')}/{project}.paused"


def paused_text(project: str, paused: Mapping[str, str]) -> str:
    """Return the text that says by whom schedules are paused, by their names."""
    made = _File(_VERSION, project, dict(sorted(paused.items())))
    return msgspec.json.encode(made).decode() + "\n"


def read_paused(text: str | None, path: str) -> dict[str, str]:
    """Return by whom schedules are paused, by their names; raise UserError for a text that does not say."""
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=_File).paused
    except msgspec.MsgspecError as error:
        raise UserError(
            f"cannot tell which schedules are paused: {path}: {error}",
            hint="Nothing of it runs until that is mended: remove the file, and pause again what shall be paused.",
        ) from error


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
