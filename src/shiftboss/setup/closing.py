"""The last lines after a change: where the logs are, how to go on, and whether it all comes back after a boot."""

from collections.abc import Iterator

from shiftboss.backends.supervisor import supervisor_name
from shiftboss.core.spec import Schedule, Unit, Worker
from shiftboss.host.machine import Machine
from shiftboss.setup.change import Change

# systemd units and init scripts, as Debian and others call them; and what makes them start at boot
_SERVICES = {
    "supervisor": (("supervisor", "supervisord"), "systemctl enable supervisor"),
    "cron": (("cron", "crond", "cronie"), "systemctl enable cron"),
}


def closing_lines(machine: Machine, change: Change) -> tuple[str, ...]:
    """Return what a user wants to know after a change."""
    units = change.asked
    lines = [line for unit in units for line in _about(unit)]
    return (*lines, *_boot(machine, {unit.backend for unit in change.concerned}))


def _about(unit: Unit) -> Iterator[str]:
    yield f"log of {unit.address}: {unit.log_path}"
    if isinstance(unit, Worker):
        name = supervisor_name(unit.project.name, unit.name)
        target = f"'{name}:*'" if unit.processes > 1 else name
        yield f"also: supervisorctl status {target}; supervisorctl restart {target}"
    elif isinstance(unit, Schedule):
        yield f"its next runs: shiftboss next {unit.project.name}"


def _boot(machine: Machine, backends: set[str]) -> Iterator[str]:
    for backend in sorted(backends & _SERVICES.keys()):
        services, mend = _SERVICES[backend]
        if machine.boot.starts(services) is False:
            yield f"note: {backend} does not start at boot; to change that: {mend}"
