"""Machines under test that a real systemd has booted: in namespaces of this kernel, or in a virtual machine.

    NativeBed   0.6 s to boot; the cgroups that this kernel offers (version 1 and "unified", where it has both)
    VmBed       18 s to boot (no KVM needed); Debian's own kernel, cgroup version 2 alone

Both start from one tree that `build.sh` makes, have no network but loopback, and what is written in them is gone
at their end.
"""

import base64
import contextlib
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

HERE = Path(__file__).parent
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CGROUPS = Path("/sys/fs/cgroup")
_BUILD_SECONDS = 240
_numbers = itertools.count()


@dataclass
class Answer:
    """How a command in the machine ended; stdout and stderr are one."""

    status: int
    output: str

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.output}"


def build(directory: Path) -> Path:
    """Build what both kinds boot from, unless it is there; return the directory. Takes a minute."""
    if not (directory / "root.img").exists():
        built = subprocess.run(
            [str(HERE / "build.sh"), str(directory)],
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        assert built.returncode == 0, built.stderr[-3000:]
    return directory


class Bed(ABC):
    """A booted machine."""

    def run(self, *argv: str, timeout: float = 60, stdin: bytes = b"") -> Answer:
        """Run a command as root and wait for its end; 124: it took longer than `timeout` seconds."""
        status, output = self._run(argv, timeout, stdin)
        return Answer(status, output.decode(errors="replace"))

    def ok(self, *argv: str, timeout: float = 60, stdin: bytes = b"") -> str:
        """Run a command that must end well; return what it printed."""
        answer = self.run(*argv, timeout=timeout, stdin=stdin)
        assert answer.status == 0, f"{' '.join(argv)}: {answer}"
        return answer.output.strip()

    def push(self, source: Path, target: str) -> None:
        """Copy the content of a directory into one of the machine, all of it owned by root."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
            archive.add(source, arcname=".", filter=_owned_by_root)
        self.ok("mkdir", "-p", target)
        self.ok("tar", "-xzC", target, stdin=packed.getvalue(), timeout=120)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file with its directory."""
        self.ok("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text.encode())

    @abstractmethod
    def reboot(self) -> None:
        """Reboot, and wait until it is up again; what was written stays."""

    @abstractmethod
    def close(self) -> None:
        """Switch it off."""

    @abstractmethod
    def _run(self, argv: tuple[str, ...], timeout: float, stdin: bytes) -> tuple[int, bytes]: ...

    def _wait_until_up(self, deadline: float) -> None:
        def is_up() -> bool:
            return self.run("systemctl", "is-system-running").output.strip() in ("running", "degraded")

        wait_until(is_up, deadline, what="systemd to finish booting", interval=0.1)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


class NativeBed(Bed):
    """systemd in namespaces of this machine's kernel."""

    def __init__(self, built: Path, work: Path) -> None:
        self._tree, self._work = built / "tree", work
        self._name = f"shiftboss-test-{os.getpid()}-{next(_numbers)}"
        self._boot()

    def _boot(self) -> None:
        # our own end, however it comes, ends the machine too
        argv = ["setpriv", "--pdeathsig", "KILL", str(HERE / "namespaces.sh")]
        console = (self._work / "console.log").open("ab")
        self._top = subprocess.Popen(
            [*argv, self._name, str(self._tree), str(self._work)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
        console.close()
        self._init = wait_until(self._find_init, 20, what="systemd to start")
        self._wait_until_up(60)

    def _find_init(self) -> int:
        said = (self._work / "console.log").read_text(errors="replace")[-2000:]
        assert self._top.poll() is None, f"the machine ended: {said}"
        children = Path(f"/proc/{self._top.pid}/task/{self._top.pid}/children").read_text().split()
        return next((int(p) for p in children if _name_of(p) == "systemd"), 0)

    def _run(self, argv: tuple[str, ...], timeout: float, stdin: bytes) -> tuple[int, bytes]:
        enter = ("timeout", str(timeout), "nsenter", "-t", str(self._init), "--all", "--wdns=/")
        clean = ("env", "-i", "HOME=/root", "TERM=dumb", f"PATH={_PATH}")
        ended = subprocess.run(
            [*enter, *clean, *argv],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout + 10,
            check=False,
        )
        return ended.returncode, ended.stdout

    def reboot(self) -> None:
        self.run("systemctl", "reboot", "--no-block")
        self._top.wait(60)
        self._boot()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGRTMIN + 4)  # systemd(1): power off
        try:
            self._top.wait(30)
        except subprocess.TimeoutExpired:
            self._top.kill()
            self._top.wait()
        wait_until(self._remove_cgroups, 10, what="the machine's cgroups to be empty")

    def _remove_cgroups(self) -> bool:
        """Remove the cgroups of the machine, deepest first; False while something is left in them."""
        tops = [path for path in (_CGROUPS / self._name, *_CGROUPS.glob(f"*/{self._name}")) if path.is_dir()]
        for top in tops:
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        return not any(top.exists() for top in tops)


def _name_of(pid: str) -> str:
    """Return the name of a process, "" if it has just ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


class VmBed(Bed):
    """systemd on Debian's kernel, emulated by qemu."""

    def __init__(self, built: Path, work: Path) -> None:
        self._socket = work / "agent"
        self._ids = itertools.count(1)
        with (work / "qemu.log").open("ab") as output:
            self._qemu = subprocess.Popen(
                self._command(built, work),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._listens, 20, what="qemu to listen")
        self._wait_until_up(150)

    def _command(self, built: Path, work: Path) -> list[str]:
        kernel = "root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.show_status=0 mitigations=off random.trust_cpu=on audit=0"
        return [
            "setpriv", "--pdeathsig", "KILL",
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768",
            "-nodefaults", "-display", "none", "-nic", "none",
            "-kernel", f"{built}/vmlinuz", "-initrd", f"{built}/initrd.img", "-append", kernel,
            "-drive", f"file={built}/root.img,if=virtio,format=raw,snapshot=on",
            "-serial", f"file:{work}/console.log", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=tests,path={self._socket},server=on,wait=off",
            "-device", "virtserialport,chardev=tests,name=tests",
        ]  # fmt: skip

    def _listens(self) -> bool:
        """Tell whether qemu takes connections: its socket is there a moment earlier."""
        assert self._qemu.poll() is None, "qemu ended"
        with (
            contextlib.suppress(FileNotFoundError, ConnectionRefusedError),
            socket.socket(socket.AF_UNIX) as line,
        ):
            line.connect(str(self._socket))
            return True
        return False

    def _run(self, argv: tuple[str, ...], timeout: float, stdin: bytes) -> tuple[int, bytes]:
        assert self._qemu.poll() is None, "qemu ended"
        request = {
            "id": next(self._ids),
            "argv": argv,
            "timeout": timeout,
            "input": base64.b64encode(stdin).decode(),
        }
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._socket))
            line.settimeout(timeout + 120)  # the machine may still be booting
            line.sendall(json.dumps(request).encode() + b"\n")
            answer = next(a for a in _answers(line) if a["id"] == request["id"])
        return answer["status"], base64.b64decode(answer["output"])

    def reboot(self) -> None:
        before = self.ok("cat", "/proc/sys/kernel/random/boot_id")
        self.run("systemctl", "reboot", "--no-block")

        def is_new() -> bool:
            with contextlib.suppress(OSError, StopIteration):
                return self.run("cat", "/proc/sys/kernel/random/boot_id", timeout=5).output.strip() not in (
                    "",
                    before,
                )
            return False

        wait_until(is_new, 400, what="the machine to boot again", interval=0.5)  # emulated: 90 s at the best
        self._wait_until_up(120)

    def close(self) -> None:
        self._qemu.kill()  # nothing in it is kept
        self._qemu.wait()


def _answers(line: socket.socket) -> Iterator[dict[str, object]]:
    waiting = b""
    while chunk := line.recv(1 << 20):
        *whole, waiting = (waiting + chunk).split(b"\n")
        yield from map(json.loads, whole)
