"""What is wrong with a log: why it cannot be written, when to try again, what was lost meanwhile."""

import logging

from shiftboss.core.rotation import lost_mark

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_REPEAT_SECONDS = 60.0  # the same trouble is logged once in so long
_HANGS = "the disk did not answer"


class Trouble:
    """`problem` is empty or says what cannot be done; `lost` counts the bytes dropped since the engine started."""

    __slots__ = ("_logged", "_path", "_reason", "_retry_at", "_unmarked", "lost", "problem")

    def __init__(self, path: str) -> None:
        self.problem = ""
        self.lost = 0
        self._path = path
        self._reason = _HANGS
        self._retry_at = 0.0
        self._unmarked = 0
        self._logged: tuple[str, float] = ("", 0.0)

    def comes(self, verb: str, error: OSError, now: float) -> None:
        """Take note of an error: the file is left alone for a second."""
        self._retry_at = now + _RETRY_SECONDS
        self.notes(verb, error, now)

    def notes(self, verb: str, error: OSError, now: float) -> None:
        """Take note of an error that lets the file be written all the same."""
        self._reason = (error.strerror or str(error)).lower()
        self.problem = f"cannot {verb} {self._path}: {self._reason}"
        if self.problem != self._logged[0] or now - self._logged[1] >= _REPEAT_SECONDS:
            log.warning("%s", self.problem, extra={"event": "log_degraded"})
            self._logged = (self.problem, now)

    def lasts(self, now: float) -> bool:
        """Tell whether it is too early to try again."""
        return now < self._retry_at

    def is_over(self) -> None:
        """Take note that the file is written."""
        log.info("%s is written again", self._path, extra={"event": "log_recovered"})
        self.problem, self._reason = "", _HANGS

    def loses(self, count: int) -> None:
        """Count bytes that were dropped."""
        self.lost += count
        self._unmarked += count

    def has_unmarked_loss(self) -> bool:
        """Tell whether the log does not show yet that something is missing."""
        return self._unmarked > 0

    def mark(self) -> bytes:
        """Return the line that shows it."""
        return lost_mark(self._unmarked, self._reason)

    def marked(self) -> None:
        """Take note that the line is written."""
        self._unmarked = 0
