"""The log of a schedule, as root must open it: it lies where the project's user can put other things in its place."""

import os
import stat

from shiftboss.launcher.order import Order

_MODE = 0o640
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_log(order: Order) -> "tuple[int, str]":
    """Open the log with the rights of the project's user, never through a link; return it and what was wrong.

    Where it cannot be had, or is no regular file, the run takes place all the same, and what it prints is lost.
    """
    try:
        descriptor = _open_as_user(order)
    except OSError as error:
        return _nothing(), f"cannot write {order.log}: {error.strerror}"
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor, ""
    os.close(descriptor)
    return _nothing(), f"cannot write {order.log}: it is no regular file"


def _open_as_user(order: Order) -> int:
    if os.geteuid() != 0:
        return os.open(order.log, _FLAGS, _MODE)
    groups = os.getgroups()
    try:
        os.setgroups(order.groups)
        os.setegid(order.gid)
        os.seteuid(order.uid)
        return os.open(order.log, _FLAGS, _MODE)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _nothing() -> int:
    return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
