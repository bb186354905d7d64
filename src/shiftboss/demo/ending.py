"""Signals: one way out of the demo, and nothing that disturbs its end."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def one_way_out() -> None:
    """Let `kill` and a closed terminal end the demo as Ctrl-C does: through every `finally`."""
    for number in _NUMBERS:
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Tidy up to the end: a second Ctrl-C must not leave things behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
