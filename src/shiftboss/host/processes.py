"""What the kernel knows about running processes."""

import os
from collections.abc import Mapping

from shiftboss.core.facts import Listener, Running, Usage

_LONGEST_COMMAND = 4096


class RealProcesses:
    """The `Processes` port on this machine; psutil is imported only when it is asked."""

    def working_directory(self, pid: int) -> str | None:
        try:
            return os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return None

    def usage(self) -> Mapping[int, Usage]:
        import psutil

        found = {}
        for process in psutil.process_iter(["ppid", "memory_info", "cpu_times", "create_time"]):
            facts = process.info
            if facts["memory_info"] is None or facts["cpu_times"] is None:
                continue
            used = facts["cpu_times"].user + facts["cpu_times"].system
            percent = 100 * used / max(_now() - facts["create_time"], 0.01)
            found[process.pid] = Usage(
                process.pid, facts["ppid"] or 0, facts["memory_info"].rss, round(percent, 1)
            )
        return found

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


def _now() -> float:
    import time

    return time.time()  # create_time is an epoch, so the difference needs one too
