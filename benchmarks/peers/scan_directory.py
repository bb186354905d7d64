"""The family of daemontools: a directory of service directories, one small supervisor process for each."""

import os
import re
import shutil
from pathlib import Path
from typing import ClassVar

from benchmarks import observe
from benchmarks.observe import now
from benchmarks.peers.contract import BACKUPS, ROTATE_AT, Peer, Program, debian_version


class ScanDirectory(Peer):
    """What the three have in common."""

    daemon: ClassVar[str]
    supervisor: ClassVar[str]
    victims: ClassVar[tuple[str, ...]] = ("daemon", "each supervisor")

    def __init__(self, tools: Path, work: Path) -> None:
        super().__init__(tools, work)
        self.scan = work / "scan"
        self.scan.mkdir()

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return the version of the Debian package."""
        return debian_version(cls.name) if shutil.which(cls.daemon) else None

    def logger(self, directory: Path) -> str:
        """Return the command that writes what it reads into a directory, rotated."""
        raise NotImplementedError

    def configure(self) -> None:
        """Make the service directories that are missing; each appears complete."""
        for program in self.programs:
            if not (self.scan / program.name).exists():
                self._make(program)

    def _make(self, program: Program) -> None:
        made, logs = self.work / f"new-{program.name}", self.logs / program.name
        (made / "log").mkdir(parents=True)
        logs.mkdir()
        _script(made / "run", f"#!{program.argv[0]} @{','.join(program.argv[1:])}\n")
        _script(made / "log/run", f"#!/bin/sh\nexec {self.logger(logs)}\n")
        made.rename(self.scan / program.name)

    def start(self) -> None:
        """Start the scanner."""
        self.roots.append(self.launch(*self.command()))

    def command(self) -> tuple[str, ...]:
        """Return the scanner's command line."""
        return (self.daemon, str(self.scan))

    def announce(self) -> None:
        """Do nothing: it looks for new directories by itself."""

    def api(self, count: int) -> list[float]:
        """Read the files that their own status command reads."""
        took = []
        for _ in range(count):
            begun = now()
            for program in self.programs:
                (self.scan / program.name / "supervise/status").read_bytes()
            took.append(now() - begun)
        return took

    def each(self, command: str) -> str:
        """Run a shell line among the service directories."""
        return self.run("sh", "-c", f'cd "$0" && {command}', self.scan)

    def logs_of(self, program: Program) -> list[Path]:
        """Return the current file and the old ones (named @...)."""
        return [*(self.logs / program.name).glob("[c@]*")]

    def victims_of(self, victim: str) -> list[int]:
        """Return the scanner, or the supervisor of each service and of its logger."""
        if victim == "daemon":
            return self.roots[-1:]
        return [pid for pid in self.own() if os.path.basename(observe.program_of(pid)) == self.supervisor]


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Runit(ScanDirectory):
    """runit."""

    name, daemon, supervisor = "runit", "runsvdir", "runsv"

    def command(self) -> tuple[str, ...]:
        """Return runsvdir's command line."""
        return ("runsvdir", "-P", str(self.scan))

    def logger(self, directory: Path) -> str:
        """Return svlogd; its configuration is in the directory."""
        (directory / "config").write_text(f"s{ROTATE_AT}\nn{BACKUPS}\n")
        return f"svlogd {directory}"

    def stop_all(self) -> None:
        """Take all down."""
        self.each('SVDIR="$PWD" exec sv -w 60 down *')

    def status(self) -> int:
        """Return what sv says."""
        return len(re.findall(r"^run: ", self.each('SVDIR="$PWD" exec sv status *'), re.MULTILINE))


class S6(ScanDirectory):
    """s6."""

    name, daemon, supervisor = "s6", "s6-svscan", "s6-supervise"
    kills: ClassVar[int] = 8

    def command(self) -> tuple[str, ...]:
        """Return s6-svscan's command line."""
        return ("s6-svscan", "-c", "4000", str(self.scan))

    def logger(self, directory: Path) -> str:
        """Return s6-log."""
        return f"s6-log n{BACKUPS} s{ROTATE_AT} {directory}"

    def announce(self) -> None:
        """Ask for a scan."""
        self.run("s6-svscanctl", "-a", self.scan)

    def stop_all(self) -> None:
        """Take all down; the command takes one service a call."""
        self.each('for s in *; do s6-svc -d "$s"; done')

    def status(self) -> int:
        """Return what s6-svstat says, one service a call."""
        return self.each('for s in *; do s6-svstat "$s"; done').count("up (")


class Daemontools(ScanDirectory):
    """daemontools."""

    name, daemon, supervisor = "daemontools", "svscan", "supervise"

    def logger(self, directory: Path) -> str:
        """Return multilog."""
        return f"multilog s{ROTATE_AT} n{BACKUPS} {directory}"

    def stop_all(self) -> None:
        """Take all down."""
        self.each("exec svc -d *")

    def status(self) -> int:
        """Return what svstat says."""
        return self.each("exec svstat *").count(": up")
