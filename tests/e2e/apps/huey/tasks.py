"""A Huey application: one task that leaves marks."""

import os
import time
from pathlib import Path

from huey import RedisHuey

huey = RedisHuey("shop", url=f"unix://{os.environ['REDIS_SOCKET']}")


@huey.task()
def work(name: str, seconds: float) -> None:
    """Take so many seconds, and leave a mark before and after."""
    marks = Path(os.environ["MARKS"])
    (marks / f"{name}.started").touch()
    time.sleep(seconds)
    (marks / f"{name}.done").touch()
