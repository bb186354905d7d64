"""Shuts a process in: performs the steps that core/isolation.py chose, before the drop to the project's user.

Each step is a row of words, its name first:

    keys                            a session keyring of its own: that of whoever started us may hold secrets of root
    mounts                          a mount namespace of its own; mounts of the machine still come in, none goes out
    hide PARENT OWN…                cover PARENT; of what is in it only OWN… can be seen. What is made there later
                                    stays unseen, what changes in OWN (a new release) is seen at once
    outlying LIST OWN…              the same with each directory in a file of root: lines `project directory`
    proc                            a /proc that does not show processes of other users
    read_only WRITABLE…             everything read-only but these
    tmp DIRECTORY BYTES KEPT…       a temporary directory of its own; KEPT… below it can still be seen
    devices                         a /dev with null, zero, full, random, urandom, tty and an shm of its own
    oom_score NUMBER                the kernel ends it before others when the machine runs out of memory
    capabilities                    none, whatever is executed later
    network                         a network of its own with nothing but lo
    no_new_privs                    setuid programs give no rights

Where the machine does not let us make namespaces (no root, a container without CAP_SYS_ADMIN), or hide /proc, that
is told in a note and the program starts all the same; once inside a namespace, a step that fails ends the start.
Paths are walked without following links of anybody but root: a project must not choose what is covered.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable

from shiftboss.confine import mounts
from shiftboss.confine.steps import StepError

_NEEDS_NAMESPACE = ("hide", "outlying", "proc", "read_only", "tmp", "devices")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_SHM_BYTES = 64 * 1024**2
_PATH = os.O_PATH | os.O_CLOEXEC
_SEALED = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_LOOSE = mounts.MS_NOSUID | mounts.MS_NODEV
Row = tuple[str, ...]
Step = Callable[[list[str], list[str]], None]


def isolate(rows: tuple[Row, ...]) -> list[str]:
    """Perform the steps; return what this machine does not allow, in words for people. Raise StepError."""
    notes: list[str] = []
    inside = False
    umask = os.umask(0o022)  # for the directories of mount points
    try:
        for name, *words in rows:
            if name == "mounts":
                inside = _perform(_enter_namespace, name, words, notes)
            elif name not in _STEPS:
                raise StepError("isolation", errno.EINVAL, f"cannot isolate: there is no step {name}")
            elif inside or name not in _NEEDS_NAMESPACE:
                _perform(_STEPS[name], name, words, notes)
    finally:
        os.umask(umask)
    return notes


def _perform(step: Step, name: str, words: list[str], notes: list[str]) -> bool:
    try:
        step(words, notes)
    except OSError as error:
        _judge(name, error, notes)
        return False
    return True


def _judge(name: str, error: OSError, notes: list[str]) -> None:
    """Make a note of what the machine does not allow; raise StepError for everything else."""
    refused = error.errno in (
        errno.EPERM,
        errno.EACCES,
        errno.ENOSYS,
        errno.EINVAL,
        errno.ENOSPC,
        errno.EUSERS,
    )
    lacking = {
        "mounts": "other projects and processes are not hidden",
        "keys": "it can use the kernel's keys of whoever started shiftboss",
        "oom_score": "it is not the first to be ended when memory runs out",
        "proc": "processes of other users are not hidden",
        "network": "it has no network of its own",
        "capabilities": "capabilities are not dropped",
    }
    why = error.strerror or str(error)
    if not refused or name not in lacking:
        raise StepError("isolation", error.errno or 0, f"cannot isolate ({name}): {why}") from None
    notes.append(f"{lacking[name]}: {why}")


def _leave_keys(_words: list[str], _notes: list[str]) -> None:
    """Without root the keys are the user's own; what a filter or the kernel refuses us, it refuses the program too."""
    try:
        if os.geteuid() == 0:
            mounts.leave_session_keyring()
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise


def _enter_namespace(_words: list[str], _notes: list[str]) -> None:
    mounts.unshare(mounts.CLONE_NEWNS)
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_SLAVE)


def _hide(words: list[str], notes: list[str]) -> None:
    parent, *own = words
    try:
        place = _walk("/", parent)
    except OSError as error:
        notes.append(f"what is in {parent} is not hidden: {error.strerror}")
        return
    if place >= 0:
        _seal(place, parent, own)
    elif os.path.isdir(parent):
        notes.append(f"what is in {parent} is not hidden: a link of an ordinary user leads there")
    else:
        notes.append(
            f"{parent} does not exist yet: what comes to be there is not hidden before the next start"
        )


def _hide_outlying(words: list[str], notes: list[str]) -> None:
    """Of what is not there, or led away by a link of its own user, nothing is said: it is another project's affair."""
    listed, *own = words
    for directory in _read_places(listed):
        if directory in own:
            continue
        try:
            place = _walk("/", directory)
        except OSError as error:  # on a network file system that root may not enter
            notes.append(f"a directory of another project is not hidden: {error.strerror}")
            continue
        if place >= 0:
            _seal(place, directory, _outermost(path for path in own if path.startswith(f"{directory}/")))


def _outermost(paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith(f"{above}/") for above in found):
            found.append(path)
    return found


