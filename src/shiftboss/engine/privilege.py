"""Giving up root for good, before any input is read."""

import os
import resource

from shiftboss.host.engine_account import engine_identity


def raise_descriptor_limit() -> None:
    """Use as many descriptors as we may: each process's output takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_up_root(state: str) -> None:
    """Become the engine's own user if we are root, with `state` as a directory of its own (0700).

    Raises LookupError where there is nobody to become, OSError where the machine refuses. A state directory
    that cannot be made is no error here: the store reports it.
    """
    if os.geteuid() != 0:
        _make_directory(state, -1, -1)
        return
    uid, gid = engine_identity()
    _make_directory(state, uid, gid)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check_for_good()


def _make_directory(path: str, uid: int, gid: int) -> None:
    """Make a directory and give it its owner; what lies there already keeps its content, links are not followed."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)
    except OSError:
        return


def _check_for_good() -> None:
    for regain in (os.setuid, os.setgid):
        try:
            regain(0)
        except PermissionError:
            continue
        raise AssertionError("root could be taken back")
