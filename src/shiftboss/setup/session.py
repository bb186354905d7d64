"""What every command starts from: this machine, this server, and what its project files say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property

from shiftboss.core.spec import Site
from shiftboss.host.machine import Machine, real_machine
from shiftboss.setup.catalog import Catalog, load_catalog
from shiftboss.setup.progress import Progress
from shiftboss.setup.site import load_site

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


@dataclass
class Session:
    """One run of a command. `config` is the config.toml that was named, if one was.

    Raises UserError when it is made, if config.toml is wrong.
    """

    machine: Machine
    progress: Progress
    config: str | None
    environ: Mapping[str, str]
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        self._read_site()

    @cached_property
    def catalog(self) -> Catalog:
        """The project files, read once."""
        return load_catalog(self.machine.files, self.site)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of everything that changes this server; what was read before it is read again."""
        with self.machine.files.lock(f"{self.site.run}/lock", self._say_waiting):
            self._read_site()
            self.__dict__.pop("catalog", None)
            yield

    def _read_site(self) -> None:
        machine = self.machine
        self.site = load_site(machine.files, machine.accounts, config=self.config, environ=self.environ)

    def _say_waiting(self) -> None:
        self.progress.step("another shiftboss is changing this server: waiting for it")
