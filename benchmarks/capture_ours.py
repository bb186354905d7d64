"""Runs COUNT copies of a program and captures them: `capture_ours.py DIRECTORY COUNT -- PROGRAM…`.

The pipes and processes are made as the keeper makes them; everything else is shiftboss's own capture.
"""

import asyncio
import os
import sys

from shiftboss.core.rotation import LogLimits
from shiftboss.engine.capture import Capture

LIMITS = LogLimits(max_bytes=10_000_000, backups=5)


def start(program: list[str]) -> int:
    read, write = os.pipe()
    os.posix_spawn(
        program[0], program, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)], setsid=True
    )
    os.close(write)
    return read


async def main() -> None:
    directory, count, program = sys.argv[1], int(sys.argv[2]), sys.argv[4:]
    capture = Capture(f"{directory}/takeover")
    for number in range(count):
        capture.attach("bench/all", number + 1, 1, start(program), f"{directory}/{number}.log", LIMITS)
    capture.settled()
    for _ in range(count):
        await asyncio.to_thread(os.wait)
    for number in range(count):
        assert await capture.finish("bench/all", number + 1, 1)
    await capture.close()


if __name__ == "__main__":
    asyncio.run(main())
