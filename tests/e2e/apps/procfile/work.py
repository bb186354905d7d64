"""A worker without any framework: takes files `NAME.QUEUE` that hold a number of seconds; SIGTERM lets it end its job."""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

stopping = False


def stop(number: int, frame: FrameType | None) -> None:
    """Remember that no other job shall be begun."""
    global stopping
    stopping = True


def work(job: Path) -> None:
    """Take as long as the job says, and leave a mark before and after."""
    end = time.monotonic() + float(job.read_text())
    job.rename(job.with_suffix(".started"))
    while time.monotonic() < end:
        time.sleep(0.05)
    job.with_suffix(".done").touch()


signal.signal(signal.SIGTERM, stop)
print("ready for", *sys.argv[1:], flush=True)
while not stopping:
    for waiting in sorted(Path(os.environ["MARKS"]).glob(f"*.{sys.argv[1]}")):
        work(waiting)
    time.sleep(0.05)
