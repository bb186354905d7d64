"""Wait for an event with a deadline: the only way a test waits."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], deadline: float = 10, *, what: str = "", interval: float = 0.02
) -> T:
    """Call `condition` every `interval` seconds until it returns something true, and return that.

    Raises AssertionError after `deadline` seconds; it names `what` was waited for and what came last.
    Exceptions of `condition` pass through.
    """
    end = time.monotonic() + deadline
    while True:
        last = condition()
        if last:
            return last
        if time.monotonic() >= end:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"waited {deadline:g} s for {name}, last saw {last!r}")
        time.sleep(interval)
