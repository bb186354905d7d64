"""What a measured program must be able to do: one small class each."""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from benchmarks import observe

ROTATE_AT, BACKUPS = 10_000_000, 5
CLI_SECONDS = 120


class Program(NamedTuple):
    """A program to be kept running; its output is captured."""

    name: str
    argv: tuple[str, ...]


class Peer:
    """One program that keeps others running, in a directory of its own.

    `kills`: how often a child is killed in one round (few where a restart takes seconds). Children of the scan
    directory family are started by `#!` lines, so that no shell is measured.
    """

    name: ClassVar[str]
    kills: ClassVar[int] = 40
    has_status: ClassVar[bool] = True
    has_api: ClassVar[bool] = True
    victims: ClassVar[tuple[str, ...]] = ("daemon",)

    def __init__(self, tools: Path, work: Path) -> None:
        self.tools, self.work, self.logs = tools, work, work / "logs"
        self.programs: list[Program] = []
        self.roots: list[int] = []
        self.environment = dict(os.environ)
        self._started: list[subprocess.Popen[bytes]] = []
        self.logs.mkdir(parents=True)

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return the version, None where it is not installed."""
        raise NotImplementedError

    def configure(self) -> None:
        """Write the configuration for `programs`."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it; it starts its programs."""
        raise NotImplementedError

    def announce(self) -> None:
        """Make it take in the configuration that was written while it runs."""
        raise NotImplementedError

    def stop_all(self) -> None:
        """Have all programs stopped; may return before they are."""
        raise NotImplementedError

    def status(self) -> int:
        """Ask by the command line; return how many programs it says are running."""
        raise NotImplementedError

    def api(self, count: int) -> list[float]:
        """Ask `count` times without a command line; return the seconds each time took."""
        raise NotImplementedError

    def logs_of(self, program: Program) -> list[Path]:
        """Return the files that hold the output of a program, in any order."""
        return [path for path in self.logs.glob(f"{program.name}.log*") if path.is_file()]

    def own(self) -> list[int]:
        """Return its own processes: all it started but the measured children."""
        probe = str(self.tools / "probe")
        return [pid for pid in observe.below(self.roots) if observe.program_of(pid) != probe]

    def victims_of(self, victim: str) -> list[int]:
        """Return the processes that are killed as `victim`."""
        return self.roots[-1:]

    def begin(self, programs: Sequence[Program]) -> None:
        """Write a configuration and start."""
        self.programs = list(programs)
        self.configure()
        self.start()

    def end(self) -> None:
        """KILL everything."""
        observe.clear(self.roots)
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)

    def launch(self, *argv: str | Path) -> int:
        """Start a process that stays; return its pid."""
        with (self.work / "daemon.out").open("ab") as out:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                start_new_session=True,
            )
        self._started.append(process)
        return process.pid

    def run(self, *argv: str | Path) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            timeout=CLI_SECONDS,
            check=False,
        )
        return done.stdout.decode(errors="replace")


def first_word_with_digit(text: str) -> str:
    """Return the version in what a program says about itself."""
    return next((word.strip("v,") for word in text.split() if any(c.isdigit() for c in word)), "?")


def debian_version(package: str) -> str:
    """Return the version of a Debian package, "?" if it came another way."""
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, check=False
        )
        return done.stdout.decode() or "?"
    return "?"
