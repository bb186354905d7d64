"""What every command starts from: this machine, this server, and what its project files say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from shiftboss.core.spec import Site
from shiftboss.host.machine import Machine, real_machine
from shiftboss.setup.catalog import Catalog, load_catalog
from shiftboss.setup.progress import Progress
from shiftboss.setup.site import load_site


@dataclass
class Session:
    """One run of a command."""

    machine: Machine
    site: Site
    progress: Progress

    @cached_property
    def catalog(self) -> Catalog:
        """The project files, read once."""
        return load_catalog(self.machine.files, self.site)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of everything that changes this server; what was read before it is read again."""
        with self.machine.files.lock(f"{self.site.run}/lock", self._say_waiting):
            self.__dict__.pop("catalog", None)
            yield

    def _say_waiting(self) -> None:
        self.progress.step("another shiftboss is changing this server: waiting for it")


def open_session(config: str | None, environ: Mapping[str, str], progress: Progress) -> Session:
    """Return the session of a command on this machine; raises UserError if config.toml is wrong."""
    machine = real_machine()
    return Session(
        machine, load_site(machine.files, machine.accounts, config=config, environ=environ), progress
    )
