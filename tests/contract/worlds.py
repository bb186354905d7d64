"""One world on disk and one in memory, built by the same hand: what a suite of the ports runs over."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shiftboss.core.spec import Account
from shiftboss.host.accounts import RealAccounts
from shiftboss.host.commands import RealCommands
from shiftboss.host.fake import fake_machine
from shiftboss.host.fake_files import Node
from shiftboss.host.files import RealFiles
from shiftboss.host.ports import Commands, Files

STRANGER = Account("nobody", 65534, 65534, "nogroup", "/nonexistent")


class World(Protocol):
    """A directory (`root`) in a world, the ports that look at it, and a hand that puts things there."""

    root: str
    files: Files
    commands: Commands

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None: ...
    def directory(self, path: str, *, mode: int = 0o755) -> None: ...
    def link(self, path: str, target: str, *, by_stranger: bool = False) -> None: ...
    def fifo(self, path: str) -> None: ...
    def content(self, path: str) -> bytes: ...
    def names(self, directory: str) -> set[str]: ...
    def hold(self, lock: str) -> Callable[[], None]: ...


class RealWorld:
    """A temporary directory of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.files = RealFiles()
        self.commands = RealCommands()

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        Path(path).write_bytes(data)
        Path(path).chmod(mode)

    def directory(self, path: str, *, mode: int = 0o755) -> None:
        Path(path).mkdir(parents=True)
        Path(path).chmod(mode)

    def link(self, path: str, target: str, *, by_stranger: bool = False) -> None:
        Path(path).symlink_to(target)
        if by_stranger:
            os.lchown(path, STRANGER.uid, STRANGER.gid)

    def fifo(self, path: str) -> None:
        os.mkfifo(path)

    def content(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def names(self, directory: str) -> set[str]:
        return {entry.name for entry in Path(directory).iterdir()}

    def hold(self, lock: str) -> Callable[[], None]:
        """Let another process hold a lock; return what makes it let go."""
        code = (
            "import fcntl, os, sys\n"
            "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)\n"
            "fcntl.flock(fd, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"

        def let_go() -> None:
            other.communicate()
            assert other.returncode == 0

        return let_go


class FakeWorld:
    """The machine in memory."""

    def __init__(self) -> None:
        self.machine = fake_machine(RealAccounts().own())
        self.root = "/tmp/world"
        self.files = self.machine.files
        self.commands = self.machine.commands
        own = self.machine.accounts.own()
        self._ids = {"uid": own.uid, "gid": own.gid}
        self.files.directory(self.root, **self._ids)

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self.files.write(path, data, mode=mode, **self._ids)

    def directory(self, path: str, *, mode: int = 0o755) -> None:
        self.files.directory(path, mode=mode, **self._ids)

    def link(self, path: str, target: str, *, by_stranger: bool = False) -> None:
        self.files.link(path, target, uid=STRANGER.uid if by_stranger else self._ids["uid"])

    def fifo(self, path: str) -> None:
        self.files.put(path, Node("other", **self._ids))

    def content(self, path: str) -> bytes:
        node = self.files.node(path)
        assert node is not None
        return node.data

    def names(self, directory: str) -> set[str]:
        return {
            path.rpartition("/")[2] for path in self.files.snapshot() if path.rpartition("/")[0] == directory
        }

    def hold(self, lock: str) -> Callable[[], None]:
        self.files.held.add(lock)
        return lambda: self.files.held.discard(lock)
