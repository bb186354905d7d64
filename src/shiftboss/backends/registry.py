"""All backends: a new one is one file and one line here. Plans are performed in this order."""

from collections.abc import Mapping

from shiftboss.backends.contract import Backend
from shiftboss.backends.cron import CronBackend
from shiftboss.backends.logrotate import LogrotateBackend
from shiftboss.backends.native import NativeBackend
from shiftboss.backends.supervisor import SupervisorBackend

BACKENDS: Mapping[str, Backend] = {
    backend.name: backend
    for backend in (SupervisorBackend(), NativeBackend(), CronBackend(), LogrotateBackend())
}