def _read_places(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:  # all projects lie in the layout
        return []
    return [line.partition(" ")[2] for line in lines if line[:1] != "#"]


def _seal(place: int, directory: str, own: list[str]) -> None:
    """Hide what is in an opened directory, but for some below it."""
    empty = _cover(place, directory, own, _SEALED, "mode=755,size=64k,nr_inodes=256")
    sealed = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY | _SEALED
    mounts.mount("", f"/proc/self/fd/{empty}", "", sealed)
    os.close(empty)


def _cover(place: int, directory: str, kept: list[str], flags: int, options: str) -> int:
    """Mount an empty file system on an opened directory, with some of those below it in their places; return it."""
    trees = [(path, _copy(inner)) for path in kept if (inner := _walk("/", path)) >= 0]
    empty = mounts.make_tmpfs(flags, options)
    mounts.attach(empty, place)
    os.close(place)
    for path, tree in trees:
        _attach(tree, _made(empty, os.path.relpath(path, directory)))
    return empty


def _made(above: int, path: str) -> int:
    """Make the directories of a path in a new file system, and return a descriptor of the last."""
    place = os.dup(above)
    for name in path.split("/"):
        if not os.access(name, os.F_OK, dir_fd=place):  # nobody else knows of it
            os.mkdir(name, 0o755, dir_fd=place)
        inner = os.open(name, _PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
        os.close(place)
        place = inner
    return place


def _copy(place: int) -> int:
    try:
        return mounts.clone_tree(place)
    finally:
        os.close(place)


def _attach(tree: int, place: int) -> None:
    try:
        mounts.attach(tree, place)
    finally:
        os.close(tree)
        os.close(place)


def _walk(above: str, path: str) -> int:
    """Return a descriptor of a directory below `above`, -1 if there is none. Only links of root are followed."""
    place = os.open(above, _PATH | os.O_DIRECTORY)
    for name in os.path.relpath(path, above).split("/"):
        try:
            inner = _step_down(name, place)
        except (FileNotFoundError, NotADirectoryError):
            return -1
        finally:
            os.close(place)
        place = inner
    return place


def _step_down(name: str, place: int) -> int:
    entry = os.open(name, _PATH | os.O_NOFOLLOW, dir_fd=place)
    found = os.fstat(entry)
    if stat.S_ISDIR(found.st_mode):
        return entry
    try:
        if not stat.S_ISLNK(found.st_mode) or found.st_uid:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        # what was looked at is what is read: a project cannot put its own link here meanwhile
        return os.open(os.readlink("", dir_fd=entry), _PATH | os.O_DIRECTORY, dir_fd=place)
    finally:
        os.close(entry)


def _hide_processes(_words: list[str], _notes: list[str]) -> None:
    flags = _SEALED
    mounts.mount("proc", "/proc", "proc", flags, "hidepid=invisible")  # per mount since Linux 5.8


def _make_read_only(words: list[str], notes: list[str]) -> None:
    """The writable ones are copied while they are writable, and attached when all is read-only."""
    places = [(path, _walk("/", path)) for path in words]
    notes += [f"{path} cannot be written: there is no such directory" for path, place in places if place < 0]
    copies = [(mounts.clone_tree(place), place) for _, place in places if place >= 0]
    mounts.make_read_only()
    for tree, place in copies:
        _attach(tree, place)


def _private_tmp(words: list[str], _notes: list[str]) -> None:
    directory, size, *kept = words
    place = _walk("/", directory)
    if place >= 0:
        os.close(_cover(place, directory, kept, _LOOSE, f"mode=1777,size={size}"))


def _few_devices(_words: list[str], _notes: list[str]) -> None:
    places = [(name, os.open(f"/dev/{name}", _PATH)) for name in _DEVICES if os.path.exists(f"/dev/{name}")]
    log = os.path.realpath("/dev/log")
    mode = stat.S_IMODE(os.stat(log).st_mode) if os.path.exists(log) else 0
    if mode and log == "/dev/log":
        places.append(("log", os.open(log, _PATH)))
    trees = [(name, _copy(place)) for name, place in places]
    mounts.mount(
        "tmpfs", "/dev", "tmpfs", mounts.MS_NOSUID | mounts.MS_NOEXEC, "mode=755,size=64k,nr_inodes=64"
    )
    for name, tree in trees:
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        _attach(tree, os.open(f"/dev/{name}", _PATH | os.O_NOFOLLOW))
    links = _DEVICE_LINKS | ({"log": log} if mode and log != "/dev/log" else {})
    for name, target in links.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm", 0o1777)  # noqa: S108 -- a new and empty one
    mounts.mount("tmpfs", "/dev/shm", "tmpfs", _LOOSE, f"mode=1777,size={_SHM_BYTES}")  # noqa: S108 -- same
    sealed = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NOEXEC
    mounts.mount("", "/dev", "", sealed)


def _private_network(_words: list[str], _notes: list[str]) -> None:
    mounts.unshare(mounts.CLONE_NEWNET)
    mounts.raise_loopback()


def _offer_first(words: list[str], _notes: list[str]) -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, words[0].encode())
    finally:
        os.close(descriptor)


_STEPS: dict[str, Step] = {
    "keys": _leave_keys,
    "hide": _hide,
    "outlying": _hide_outlying,
    "proc": _hide_processes,
    "read_only": _make_read_only,
    "tmp": _private_tmp,
    "devices": _few_devices,
    "oom_score": _offer_first,
    "capabilities": lambda _words, _notes: mounts.drop_capabilities(),
    "network": _private_network,
    "no_new_privs": lambda _words, _notes: mounts.forbid_new_privileges(),
}
