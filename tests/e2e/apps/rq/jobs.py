"""A job for RQ that leaves marks."""

import os
import time
from pathlib import Path


def work(name: str, seconds: float) -> None:
    """Take so many seconds, and leave a mark before and after."""
    marks = Path(os.environ["MARKS"])
    (marks / f"{name}.started").touch()
    time.sleep(seconds)
    (marks / f"{name}.done").touch()
