"""What the kernel and the measured children tell: process trees, CPU time, memory, starts. Linux only."""

import contextlib
import ctypes
import os
import re
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
DESCRIPTORS = 15_000
now = time.monotonic


class Occurrence(NamedTuple):
    """One line that a child wrote about itself; `at` is CLOCK_MONOTONIC, in seconds."""

    name: str
    pid: int
    at: float
    kind: str


class Occurrences:
    """The file that all children of one set-up append to."""

    def __init__(self, path: Path) -> None:
        path.touch()
        path.chmod(0o666)
        self.path, self.by_name = path, dict[str, list[Occurrence]]()
        self._file, self._rest = path.open("rb"), b""

    def __iter__(self):
        return (row for rows in self.by_name.values() for row in rows)

    def read(self) -> None:
        """Take in what is new."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            name, pid, nanoseconds, kind = line.decode().split()
            row = Occurrence(name, int(pid), int(nanoseconds) / 1e9, kind)
            self.by_name.setdefault(name, []).append(row)

    def starts(self, name: str) -> list[Occurrence]:
        """Return the starts of one program, oldest first."""
        return [row for row in self.by_name.get(name, ()) if row.kind == "start"]

    def until(self, condition: Callable[[], bool], seconds: float, step: float = 0.002) -> bool:
        """Wait until a condition on what was read holds; False if it does not in time."""
        end = now() + seconds
        while True:
            self.read()
            if condition():
                return True
            if now() > end:
                return False
            time.sleep(step)

    def close(self) -> None:
        """Read no more."""
        self._file.close()


class Used(NamedTuple):
    """What processes have used until now: CPU seconds, and how often they were switched away from a core."""

    cpu: float
    switches: int


def prepare() -> None:
    """Let this process have many files open and inherit every orphan of what it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # else ours would be compiled at each start, an installed peer not


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def program_of(pid: int) -> str:
    """Return the path of what a process runs, "" if it does not live."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def below(roots: Iterable[int]) -> list[int]:
    """Return the processes and all their descendants, parents first."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(name))
    found, rest = [], list(roots)
    while rest:
        pid = rest.pop(0)
        found.append(pid)
        rest += children.get(pid, ())
    return [pid for pid in found if is_alive(pid)]


def used(pids: Iterable[int]) -> Used:
    """Return what these processes have used, all threads."""
    cpu = switches = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                cpu += int((task / "schedstat").read_text().split()[0])
                rows = re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text())
                switches += sum(map(int, rows))
    return Used(cpu / 1e9, switches)


def memory(pids: Iterable[int]) -> float:
    """Return the proportional set size of these processes, in MB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ProcessLookupError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 1024


def kill(pids: Iterable[int]) -> None:
    """KILL processes; those that are gone are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def reap() -> None:
    """Bury the orphans that became ours."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def clear(roots: Sequence[int], seconds: float = 20) -> None:
    """KILL these processes, their descendants, and whatever of it came to us as an orphan."""
    end = now() + seconds
    while now() < end:
        left = [pid for pid in below([*roots, os.getpid()]) if pid != os.getpid()]
        if not left:
            return
        kill(left)
        reap()
        time.sleep(0.01)


class Deaths:
    """Waits for the end of processes without looking at them in between."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._poll, self._left = select.poll(), set[int]()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                self._left.add(descriptor)
                self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Return True as soon as all have ended, False if they have not in time."""
        end = now() + seconds
        while self._left and (rest := end - now()) > 0:
            for descriptor, _ in self._poll.poll(rest * 1000):
                self._poll.unregister(descriptor)
                self._left.remove(descriptor)
                os.close(descriptor)
        return not self._left

    def close(self) -> None:
        """Stop waiting."""
        for descriptor in self._left:
            os.close(descriptor)
