"""Why a run is to begin: its time has come and cron starts us, or somebody asks for it now."""

import os
import time

from shiftboss.launcher.order import Address, read_paused
from shiftboss.launcher.spool import Row


class Occasion:
    """One occurrence of a schedule. `who` asked for it, "" for cron; `row` is what the spool tells of it in any case."""

    def __init__(self, orders: str, address: Address, who: str = "") -> None:
        moment = now()
        due = int(moment if who else moment - moment % 60)
        self._orders, self._address, self._is_asked = orders, address, bool(who)
        self.row: Row = {"due": due, "cause": f"by {who}"} if who else {"due": due}
        self.words = f"by {who}" if who else f"due {shown(due)}"

    def paused_by(self) -> str:
        """Return who paused the schedule, "" if nobody did: what a person asks for runs all the same."""
        return "" if self._is_asked else read_paused(self._orders, self._address)

    def tell(self, words: str) -> None:
        """Say a line to whoever asks; to cron nothing, it would be mailed."""
        try:
            if self._is_asked:
                os.write(1, f"{words}\n".encode())
        except OSError:  # who asked does not wait for the answer any more
            return


def now() -> float:
    """Return the time for people: when it was due, when it began. How long something takes is monotonic."""
    return time.time()  # noqa: TID251 -- see above


def shown(at: float) -> str:
    """Return a time with its offset."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at))
    return f"{text[:-2]}:{text[-2:]}"
