"""Stands in for the keeper: starts engines that capture, and kills them: `capture_engine.py`, JSON on stdin.

`{"record", "logs": [[entry, process, run, descriptor, path, max_bytes, backups]], "kills", "longest_ms", "seed",
"writers": [pid], "least_bytes"}`. Each engine is a fork that has the descriptors, as the keeper would pass them. When all kills
are done and so many bytes are in the logs the writers get SIGTERM, one more engine works until every pipe is at its end, and its report is printed.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from shiftboss.core.rotation import LogLimits
from shiftboss.engine.capture import Capture


async def engine(task: dict, last: bool) -> None:
    capture = Capture(task["record"])
    logs = task["logs"]
    random.shuffle(logs)
    for entry, process, run, descriptor, path, max_bytes, backups in logs:
        capture.attach(entry, process, run, os.dup(descriptor), path, LogLimits(max_bytes, backups))
        await asyncio.sleep(random.random() / 1000)
    capture.settled()
    if not last:
        await asyncio.sleep(60)
    deadline = time.monotonic() + 60
    while any(status.pipes for status in capture.report()):
        assert time.monotonic() < deadline, capture.report()
        await asyncio.sleep(0.01)
    report = [status._asdict() for status in capture.report()]
    await capture.close()
    sys.stdout.write(json.dumps(report))
    sys.stdout.flush()


def start(task: dict, last: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(engine(task, last))
        os._exit(0)
    finally:
        os._exit(1)


def stored(task: dict) -> int:
    return sum(
        part.stat().st_size
        for log in task["logs"]
        for part in Path(log[4]).parent.glob(f"{Path(log[4]).name}*")
    )


def main() -> None:
    task = json.load(sys.stdin)
    dice = random.Random(task["seed"])
    for _ in range(task["kills"]):
        pid = start(task, last=False)
        time.sleep(dice.random() * task["longest_ms"] / 1000)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if stored(task) < task["least_bytes"]:  # a busy machine killed most engines before they did anything
        pid = start(task, last=False)
        deadline = time.monotonic() + 60
        while stored(task) < task["least_bytes"] and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for writer in task["writers"]:
        os.kill(writer, signal.SIGTERM)
    pid = start(task, last=True)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
