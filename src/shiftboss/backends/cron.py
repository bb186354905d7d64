"""Schedules on a real cron: one file for each project in cron.d, and the logs of its jobs.

What Debian's cron would take and then never run, or run otherwise than it reads, is refused before it is
written. Crontabs of users and files of others are never touched.
"""

import re
from collections.abc import Iterable, Mapping

from shiftboss.backends.contract import Wanted
from shiftboss.backends.cron_duplicates import duplicates
from shiftboss.backends.cron_line import crontab_path, render_crontab
from shiftboss.backends.launch_orders import Launch, is_orders, orders_queries, plan_orders
from shiftboss.backends.launch_pauses import pauses_query, plan_pauses
from shiftboss.backends.launch_places import spool_directory
from shiftboss.backends.logs import LogPaths, log_queries, path_facts, prepare_logs
from shiftboss.backends.sealed_file import SealedFile, plan_sealed_file, sealed_file_queries
from shiftboss.core.cron_lint import Finding, lint
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.facts import Answers, Query, ReadFile, StatPath
from shiftboss.core.isolation import refuse_bounds
from shiftboss.core.managed import belongs_to
from shiftboss.core.plan import Override, Plan, merge
from shiftboss.core.spec import Project, Schedule, Site, Unit

__all__ = ["DIALECT", "CronBackend", "duplicates"]

DIALECT = "debian"
# cron of Debian reads crontabs in the zone of the server and knows no other (crontab(5), LIMITATIONS)
_ZONE_FILE = "/etc/timezone"
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"})
_MODE, _SECRET_MODE = 0o644, 0o600
_NATIVE_HINT = 'Run it on the native backend (backend = "native"), which can do that.'
# what decides whether and when a schedule runs is refused, what watches over its runs is named
_CANNOT = {
    "dst": "has rules of its own for clock changes",
    "only_if": "asks nothing before it starts a command",
    "catch_up": "forgets the times at which the server was down",
    "starting_deadline": "never starts late, and never makes up for a time",
    "jitter": "starts everything at second 0",
    "spread": "starts everything at second 0",
    "retries": "does not look at exit statuses",
}
_UNWATCHED = {
    "overlap": "starts a run whether the one before has ended or not",
    "timeout": "lets a run live for ever",
    "stop_wait": "stops no run",
}
_UNHEEDED = {
    "retry_delay": "tries nothing again",
    "expect_within": "tells nobody that a run takes long",
}
_SIX_FIELDS = re.compile(r"\s*[^\s@]\S*(\s+\S+){5}\s*")


class CronBackend:
    """The translator for Debian's cron and its kin."""

    name = "cron"

    def holds(self, unit: Unit) -> bool:
        """Tell whether a unit belongs here."""
        return isinstance(unit, Schedule) and unit.backend == self.name

    def is_left_of(self, project: str, text: str) -> bool:
        """Tell whether a text is a file of ours for this project."""
        return belongs_to(text, project) or is_orders(text)

    def queries(self, wanted: Wanted) -> tuple[Query, ...]:
        """Name what `plan` must know: our file, and with schedules also the directories, logs and time zone."""
        file = sealed_file_queries(crontab_path(wanted.site, wanted.project.name))
        ours = (*file, *orders_queries(wanted, self.name), pauses_query(wanted))
        schedules = _schedules(wanted)
        if not schedules:
            return ours
        return (
            *ours,
            StatPath(wanted.site.cron_dir),
            ReadFile(_ZONE_FILE),
            *log_queries(wanted, _log_paths(schedules)),
        )

    def plan(self, wanted: Wanted, answers: Answers, override: Override) -> Plan:
        """Return the actions that make cron run exactly the wanted schedules of this project.

        Raises UserError for a schedule that cron cannot hold or would not run as it reads, and HostError on
        a server without cron.
        """
        schedules = _schedules(wanted)
        logs, notes = Plan(), Plan()
        orders, launches = plan_orders(wanted, self.name, answers)
        if schedules:
            _require_cron(wanted, answers)
            notes = Plan(notes=tuple(note for schedule in schedules for note in _examine(schedule, answers)))
            logs = prepare_logs(wanted, _log_paths(schedules), answers)
        file = plan_sealed_file(_file(wanted, schedules, launches), wanted, answers, override)
        return merge((logs, orders, plan_pauses(wanted, answers), file, notes))


def _file(wanted: Wanted, schedules: tuple[Schedule, ...], launches: Mapping[str, Launch]) -> SealedFile:
    project = wanted.project
    commands = {address: run_command(wanted.site, launch.command) for address, launch in launches.items()}
    text = render_crontab(project, schedules, commands) if schedules else None
    return SealedFile(crontab_path(wanted.site, project.name), project.name, text, _mode(project, schedules))


def run_command(site: Site, launch: tuple[str, ...], who: str = "") -> tuple[str, ...]:
    """Return the command of a line that calls the launcher, up to the schedule's address; `who`: who runs it by hand."""
    return (*launch, "--run", spool_directory(site), *(("--asked", who) if who else ()))


