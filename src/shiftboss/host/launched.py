"""What is known of what the launcher started: by the cgroups of a worker, by the process that watches over a run."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from shiftboss.confine import limits, usage
from shiftboss.confine.remains import end_groups
from shiftboss.core.errors import HostError
from shiftboss.core.facts import LaunchedFacts, Launcher, ProcessUse


def read_launched(slot: str, pid: int) -> LaunchedFacts | None:
    """Return the facts of `project/unit.process`; None where it has no cgroup. `pid` 0: it has ended."""
    directories = limits.find(f"{limits.LAUNCHER_TREE}/{slot}", pid)
    if not directories:
        return None
    killed = usage.read_killed(directories)
    return LaunchedFacts(_use(pid, directories) if pid else ProcessUse(), *killed)


def end_launched(addresses: Iterable[str], stop_signal: str, pid: int) -> tuple[int, ...]:
    """End what processes that have stopped left in their cgroups, and remove those; return the pids there were."""
    if os.geteuid():  # without root the launcher makes none: a project of that name is another one
        return ()
    slots = [f"{limits.LAUNCHER_TREE}/{address.replace(':', '.')}" for address in addresses]
    groups = [directories for slot in slots if (directories := limits.find(slot, pid))]
    found = tuple(member for directories in groups for member in limits.members(directories))
    left = end_groups(groups, getattr(signal, f"SIG{stop_signal}", signal.SIGTERM))
    if left:
        pids = ", ".join(str(member) for directories in left for member in limits.members(directories))
        raise HostError(
            f"cannot end what was left behind: pid {pids or 'unknown'} outlives even KILL",
            hint="It waits for the kernel, perhaps for a disk or a network file system: see ps -o pid,stat,wchan.",
        )
    for project in {os.path.dirname(path) for directories in groups for path in directories}:
        limits.remove([project])
    return found


def _use(pid: int, directories: list[str]) -> ProcessUse:
    used = usage.usage_of(pid, directories[0], directories)
    return ProcessUse(
        memory_bytes=used.memory_bytes if used.working_bytes is None else used.working_bytes,
        memory_peak_bytes=used.peak_bytes,
        cpu_seconds=used.cpu_seconds,
        throttled_seconds=used.throttled_seconds,
        read_bytes=used.read_bytes,
        written_bytes=used.written_bytes,
        tasks=used.tasks,
    )


def is_alive(launcher: Launcher) -> bool:
    """Tell whether the launcher of a run lives: its number, when that started, and in which boot (proc(5))."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{launcher.pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return boot == launcher.boot and fields[0] not in (b"Z", b"X") and int(fields[19]) == launcher.since
