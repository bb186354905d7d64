"""This machine: all ports together, as the use cases take them."""

from msgspec import Struct

from shiftboss.core.spec import SupervisorSite
from shiftboss.host import ports


class Machine(Struct, frozen=True):
    """Every port. `real_machine` makes the one we run on, `host/fake.py` one in memory."""

    files: ports.Files
    accounts: ports.Accounts
    clock: ports.Clock
    commands: ports.Commands
    processes: ports.Processes
    supervisors: ports.Supervisors
    engines: ports.Engines
    cron: ports.CronDaemon
    boot: ports.Boot


class RealSupervisors:
    """Imports the XML-RPC client only when a Supervisor is really asked."""

    def locate(self, site: SupervisorSite) -> SupervisorSite:
        from shiftboss.host.supervisord import locate

        return locate(site)

    def connect(self, site: SupervisorSite) -> ports.Supervisor:
        from shiftboss.host.supervisord import Supervisord

        return Supervisord(site)


class RealEngines:
    """Imports the client of the api only when an engine is really asked."""

    def connect(self, socket: str) -> ports.Engine:
        from shiftboss.host.native_engine import NativeEngine

        return NativeEngine(socket)


def real_machine() -> Machine:
    """Return the machine we run on. Cheap: nothing is read yet."""
    from shiftboss.host.accounts import RealAccounts
    from shiftboss.host.clock import RealClock
    from shiftboss.host.commands import RealCommands
    from shiftboss.host.crond import RealBoot, RealCronDaemon
    from shiftboss.host.files import RealFiles
    from shiftboss.host.processes import RealProcesses

    return Machine(
        files=RealFiles(),
        accounts=RealAccounts(),
        clock=RealClock(),
        commands=RealCommands(),
        processes=RealProcesses(),
        supervisors=RealSupervisors(),
        engines=RealEngines(),
        cron=RealCronDaemon(),
        boot=RealBoot(),
    )
