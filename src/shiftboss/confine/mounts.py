"""Mounts and other system calls that Python 3.11 does not offer, for confine/isolation.py. Linux >= 5.10, Linux only.

The system calls since 5.1 have one number on every architecture, keyctl(2) has not. Each function raises OSError with what failed.
"""

import ctypes
import errno
import os
import sys

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_SLAVE = 16384, 1 << 19
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE, _FSMOUNT_CLOEXEC = 1, 1, 6, 1
_OPEN_TREE_CLONE, _AT_RECURSIVE, _AT_EMPTY_PATH = 1, 0x8000, 0x1000
_MOVE_FROM_FD, _MOVE_TO_FD = 0x4, 0x40
_MOUNT_ATTR_RDONLY = 1
_AT_FDCWD = -100
_SYS_KEYCTL = {
    "x86_64": 250,
    "aarch64": 219,
    "riscv64": 219,
    "loongarch64": 219,
    "ppc64le": 271,
    "s390x": 280,
}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 38, 23, 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_AF_INET, _SOCK_DGRAM_CLOEXEC = 2, 2 | 0o2000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave namespaces that are shared with other processes."""
    if _libc.unshare(flags):
        raise _failure("cannot make a namespace")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Attach a file system, or change how one is attached."""
    words = [os.fsencode(word) for word in (source, target, kind, options)]
    if _libc.mount(words[0], words[1], words[2], flags, words[3]):
        raise _failure(f"cannot mount on {target}")


def make_tmpfs(flags: int, options: str) -> int:
    """Return a descriptor of an empty file system in memory, attached nowhere yet.

    `flags`: of MS_NOSUID, MS_NODEV and MS_NOEXEC, whose MOUNT_ATTR_ twins have the same numbers.
    """
    context = _libc.syscall(_SYS_FSOPEN, b"tmpfs", ctypes.c_uint(_FSOPEN_CLOEXEC))
    if context < 0:
        raise _failure("cannot make a tmpfs")
    try:
        for option in options.split(","):
            key, _, value = option.partition("=")
            _configure(context, _FSCONFIG_SET_STRING, os.fsencode(key), os.fsencode(value))
        _configure(context, _FSCONFIG_CMD_CREATE, None, None)
        tree: int = _libc.syscall(
            _SYS_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(_FSMOUNT_CLOEXEC), ctypes.c_uint(flags)
        )
        if tree < 0:
            raise _failure("cannot make a tmpfs")
        return tree
    finally:
        os.close(context)


def _configure(context: int, command: int, key: bytes | None, value: bytes | None) -> None:
    words = (ctypes.c_int(context), ctypes.c_uint(command), key, value, ctypes.c_int(0))
    if _libc.syscall(_SYS_FSCONFIG, *words) < 0:
        raise _failure("cannot make a tmpfs")


def clone_tree(descriptor: int) -> int:
    """Return a descriptor of a copy of all mounts from a directory or file on; attached nowhere yet."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | _AT_RECURSIVE
    tree: int = _libc.syscall(_SYS_OPEN_TREE, ctypes.c_int(descriptor), b"", ctypes.c_uint(flags))
    if tree < 0:
        raise _failure("cannot copy a mount")
    return tree


def attach(tree: int, place: int) -> None:
    """Mount a copied tree on the directory or file of the descriptor `place`."""
    flags = ctypes.c_uint(_MOVE_FROM_FD | _MOVE_TO_FD)
    if _libc.syscall(_SYS_MOVE_MOUNT, ctypes.c_int(tree), b"", ctypes.c_int(place), b"", flags):
        raise _failure("cannot attach a mount")


def make_read_only() -> None:
    """Make every mount of this namespace read-only (one call since Linux 5.12, before that one for each mount)."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    place, flags = ctypes.c_int(_AT_FDCWD), ctypes.c_uint(_AT_RECURSIVE)
    if _libc.syscall(_SYS_MOUNT_SETATTR, place, b"/", flags, ctypes.byref(attributes), size):
        _make_each_read_only()


def _make_each_read_only() -> None:
    """Change the mounts that a path leads to; one that another covers is out of reach, for the program as well."""
    kept = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
    with open("/proc/self/mountinfo", "rb") as file:
        rows = [line.split()[:6] for line in file]
    for number, _, _, _, point, options in rows:
        path = point.decode("unicode_escape").encode("latin-1")
        place = _open_mount(path, number)
        if place >= 0:
            flags = sum(kept.get(word, 0) for word in options.decode().split(","))
            _remount_read_only(place, path, flags)


def _open_mount(path: bytes, number: bytes) -> int:
    """Return a descriptor of a mount's root, -1 if its path leads elsewhere."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    with open(f"/proc/self/fdinfo/{place}", "rb") as file:
        if b"mnt_id:\t%s\n" % number in file.read():
            return place
    os.close(place)
    return -1


def _remount_read_only(place: int, path: bytes, flags: int) -> None:
    try:
        target = b"/proc/self/fd/%d" % place
        if _libc.mount(b"", target, b"", MS_REMOUNT | MS_BIND | MS_RDONLY | flags, b""):
            raise _failure(f"cannot make {os.fsdecode(path)} read-only")
    finally:
        os.close(place)


def leave_session_keyring() -> None:
    """Take a new and empty session keyring (keyctl(2)): whoever has one can use all keys in it, whatever its user."""
    number = _SYS_KEYCTL.get(os.uname().machine) if sys.maxsize > 1 << 32 else None
    if number is None:
        raise OSError(errno.EINVAL, "keyctl(2) has another number on this architecture")
    if _libc.syscall(number, ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING), None) < 0:
        raise _failure("cannot take a new session keyring")


def forbid_new_privileges() -> None:
    """Let setuid and setgid programs give no rights from here on (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _failure("cannot forbid new privileges")


def drop_capabilities() -> None:
    """Take every capability out of the bounding set, for good; those of this process go with its user."""
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0):
            raise _failure("cannot drop capabilities")
        number += 1
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def raise_loopback() -> None:
    """Bring up `lo`, which is down in a new network namespace."""
    socket: int = _libc.socket(_AF_INET, _SOCK_DGRAM_CLOEXEC, 0)
    if socket < 0:
        raise _failure("cannot open a socket")
    request = ctypes.create_string_buffer(b"lo", 40)
    try:
        if _libc.ioctl(socket, _SIOCGIFFLAGS, request):
            raise _failure("cannot read the state of lo")
        request[16] = bytes([request.raw[16] | _IFF_UP])
        if _libc.ioctl(socket, _SIOCSIFFLAGS, request):
            raise _failure("cannot bring up lo")
    finally:
        os.close(socket)
