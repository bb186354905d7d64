"""Prints which share of a CPU a process and all in its cgroup had for ten seconds, by what `status` reads."""

import sys
import time
from collections.abc import Iterator

from shiftboss.confine.usage import read_usage


def directories(pid: str) -> Iterator[str]:
    with open(f"/proc/{pid}/cgroup") as file:
        for line in file:
            number, names, path = line.rstrip("\n").split(":", 2)
            yield f"/sys/fs/cgroup/{names}{path}" if number != "0" else f"/sys/fs/cgroup{path}"


found = list(directories(sys.argv[1]))
began, before = time.monotonic(), read_usage(found).cpu_seconds or 0
time.sleep(10)  # what is measured is time
print(((read_usage(found).cpu_seconds or 0) - before) / (time.monotonic() - began))
