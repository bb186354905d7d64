"""A worker fills /tmp, its own disk, and the disk that holds everybody's logs; its neighbour and the engine go on. About 15 s."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server, TestProject, on_native
from tests.e2e.test_limits import PYTHON, pid_of, project_with, worker_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(180)]
# shared and logs are small disks: once both are full, what it prints goes on and on
FLOOD = """
import os
written = {}
for place in ("/tmp", "../../shared"):
    size = 0
    try:
        with open(place + "/flood", "wb", buffering=0) as file:
            while True:
                size += file.write(bytes(1 << 20))
    except OSError as error:
        written[place] = (size, error.strerror)
print(written, flush=True)
line = b"x" * 1000 + b"\\n"
while True: os.write(1, line * 60)
"""
TICK = """
import time
count = 0
while True:
    count += 1
    print("tick", count, flush=True)
    with open("../../shared/count~", "w") as file: file.write(str(count))
    import os; os.rename("../../shared/count~", "../../shared/count")
    time.sleep(0.05)
"""
MIB = 1 << 20


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """Mount a file system of this size; whoever still has files open there does not hold up the end."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def is_full(place: Path) -> bool:
    return os.statvfs(place).f_bavail == 0


def ticks(project: TestProject) -> int:
    path = project.root / "shared/count"
    return int(path.read_text()) if path.exists() else 0


@on_native
def test_a_flood_stops_neither_the_neighbour_nor_the_engine(server: Server) -> None:
    hostile, neighbour = project_with(server, "flood.py", FLOOD), project_with(server, "tick.py", TICK)
    (neighbour.root / "shared").mkdir()
    neighbour.own(neighbour.root / "shared")
    with small_disk(server.directory / "logs", "16M"), small_disk(hostile.root / "shared", "8M"):
        hostile.own(hostile.root / "shared")
        server.ok("setup", neighbour.name, "custom", "--name", "tick", "--", PYTHON, "tick.py")
        pid = pid_of(server, f"{neighbour.name}/tick")
        strict = ("--isolation", "strict", "--memory", "64M")
        server.ok("setup", hostile.name, "custom", "--name", "flood", *strict, "--", PYTHON, "flood.py")
        wait_until(lambda: is_full(server.directory / "logs"), 60, what="a full disk")

        assert (hostile.root / "shared/flood").stat().st_size <= 8 * MIB
        assert not Path("/tmp/flood").exists(), "it had a /tmp of its own"
        before = ticks(neighbour)
        wait_until(lambda: ticks(neighbour) > before + 40, 30, what="the neighbour's work")
        assert pid_of(server, f"{neighbour.name}/tick") == pid
        assert worker_of(server, neighbour)["processes"][0]["state"] == "RUNNING"

        server.ok("stop", f"{hostile.name}/flood")
        for path in hostile.logs.iterdir():
            os.truncate(path, 0)
        last = ticks(neighbour)
        wait_until(lambda: f"tick {last + 5}\n" in neighbour.log("tick"), 30, what="its log again")
        assert pid_of(server, f"{neighbour.name}/tick") == pid
        server.ok("remove", hostile.name, "--yes")
        server.ok("remove", neighbour.name, "--yes")
