"""What the cgroups of the launcher tell of a process that Supervisor started through it."""

from shiftboss.confine import limits, usage
from shiftboss.core.facts import LaunchedFacts, ProcessUse


def read_launched(slot: str, pid: int) -> LaunchedFacts | None:
    """Return the facts of `project/unit.process`; None where it has no cgroup. `pid` 0: it has ended."""
    directories = limits.find(f"{limits.LAUNCHER_TREE}/{slot}", pid)
    if not directories:
        return None
    killed = usage.read_killed(directories)
    return LaunchedFacts(_use(pid, directories) if pid else ProcessUse(), *killed)


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
