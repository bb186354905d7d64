"""A Dramatiq application: one actor that leaves marks."""

import os
import time
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=f"unix://{os.environ['REDIS_SOCKET']}"))


@dramatiq.actor
def work(name: str, seconds: float) -> None:
    """Take so many seconds, and leave a mark before and after."""
    marks = Path(os.environ["MARKS"])
    (marks / f"{name}.started").touch()
    time.sleep(seconds)
    (marks / f"{name}.done").touch()
