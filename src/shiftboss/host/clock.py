"""The clocks of this machine."""

import time
from datetime import datetime


class RealClock:
    """The `Clock` port on this machine."""

    def now(self) -> datetime:
        return datetime.now().astimezone()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
