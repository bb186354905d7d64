"""Whether the lock of a task with `withoutOverlapping` is held by somebody, or was left behind.

The lock is an entry in the application's cache, not bound to a process: after a kill -9, a reboot or a lost
`schedule:finish` it stays, and its task is left out in silence until the lock expires (24 hours if the application
does not say otherwise; Illuminate/Console/Scheduling/Event.php, `withoutOverlapping`).
"""

from typing import Literal

from msgspec import Struct

LockState = Literal["free", "busy", "long", "stuck", "unknown"]
"""`busy`: its task runs. `long`: it runs, and far longer than usual. `stuck`: nobody holds it. `unknown`: nothing
tells."""

GRACE_SECONDS = 5.0
"""A lock is taken some moments before its process is there, and freed some moments after it is gone."""
_TIMES_USUAL = 3.0
_UNUSUAL_SECONDS = 60.0


class LockFacts(Struct, frozen=True):
    """What is known of the lock of one task; None: not known.

    `locked`: the lock is taken. `lives`: a process of the task lives on this server. `age_seconds`: at least so long
    it has been taken without a break. `usual_seconds`: how long the task usually takes.
    """

    locked: bool | None
    lives: bool | None = None
    age_seconds: float | None = None
    usual_seconds: float | None = None


def judge_lock(facts: LockFacts) -> LockState:
    """Return what a lock is: free, busy, long, stuck or unknown.

    Without a process it is stuck once it is older than the grace; where processes cannot be seen, once it is older
    than three times what the task usually takes and a minute more.
    """
    if not facts.locked:
        return "unknown" if facts.locked is None else "free"
    overdue = _is_overdue(facts)
    if facts.lives:
        return "long" if overdue else "busy"
    if facts.lives is False and facts.age_seconds is not None:
        return "stuck" if facts.age_seconds > GRACE_SECONDS else "busy"
    return "stuck" if overdue else "unknown"


def _is_overdue(facts: LockFacts) -> bool:
    if facts.age_seconds is None or facts.usual_seconds is None:
        return False
    return facts.age_seconds > _TIMES_USUAL * facts.usual_seconds + _UNUSUAL_SECONDS