def _mode(project: Project, schedules: Iterable[Schedule]) -> int:
    """Hide a file with variables of the user: they may be secrets, and other projects live here."""
    has_variables = bool(project.environment) and any(schedule.plain for schedule in schedules)
    return _SECRET_MODE if has_variables else _MODE


def _schedules(wanted: Wanted) -> tuple[Schedule, ...]:
    return tuple(unit for unit in wanted.units if isinstance(unit, Schedule))


def _log_paths(schedules: Iterable[Schedule]) -> LogPaths:
    return tuple((schedule.address, schedule.log_path) for schedule in schedules)


def _require_cron(wanted: Wanted, answers: Answers) -> None:
    names = ", ".join(schedule.address for schedule in _schedules(wanted))
    if not wanted.site.system:
        raise UserError(
            f"cannot schedule {names} on cron: files in {wanted.site.cron_dir} are root's",
            hint='Run the command as root (sudo), or run schedules on the native backend (schedules = "native").',
        )
    found = path_facts(answers, wanted.site.cron_dir)
    if found is None or found.type != "directory":
        raise HostError(
            f"cannot schedule {names} on cron: there is no directory {wanted.site.cron_dir}",
            hint="Install cron (apt install cron), or set cron.dir in config.toml.",
        )


def _examine(schedule: Schedule, answers: Answers) -> tuple[str, ...]:
    """Return what the user should know of a schedule; raise UserError if cron would not run it as it reads."""
    if schedule.plain:
        refuse_bounds(schedule)
    _refuse_times(schedule)
    findings = lint(schedule.cron, DIALECT)
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        raise _refusal(schedule, fatal)
    _refuse_zone(schedule, answers)
    if schedule.environment and schedule.plain:
        raise UserError(
            f"cannot put the environment of {schedule.address} into a crontab: a variable there holds for all lines below it",
            hint="Set it for the whole project ([project.environment]), or remove plain = true.",
        )
    notes = [finding.message for finding in findings] + _unwatched(schedule)
    return tuple(f"{schedule.address}: {note}" for note in notes)


def _refuse_times(schedule: Schedule) -> None:
    """Raise UserError for wishes that would change whether or when cron starts it."""
    if schedule.every or schedule.after:
        what = f'after "{schedule.after}"' if schedule.after else schedule.times
        raise UserError(
            f"cannot schedule {schedule.address} {what} on cron: it knows only times of the clock",
            hint=f"Write the times as cron = …, or keep it as it is: {_NATIVE_HINT[0].lower()}{_NATIVE_HINT[1:]}",
        )
    for key in schedule.asked:
        if key in _CANNOT and not _is_default(schedule, key):
            raise UserError(
                f"cannot respect {key} of {schedule.address}: cron {_CANNOT[key]}",
                hint=f"Remove {key}, or keep it: {_NATIVE_HINT[0].lower()}{_NATIVE_HINT[1:]}",
            )


def _is_default(schedule: Schedule, key: str) -> bool:
    """Tell whether the key asks for what cron does anyway."""
    policy = schedule.policy
    values = {
        "dst": schedule.dst,
        "catch_up": policy.catch_up,
        "retries": policy.retries,
        "spread": policy.spread,
    }
    wanted = {"dst": "debian", "catch_up": "none", "retries": 0, "spread": False}
    return key in wanted and values[key] == wanted[key]


def _unwatched(schedule: Schedule) -> list[str]:
    """Return what was asked for and is not done, though cron starts the runs."""
    ignored = _UNHEEDED | (_UNWATCHED if schedule.plain else {})
    asked = [key for key in schedule.asked if key in ignored]
    if schedule.policy.overlap == "allow":
        asked = [key for key in asked if key != "overlap"]
    what = "a plain line of cron" if schedule.plain else "cron"
    return [f"{key} has no effect on {what}, which {ignored[key]}" for key in asked]


def _refusal(schedule: Schedule, fatal: list[Finding]) -> UserError:
    reasons = "; ".join(finding.message for finding in fatal)
    if _SIX_FIELDS.fullmatch(schedule.cron):
        hint = f"Cron starts jobs on full minutes. {_NATIVE_HINT}"
    else:
        hint = (
            f"See what cron makes of it: shiftboss explain --dialect {DIALECT} '{schedule.cron.strip()[:80]}'"
        )
    return UserError(f"cannot schedule {schedule.address} at {schedule.cron[:80]!r}: {reasons}", hint=hint)


def _refuse_zone(schedule: Schedule, answers: Answers) -> None:
    text = answers[ReadFile(_ZONE_FILE)]
    server = text.strip() if isinstance(text, str) else ""
    if not schedule.timezone or _zone(schedule.timezone) == _zone(server):
        return
    raise UserError(
        f"cannot schedule {schedule.address} in {schedule.timezone}: cron has only the time zone of the server"
        f" ({server or 'unknown'})",
        hint=f"Write the times in the server's zone and remove timezone. {_NATIVE_HINT}",
    )


def _zone(name: str) -> str:
    return "UTC" if name in _UTC_NAMES else name
