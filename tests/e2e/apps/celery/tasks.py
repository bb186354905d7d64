"""A Celery application: one task that leaves marks, and a beat that asks for it each second."""

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("shop", broker=f"redis+socket://{os.environ['REDIS_SOCKET']}")
app.conf.beat_schedule = {"tick": {"task": "tasks.work", "schedule": 1.0, "args": ("tick", 0)}}


@app.task
def work(name: str, seconds: float) -> None:
    """Take so many seconds, and leave a mark before and after."""
    marks = Path(os.environ["MARKS"])
    (marks / f"{name}.started").touch()
    time.sleep(seconds)
    (marks / f"{name}.done").touch()
