"""The yard stick: programs/limit.c."""

import os
import signal
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.contract import Peer


class Limit(Peer):
    """What the kernel allows: it can do nothing but keep programs running and capture what they write."""

    name = "limit-c"
    kills: ClassVar[int] = 100
    has_status = has_api = False
    victims: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def version(cls, tools: Path) -> str | None:
        """Return which one it is."""
        return "benchmarks/programs/limit.c" if (tools / "limit").exists() else None

    def configure(self) -> None:
        """Write its table."""
        rows = ("\t".join([f"{self.logs}/{p.name}.log", *p.argv]) for p in self.programs)
        (self.work / "table").write_text("".join(f"{row}\n" for row in rows))

    def start(self) -> None:
        """Start it."""
        self.roots.append(self.launch(self.tools / "limit", self.work / "table"))

    def announce(self) -> None:
        """HUP."""
        os.kill(self.roots[-1], signal.SIGHUP)

    def stop_all(self) -> None:
        """TERM."""
        os.kill(self.roots[-1], signal.SIGTERM)
