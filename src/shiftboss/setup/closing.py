"""The last lines after a change: where the logs are, how to go on, and whether it all comes back after a boot."""

from collections.abc import Iterator

from shiftboss.backends.logrotate import rotated_elsewhere
from shiftboss.backends.registry import BACKENDS
from shiftboss.backends.supervisor_names import supervisor_name
from shiftboss.core.spec import Schedule, Site, Unit, Worker
from shiftboss.host.machine import Machine
from shiftboss.setup.change import Change
from shiftboss.setup.doubles import SchedulerDoubles, runs_scheduler
from shiftboss.setup.due import next_runs
from shiftboss.setup.mail import mail_trouble

# systemd units and init scripts, as Debian and others call them; and what makes them start at boot
SERVICES = {
    "supervisor": (("supervisor", "supervisord"), "systemctl enable supervisor"),
    "cron": (("cron", "crond", "cronie"), "systemctl enable cron"),
    "native": (("shiftboss",), "shiftboss service install"),
}

_RUNS_SHOWN = 3


def closing_lines(machine: Machine, change: Change) -> tuple[str, ...]:
    """Return what a user wants to know after a change."""
    units = change.asked
    lines = [line for unit in units for line in _about(machine, unit)]
    for resolved in change.projects:
        if any(runs_scheduler(unit) for unit in units):
            doubled = SchedulerDoubles(machine, change.site).of(resolved.units)
            lines += [f"note: {text}" for text in doubled]
    lines += _rotated_twice(machine, change.site, units)
    lines += [
        f"note: {text}" for text in dict.fromkeys(mail_trouble(machine, unit) for unit in units) if text
    ]
    return (*lines, *_boot(machine, {unit.backend for unit in change.concerned}))


def _about(machine: Machine, unit: Unit) -> Iterator[str]:
    yield f"log of {unit.address}: {unit.log_path}"
    if isinstance(unit, Worker) and unit.backend == "supervisor":
        name = supervisor_name(unit.project.name, unit.name)
        target = f"'{name}:*'" if unit.processes > 1 else name
        yield f"also: supervisorctl status {target}; supervisorctl restart {target}"
    elif isinstance(unit, Schedule):
        runs = ", ".join(
            f"{moment:%a %Y-%m-%d %H:%M:%S}".removesuffix(":00")
            for moment in next_runs(unit, machine.clock, _RUNS_SHOWN)
        )
        yield f"its next runs: {runs or 'none'}; all of them: shiftboss next {unit.project.name}"


def _rotated_twice(machine: Machine, site: Site, units: tuple[Unit, ...]) -> list[str]:
    """Report files of others that rotate one of our logs: logrotate would drop one of the two."""
    ours = [unit.log_path for unit in units if BACKENDS["logrotate"].holds(unit)]
    if not ours or machine.files.stat(site.logrotate_dir) is None:
        return []
    return [
        f"note: {text}"
        for text in rotated_elsewhere(ours, machine.files.read_matching(site.logrotate_dir, "*"))
    ]


def _boot(machine: Machine, backends: set[str]) -> Iterator[str]:
    for backend in sorted(backends & SERVICES.keys()):
        services, mend = SERVICES[backend]
        if machine.boot.starts(services) is False:
            yield f"note: {backend} does not start at boot; to change that: {mend}"
