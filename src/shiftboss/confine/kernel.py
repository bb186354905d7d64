"""System calls that Python 3.11 does not offer: prctl(2), clone3(2) into a cgroup, inotify(7)."""

import ctypes
import errno
import os
import signal
import struct

# below Python's `signal`, whose wrappers are slow (see program.py)
from _signal import SIG_BLOCK, SIG_UNBLOCK, pthread_sigmask  # type: ignore[import-not-found]  # not in typeshed
from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36
_SYS_CLONE3 = 435  # the same on every architecture
_CLONE_INTO_CGROUP = 0x200000000
_IN_CREATE, _IN_DELETE, _IN_MOVED, _IN_SELF = 0x100, 0x200, 0xC0, 0xC00
_IN_ONLYDIR = 0x01000000
_IN_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
_EVENT = struct.Struct("iIII")
IN_OVERFLOW = 0x4000

_NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
# PyDLL keeps the GIL: the child of clone3 must not have to take it again
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t]
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
_after_fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent


_CLONE_FIELDS = (
    "flags",
    "pidfd",
    "child_tid",
    "parent_tid",
    "exit_signal",
    "stack",
    "stack_size",
    "tls",
    "set_tid",
    "set_tid_size",
    "cgroup",
)


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in _CLONE_FIELDS)


_clone_args = _CloneArgs(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD)
_clone_address, _clone_size = ctypes.addressof(_clone_args), ctypes.sizeof(_clone_args)


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process; raise OSError."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise _failure("cannot become a subreaper")


def fork(blocked: tuple[int, ...], cgroup: str = "") -> tuple[int, bool]:
    """Fork; return pid (0 in the child) and whether the child was born in `cgroup`, a directory of cgroup v2.

    It is not where the kernel or a seccomp filter does not allow that (the child may join it then). A cgroup that
    cgroup.kill was used on kills each child that is born in it (seen with Linux 6.18): use a new one. In the
    child the signals `blocked` are blocked until it has taken the handlers of this process off. Raises OSError
    (EAGAIN…).
    """
    pthread_sigmask(SIG_BLOCK, blocked)
    pid = -1
    try:
        if cgroup and (pid := _fork_into(cgroup)) >= 0:
            return pid, True
        pid = os.fork()
        return pid, False
    finally:
        if pid != 0:
            pthread_sigmask(SIG_UNBLOCK, blocked)


def birth_works(cgroup: str) -> bool:
    """Tell whether a child can be born in a new cgroup; not if our own was once ended by cgroup.kill (see fork)."""
    pid, born = fork((), cgroup)
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0 and born


def _fork_into(cgroup: str) -> int:
    """Return the pid, -1 where this cannot be done.

    Writing to cgroup.procs instead takes 10 to 16 ms (it waits for an RCU grace period). Only for a process
    that has never had a second thread: glibc's fork handlers are passed over.
    """
    try:
        _clone_args.cgroup = directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return -1
    _before_fork()
    pid: int = _libc.syscall(_SYS_CLONE3, _clone_address, _clone_size)
    if pid == 0:
        _after_fork_child()
        return 0
    number = ctypes.get_errno()
    _after_fork_parent()
    os.close(directory)
    if pid < 0 and number in _NO_ROOM:
        raise OSError(number, os.strerror(number))
    return pid


def open_inotify() -> int:
    """Return a new inotify descriptor, non-blocking, closed at exec; raise OSError."""
    descriptor: int = _libc.inotify_init1(_IN_CLOEXEC_NONBLOCK)
    if descriptor < 0:
        raise _failure("cannot watch directories")
    return descriptor


def watch_directory(inotify: int, path: str) -> int:
    """Watch the names in a directory, and the directory's own end; return the watch's number; raise OSError."""
    mask = _IN_CREATE | _IN_DELETE | _IN_MOVED | _IN_SELF | _IN_ONLYDIR
    watch: int = _libc.inotify_add_watch(inotify, os.fsencode(path), mask)
    if watch < 0:
        raise _failure(f"cannot watch {path}")
    return watch


def unwatch(inotify: int, watch: int) -> None:
    """Remove a watch; one that is not there is no error."""
    _libc.inotify_rm_watch(inotify, watch)


def inotify_events(raw: bytes) -> Iterator[tuple[int, int, str]]:
    """Return (watch, mask, name) of each event in what was read from an inotify descriptor."""
    at = 0
    while at < len(raw):
        watch, mask, _, length = _EVENT.unpack_from(raw, at)
        name = raw[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
        yield watch, mask, os.fsdecode(name)
        at += _EVENT.size + length
