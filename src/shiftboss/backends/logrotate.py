"""Rotation of logs that several processes or runs append to: one logrotate file for each project.

Supervisor rotates the log of a worker with one process itself; several processes would rename it under each
other, and cron rotates nothing. `copytruncate` empties the file in place, so every open descriptor stays
good: what is written in the moment between copy and truncation is lost (logrotate(8)).

The bound is soft. logrotate runs once a day (logrotate.timer, or /etc/cron.daily), so a log may grow
beyond `max_bytes` until then; only then it is cut, and each of the `backups` old files is as large as the
log was at that moment. A shorter interval of logrotate.timer makes the bound tighter.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from shiftboss.backends.contract import Wanted
from shiftboss.backends.logs import log_directory, log_queries, path_facts
from shiftboss.backends.sealed_file import SealedFile, plan_sealed_file, sealed_file_queries
from shiftboss.core.errors import UserError
from shiftboss.core.facts import Answers, EngineAccount, FindEngineAccount, Query, StatPath
from shiftboss.core.managed import belongs_to, read_seal, seal
from shiftboss.core.plan import Override, Plan, merge
from shiftboss.core.spec import Schedule, Unit, Worker

_ROOT = 0
_BACKENDS = frozenset({"supervisor", "cron"})
# logrotate reads paths as words of a shell (popt) and then as glob patterns
_UNFIT = re.compile(r"""[\x00-\x1f\x7f"'\\*?\[\]{}~#]""")
_PATHS = re.compile(
    r"""^[ \t]*((?:"[^"\n]*"|'[^'\n]*'|/[^\s{]*)(?:\s+(?:"[^"\n]*"|'[^'\n]*'|/[^\s{]*))*)\s*\{""", re.M
)
_PATH = re.compile(r""""([^"\n]*)"|'([^'\n]*)'|(/[^\s{]*)""")

_EXPLANATION = """\
# A log is rotated when logrotate runs (once a day, see logrotate.timer) and it is larger than `size`;
# until then it may grow further, and an old file is as large as the log was when it was rotated.
"""


class LogrotateBackend:
    """The translator for logrotate. It runs nothing; it looks after the logs of units on other backends."""

    name = "logrotate"

    def holds(self, unit: Unit) -> bool:
        """Tell whether the log of a unit needs logrotate."""
        if unit.backend not in _BACKENDS or not unit.log.max_bytes:
            return False
        return isinstance(unit, Schedule) or unit.processes > 1

    def is_left_of(self, project: str, text: str) -> bool:
        """Tell whether a text is a file of ours for this project."""
        return belongs_to(text, project)

    def queries(self, wanted: Wanted) -> tuple[Query, ...]:
        """Name what `plan` must know: our file, its directory, the log directory."""
        ours = sealed_file_queries(_path(wanted))
        units = _units(self, wanted)
        if not units:
            return ours
        logs = tuple((unit.address, unit.log_path) for unit in units)
        return (*ours, StatPath(wanted.site.logrotate_dir), FindEngineAccount(), *log_queries(wanted, logs))

    def plan(self, wanted: Wanted, answers: Answers, override: Override) -> Plan:
        """Return the actions that make logrotate look after exactly the logs that need it.

        A server without logrotate, and a log directory in which it cannot safely work, give notes.
        Raises UserError for a log path that logrotate cannot be told.
        """
        units = _units(self, wanted)
        obstacle = _obstacle(wanted, units, answers) if units else ""
        rotator = _rotator(wanted, answers) if units else None
        text = _render(wanted, units, rotator) if units and not obstacle else None
        file = SealedFile(_path(wanted), wanted.project.name, text)
        notes = Plan(notes=(obstacle,) if obstacle else ())
        return merge((plan_sealed_file(file, wanted, answers, override), notes))


