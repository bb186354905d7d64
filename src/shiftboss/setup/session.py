"""What every command starts from: this machine, this server, and what its project files say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property

from shiftboss.core.errors import DeniedError
from shiftboss.core.spec import Site
from shiftboss.host.machine import Machine, real_machine
from shiftboss.setup.catalog import Catalog, load_catalog
from shiftboss.setup.progress import Progress
from shiftboss.setup.site import is_guest, load_site

_GUEST = (
    "Use sudo, or ask whoever runs it. Without root there are, for your projects on the backend native: "
    "status, logs, top, next, start, stop, restart, scale, history, events.\n"
    "For a shiftboss of your own, write ~/.config/shiftboss/config.toml first."
)
_machine: ContextVar[Machine | None] = ContextVar("machine", default=None)


@contextmanager
def on_machine(machine: Machine) -> Iterator[None]:
    """Let commands inside work on another machine than the one they run on (`host.fake` has one)."""
    token = _machine.set(machine)
    try:
        yield
    finally:
        _machine.reset(token)


def this_machine() -> Machine:
    """Return the machine that commands work on."""
    return _machine.get() or real_machine()


class Session:
    """One run of a command. `config` is the config.toml that was named, if one was.

    Raises UserError when it is made, if config.toml is wrong.
    """

    site: Site

    def __init__(
        self, machine: Machine, progress: Progress, config: str | None, environ: Mapping[str, str]
    ) -> None:
        self.machine, self.progress, self.config, self.environ = machine, progress, config, environ
        self._read_site()

    @cached_property
    def is_guest(self) -> bool:
        """Whether this server is somebody else's, so that its engine must be asked for everything."""
        return is_guest(self.machine.files, self.machine.accounts, self.site)

    def refuse_guest(self) -> None:
        """Raise DeniedError if what follows is only for whom this server belongs to."""
        if self.is_guest:
            raise DeniedError("permission denied: only root may do that on this server", hint=_GUEST)

    @cached_property
    def catalog(self) -> Catalog:
        """The project files, read once; raises DeniedError if they are not ours to read."""
        self.refuse_guest()
        return load_catalog(self.machine.files, self.site)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of everything that changes this server; what was read before it is read again.

        Raises DeniedError if it is not ours to change.
        """
        self.refuse_guest()
        with self.machine.files.lock(f"{self.site.run}/lock", self._say_waiting):
            self._read_site()
            self.__dict__.pop("catalog", None)
            yield

    def _read_site(self) -> None:
        machine = self.machine
        self.site = load_site(machine.files, machine.accounts, config=self.config, environ=self.environ)

    def _say_waiting(self) -> None:
        self.progress.step("another shiftboss is changing this server: waiting for it")
