"""Whether the lock of a task with `withoutOverlapping` is held by somebody, or was left behind.

The lock is an entry in the application's cache, not bound to a process: after a kill -9, a reboot or a lost
`schedule:finish` it stays, and its task is left out in silence until the lock expires (24 hours if the application
does not say otherwise; Illuminate/Console/Scheduling/Event.php, `withoutOverlapping`).
"""

from typing import Literal

from msgspec import Struct

LockState = Literal["free", "busy", "stuck", "unknown"]
"""`busy`: its task runs, or may begin or end just now. `stuck`: nobody holds it. `unknown`: nothing tells."""

GRACE_SECONDS = 5.0
"""A lock is taken some moments before its process is there, and freed some moments after it is gone."""


class LockFacts(Struct, frozen=True):
    """What is known of the lock of one task; None: not known.

    `locked`: the lock is taken. `lives`: a process of the task lives on this server. `seen_seconds`: for so long it has
    been seen without a process.
    """

    locked: bool | None
    lives: bool | None = None
    seen_seconds: float | None = None


def judge_lock(facts: LockFacts) -> LockState:
    """Return what a lock is: free, busy, stuck or unknown.

    It is stuck if nobody holds it on two looks with the grace between them, however old it is: how long the task
    usually takes is not known (docs/adr/0015-locks-that-nobody-holds.md).
    """
    if not facts.locked:
        return "unknown" if facts.locked is None else "free"
    if facts.lives:
        return "busy"
    if facts.lives is None or facts.seen_seconds is None:
        return "unknown"
    return "stuck" if facts.seen_seconds > GRACE_SECONDS else "busy"
