"""Which backend a server's units run on: what is configured, else what is found, and then it stays so."""

from shiftboss.core.errors import HostError
from shiftboss.core.spec import Site, SupervisorSite, UnitKind
from shiftboss.host.machine import Machine


def choose_backend(machine: Machine, site: Site, kind: UnitKind) -> str:
    """Return the backend for units of this kind that name none themselves.

    What config.toml says; else Supervisor for workers and cron for schedules if the server has them, and our own
    engine where nothing is installed or where we are not root. Raises HostError if a Supervisor that is named is not
    there.
    """
    configured = site.worker_backend if kind == "worker" else site.schedule_backend
    if configured:
        return configured
    return _found_for_workers(machine, site) if kind == "worker" else _found_for_schedules(machine, site)


def _found_for_workers(machine: Machine, site: Site) -> str:
    if not site.system and site.supervisor == SupervisorSite():
        return "native"
    try:
        machine.supervisors.locate(site.supervisor)
    except HostError:
        if site.supervisor != SupervisorSite():  # one was named: that it is not there must be said
            raise
        return "native"
    return "supervisor"


def _found_for_schedules(machine: Machine, site: Site) -> str:
    return "cron" if site.system and machine.files.stat(site.cron_dir) is not None else "native"
