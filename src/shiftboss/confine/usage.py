"""What a cgroup of ours has used, and whether the kernel killed in it for want of memory: for status and exit reasons.

Directories are those of a Group (confine/limits.py). None means: this machine does not tell.
"""

import os
from typing import NamedTuple

from shiftboss.confine import cgroup
from shiftboss.confine.descendants import tree_of

_MAX_READ = 1 << 20
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_CHARGED_AT_ONCE = 256 * 1024  # the kernel takes memory in batches of 64 pages while there is enough


class Usage(NamedTuple):
    """Use of one slot. `memory_bytes` counts the page cache, `working_bytes` not what the kernel can drop of it."""

    memory_bytes: int | None = None
    working_bytes: int | None = None
    peak_bytes: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    tasks: int | None = None


class Killed(NamedTuple):
    """How often the kernel killed in a cgroup because memory ran out.

    `own_limit`: the cgroup reached its own limit; otherwise the project's budget or the machine was full.
    """

    times: int
    own_limit: bool
    limit_bytes: int | None
    peak_bytes: int | None


def read_usage(directories: list[str]) -> Usage:
    """Return the use of a slot; each value from the hierarchy that has it."""
    found: dict[str, float | None] = dict.fromkeys(Usage._fields)
    for directory in directories:
        for name, value in (_v2_usage(directory) | _v1_usage(directory)).items():
            if found[name] is None:
                found[name] = value
    seconds = ("cpu_seconds", "throttled_seconds")
    return Usage(**{k: v if v is None or k in seconds else int(v) for k, v in found.items()})  # type: ignore[arg-type]


def usage_of(pid: int, path: str, directories: list[str]) -> Usage:
    """Return the use of a run by its cgroups; what those do not tell is summed up from /proc for what lives in it.

    `pid` is its main process, `path` the cgroup that it lives in ("" none).
    """
    counted = read_usage(directories)
    if None not in (counted.working_bytes, counted.cpu_seconds, counted.tasks):
        return counted
    summed = sum_up(cgroup.members(path) if path else sorted(tree_of(pid)))
    return counted._replace(
        **{
            name: value
            for name, value in summed._asdict().items()
            if value is not None and getattr(counted, name) is None
        }
    )


def sum_up(pids: list[int]) -> Usage:
    """Return what processes use at this moment by /proc. `working_bytes` is memory that they share with nobody."""
    resident = own = tasks = 0
    seconds = 0.0
    for pid in pids:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        pages = _read(f"/proc/{pid}/statm").split()
        if len(fields) > 17 and len(pages) > 2:
            resident += int(pages[1]) * _PAGE
            own += (int(pages[1]) - int(pages[2])) * _PAGE
            seconds += (int(fields[11]) + int(fields[12])) / _TICKS
            tasks += int(fields[17])
    return Usage(memory_bytes=resident, working_bytes=own, cpu_seconds=seconds, tasks=tasks)


def _v2_usage(directory: str) -> dict[str, float | None]:
    stat = _table(f"{directory}/memory.stat")
    cpu = _table(f"{directory}/cpu.stat")
    io = _io_v2(f"{directory}/io.stat")
    current = _number(f"{directory}/memory.current")
    return {
        "memory_bytes": current,
        "working_bytes": None if current is None else max(0, current - stat.get("inactive_file", 0)),
        "peak_bytes": _number(f"{directory}/memory.peak"),
        "cpu_seconds": cpu["usage_usec"] / 1e6 if "usage_usec" in cpu else None,
        "throttled_seconds": cpu["throttled_usec"] / 1e6 if "throttled_usec" in cpu else None,
        "read_bytes": io[0],
        "written_bytes": io[1],
        "tasks": _number(f"{directory}/pids.current"),
    }


def _v1_usage(directory: str) -> dict[str, float | None]:
    """Return what v1 files tell; one controller a directory, so most values are not here."""
    found: dict[str, float | None] = {}
    current = _number(f"{directory}/memory.usage_in_bytes")
    if current is not None:
        stat = _table(f"{directory}/memory.stat")
        found["memory_bytes"] = current
        found["working_bytes"] = max(0, current - stat.get("total_inactive_file", 0))
        found["peak_bytes"] = _number(f"{directory}/memory.max_usage_in_bytes")
    nanoseconds = _number(f"{directory}/cpuacct.usage")
    if nanoseconds is not None:
        found["cpu_seconds"] = nanoseconds / 1e9
    cpu = _table(f"{directory}/cpu.stat")
    if "throttled_time" in cpu:
        found["throttled_seconds"] = cpu["throttled_time"] / 1e9
    io = _io_v1(f"{directory}/blkio.throttle.io_service_bytes")
    if io:
        found["read_bytes"], found["written_bytes"] = io.get("Read", 0), io.get("Write", 0)
    return found


def _io_v2(path: str) -> tuple[int | None, int | None]:
    if not os.path.exists(path):
        return None, None
    words = _read(path).split()
    sums = {"rbytes": 0, "wbytes": 0}
    for word in words:
        name, _, value = word.partition("=")
        if name in sums and value.isdigit():
            sums[name] += int(value)
    return sums["rbytes"], sums["wbytes"]


def _io_v1(path: str) -> dict[str, int]:
    """Return bytes by direction, summed over all devices; the file exists with a `Total` line at least."""
    found: dict[str, int] = {}
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) == 3 and words[2].isdigit():
            found[words[1]] = found.get(words[1], 0) + int(words[2])
        elif words[:1] == ["Total"]:
            found.setdefault("Read", 0)
    return found


def read_killed(directories: list[str]) -> Killed:
    """Return how often memory ran out in a slot since its cgroup was made; take the difference of two for one run.

    v2 counts in memory.events (`oom_kill` is in the victim's cgroup, whoever's limit was reached), v1 in
    memory.oom_control; there its own limit was reached if the peak was.
    """
    for directory in directories:
        events = _table(f"{directory}/memory.events")
        if "oom_kill" in events:
            limit = _number(f"{directory}/memory.max")
            peak = _number(f"{directory}/memory.peak")
            return Killed(events["oom_kill"], events.get("oom", 0) > 0, limit, peak)
        control = _table(f"{directory}/memory.oom_control")
        if "oom_kill" in control:
            limit = _number(f"{directory}/memory.limit_in_bytes")
            peak = _number(f"{directory}/memory.max_usage_in_bytes")
            # memory.failcnt stays 0 with a limit of memory and swap together, and on newer kernels (seen with 6.18)
            reached = peak is not None and limit is not None and peak + _CHARGED_AT_ONCE > limit
            return Killed(control["oom_kill"], reached, limit, peak)
    return Killed(0, False, None, None)


def _table(path: str) -> dict[str, int]:
    """Return the `name number` lines of a file, nothing if there is none."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _number(path: str) -> int | None:
    """Return the number that a file holds; None if there is no file, or no limit in it (`max`)."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.fsdecode(file.read(_MAX_READ) or b"")
    except OSError:  # also ENODEV: it was removed while we read
        return ""