def rotated_elsewhere(log_paths: Iterable[str], files: Mapping[str, str]) -> tuple[str, ...]:
    """Return one note for each log that a logrotate file of somebody else (path to text) looks after too.

    logrotate takes only the first of the two and drops the whole other stanza ("duplicate log entry").
    """
    foreign = {path: tuple(_patterns(text)) for path, text in files.items() if read_seal(text) is None}
    return tuple(
        f"{path} rotates {log} too: logrotate would drop one of the two stanzas; remove the log from {path}"
        for log in log_paths
        for path, patterns in sorted(foreign.items())
        if any(_matches(log, pattern) for pattern in patterns)
    )


def _units(backend: LogrotateBackend, wanted: Wanted) -> tuple[Unit, ...]:
    return tuple(sorted((unit for unit in wanted.units if backend.holds(unit)), key=lambda unit: unit.name))


def _path(wanted: Wanted) -> str:
    return f"{wanted.site.logrotate_dir}/shiftboss-{wanted.project.name}"


def _obstacle(wanted: Wanted, units: tuple[Unit, ...], answers: Answers) -> str:
    """Return why nothing can rotate these logs here, an empty string if logrotate can."""
    names, account = ", ".join(unit.address for unit in units), wanted.project.account
    facts = path_facts(answers, wanted.site.logrotate_dir)
    grows = f"nothing rotates the log of {names}"
    if facts is None or facts.type != "directory":
        return f"{grows}: there is no directory {wanted.site.logrotate_dir} (apt install logrotate)"
    if not wanted.site.system and facts.uid != account.uid:
        return f"{grows}: {wanted.site.logrotate_dir} belongs to uid {facts.uid} (set logrotate.dir in config.toml)"
    logs = log_directory(wanted, answers)
    if _rotator(wanted, answers) is None:
        return f"{grows}: {logs.path} is neither root's nor {account.name}'s (chown root:{account.group} {logs.path})"
    return ""


def _rotator(wanted: Wanted, answers: Answers) -> str | None:
    """Return as whom logrotate must work: root where no other can plant links, else the project user; None: unknown.

    A project user who may write the directory can exchange what is in it under root's hands, so then nobody
    but that user may rotate there. Our own engine plants nothing, and logrotate follows no links.
    """
    project, logs, engine = wanted.project, log_directory(wanted, answers), answers[FindEngineAccount()]
    assert isinstance(engine, EngineAccount)
    if logs.facts is None:
        return "root"  # as `logs.prepare_logs` makes it
    if logs.project_may_write(project.account) or logs.project_may_replace(project.account):
        return project.account.name
    return "root" if logs.facts.uid in (_ROOT, engine.uid) else None


def _render(wanted: Wanted, units: tuple[Unit, ...], rotator: str | None) -> str:
    su = f"    su {rotator} {wanted.project.account.group}\n" if rotator and wanted.site.system else ""
    stanzas = "\n".join(_stanza(unit, su) for unit in units)
    return seal(f"{_EXPLANATION}\n{stanzas}", wanted.project.name, comment="#")


def _stanza(unit: Worker | Schedule, su: str) -> str:
    """Return the stanza of one log. Options that logrotate.conf may have set for all are set back."""
    if _UNFIT.search(unit.log_path):
        raise UserError(
            f"cannot rotate the log of {unit.address}: logrotate cannot be told the path {unit.log_path!r}",
            hint="Choose a log directory without quotes, backslashes, *, ?, ~, # and brackets.",
        )
    return f"""\
# {unit.address}
"{unit.log_path}" {{
{su}    size {unit.log.max_bytes}
    rotate {unit.log.backups}
    copytruncate
    missingok
    notifempty
    nocompress
    nodateext
    noolddir
}}
"""


def _patterns(text: str) -> Iterator[str]:
    for stanza in _PATHS.finditer(text):
        for found in _PATH.finditer(stanza[1]):
            yield found[1] or found[2] or found[3]


def _matches(path: str, pattern: str) -> bool:
    """Tell whether a glob means a path; `*` stops at a slash."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
