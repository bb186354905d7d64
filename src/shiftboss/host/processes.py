"""What the kernel knows about running processes."""

import os
import time
from collections.abc import Iterable, Mapping

from shiftboss.core.facts import LaunchedFacts, Launcher, Listener, Running, Usage
from shiftboss.core.limits import Ground

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_LONGEST_COMMAND = 4096


class RealProcesses:
    """The `Processes` port on this machine.

    `usage` reads /proc/PID/stat by itself: psutil takes ten times as long for it, and every status waits for it.
    """

    def working_directory(self, pid: int) -> str | None:
        try:
            return os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return None

    def usage(self) -> Mapping[int, Usage]:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        found = (_usage(int(name), now) for name in os.listdir("/proc") if name.isdigit())
        return {usage.pid: usage for usage in found if usage}

    def ground(self) -> Ground:
        from shiftboss.host.ground import find_ground

        return find_ground()

    def lives(self, launcher: Launcher) -> bool:
        from shiftboss.host.launched import is_alive

        return is_alive(launcher)

    def launched(self, project: str, unit: str, process: int, pid: int) -> LaunchedFacts | None:
        from shiftboss.host.launched import read_launched

        return read_launched(f"{project}/{unit}.{process}", pid)

    def end_launched(self, addresses: Iterable[str], stop_signal: str, pid: int) -> tuple[int, ...]:
        from shiftboss.host.launched import end_launched

        return end_launched(addresses, stop_signal, pid)

    def launcher(self, *, as_root: bool) -> tuple[str, ...]:
        from shiftboss.host.own_code import launcher_command

        return launcher_command(as_root=as_root)

    def running(self, word: str) -> tuple[Running, ...]:
        wanted = word.encode()
        return tuple(
            found
            for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
            if wanted in (command := _command(pid)) and (found := _running(pid, command)) is not None
        )

    def listener(self, port: int) -> Listener | None:
        import psutil

        try:
            connections = psutil.net_connections("tcp")
        except psutil.Error:
            return None
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return _listener(connection.pid)
        return None


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(_LONGEST_COMMAND)
    except OSError:
        return b""  # it has ended


def _running(pid: int, command: bytes) -> Running | None:
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None
    argv = tuple(word.decode(errors="replace") for word in command.rstrip(b"\0").split(b"\0"))
    return Running(pid, parent, uid, argv, RealProcesses().working_directory(pid) or "")


def _listener(pid: int) -> Listener | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return Listener(pid, process.username(), " ".join(process.cmdline()[:3]))
    except psutil.Error:
        return None


def _usage(pid: int, now: float) -> Usage | None:
    """Return what a process uses, None if it is gone; `now`: seconds since boot. Fields are those of proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            line = file.read(4096)
    except OSError:
        return None
    fields = line.rpartition(b")")[2].split()  # the name may hold anything, even brackets
    if len(fields) < 22:
        return None
    parent, user, system, start, pages = (int(fields[number - 3]) for number in (4, 14, 15, 22, 24))
    percent = 100 * (user + system) / max(now * _TICKS - start, 0.01 * _TICKS)
    return Usage(pid, parent, pages * _PAGE, round(percent, 1))
