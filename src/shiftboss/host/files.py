"""Files, written atomically and opened without following links that somebody else may have planted."""

import contextlib
import errno
import fcntl
import fnmatch
import itertools
import os
import stat
from collections.abc import Callable, Iterator

from shiftboss.core.errors import HostError
from shiftboss.core.facts import PathFacts, PathType
from shiftboss.core.spec import Account
from shiftboss.host.accounts import acting_as

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait
LIMIT = 1024 * 1024
MAX_LINKS = 20
_MOST_ENTRIES = 2000


class RealFiles:
    """The `Files` port on this machine."""

    def read(self, path: str) -> str | None:
        with refusing("read", path):
            data = _read_at(path)
        return None if data is None else decoded(data, path)

    def read_as(self, account: Account, path: str, *, limit: int) -> str | None:
        try:
            with acting_as(account):  # so a link leads nowhere that the account could not go by itself
                descriptor = os.open(path, _READ & ~os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb"):
                return _content(descriptor, limit).decode(errors="replace")
        except OSError:
            return None

    def read_offered(self, account: Account, path: str, *, limit: int) -> str | None:
        with refusing("read", path):
            try:
                with acting_as(account):
                    descriptor = _open_last(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                data = _content(descriptor, limit)
            finally:
                os.close(descriptor)
        return decoded(data, path)

    def read_matching(self, directory: str, pattern: str) -> dict[str, str]:
        found = {}
        for path in self.matching(directory, pattern):
            facts = self.stat(path)
            text = self._text_of_any(path) if facts is not None and facts.type == "file" else None
            if text is not None:
                found[path] = text
        return found

    def _text_of_any(self, path: str) -> str | None:
        """Read a file that may be anybody's: bytes that are no UTF-8 must not stop us from reading the others."""
        with refusing("read", path):
            data = _read_at(path)
        return None if data is None else data.decode(errors="replace")

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        with refusing("read", directory), beneath(directory) as descriptor, os.scandir(descriptor) as entries:
            names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        return tuple(f"{directory}/{name}" for name in sorted(names) if matches(name, pattern))

    def stat(self, path: str) -> PathFacts | None:
        try:
            facts = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise refused("look at", path, error) from error
        return _facts(facts)

    def survey(self, account: Account, directory: str) -> dict[str, PathFacts]:
        found = {}
        try:
            with acting_as(account), beneath(directory) as descriptor, os.scandir(descriptor) as entries:
                found[directory] = _facts(os.fstat(descriptor))
                for entry in itertools.islice(entries, _MOST_ENTRIES):
                    found[f"{directory}/{entry.name}"] = _facts(entry.stat(follow_symlinks=False))
        except OSError:
            return found
        return found

    def modified(self, path: str) -> float | None:
        try:
            facts = os.lstat(path)
        except OSError:
            return None
        return facts.st_mtime if stat.S_ISREG(facts.st_mode) and facts.st_size else None

    def real_path(self, path: str) -> str | None:
        try:
            return os.path.realpath(path, strict=True)
        except OSError:
            return None

    def stage(self, path: str, text: str, mode: int) -> str:
        directory, name = os.path.split(path)
        staged = f"{directory}/.{name}.{os.urandom(4).hex()}~"
        with refusing("write", path), beneath(directory) as parent:
            try:
                _write_new(parent, os.path.basename(staged), text, mode)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.basename(staged), dir_fd=parent)
                raise
        return staged

    def commit(self, staged: str, path: str) -> None:
        directory, name = os.path.split(path)
        with refusing("write", path), beneath(directory) as parent:
            os.rename(os.path.basename(staged), name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def remove(self, path: str) -> None:
        directory, name = os.path.split(path)
        with refusing("remove", path), contextlib.suppress(FileNotFoundError), beneath(directory) as parent:
            os.unlink(name, dir_fd=parent)

    def make_directory(self, path: str, uid: int, gid: int, mode: int) -> None:
        parent, name = os.path.split(path)
        with refusing("create", path), beneath(parent, create=True) as descriptor:
            _make_directory_at(descriptor, name, uid, gid, mode)

    def create_file(self, path: str, uid: int, gid: int, mode: int) -> None:
        directory, name = os.path.split(path)
        with refusing("create", path), beneath(directory) as parent:
            try:
                descriptor = os.open(
                    name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=parent
                )
            except FileExistsError:
                _require_regular(parent, name, path)
                return
            with contextlib.closing(os.fdopen(descriptor, "wb")):
                _own(descriptor, uid, gid, mode)

    def change_owner(self, path: str, type: PathType, uid: int, gid: int, mode: int) -> None:
        directory, name = os.path.split(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with refusing("change the owner of", path), beneath(directory) as parent:
            descriptor = os.open(name, flags | (os.O_DIRECTORY if type == "directory" else 0), dir_fd=parent)
            try:
                facts = os.fstat(descriptor)
                if type == "file" and (not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1):
                    raise OSError(errno.EINVAL, "it is no regular file, or has several names")
                _own(descriptor, uid, gid, mode)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def lock(self, path: str, waiting: Callable[[], None]) -> Iterator[None]:
        with refusing("lock", path), beneath(os.path.dirname(path), create=True) as parent:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            # 0600: whoever can open the file could hold the lock for ever
            descriptor = os.open(os.path.basename(path), flags, 0o600, dir_fd=parent)
        try:
            _take_lock(descriptor, waiting)
            yield
        finally:
            os.close(descriptor)

    def tail(self, path: str, max_bytes: int) -> bytes:
        try:
            with opened(path, _READ) as descriptor:
                os.lseek(descriptor, max(0, _regular_size(descriptor) - max_bytes), os.SEEK_SET)
                return _read_up_to(descriptor, max_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise refused("read", path, error) from error

    def size(self, path: str) -> int:
        try:
            with opened(path, _READ) as descriptor:
                return _regular_size(descriptor)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise refused("read", path, error) from error


def _take_lock(descriptor: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextlib.contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    """Open a file below directories that `beneath` trusts; raises OSError."""
    directory, name = os.path.split(path)
    with beneath(directory) as parent:
        descriptor = os.open(name, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def beneath(directory: str, *, create: bool = False) -> Iterator[int]:
    """Open a directory; a link on the way is followed only if root or we ourselves made it.

    With `create` what is missing on the way is made (root's, 0755). Raises OSError(ELOOP) for any other link:
    its owner could lead us anywhere.
    """
    descriptor = _walk(directory, create=create)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(directory: str, *, create: bool) -> int:
    parts = [part for part in directory.split("/") if part]
    descriptor, links = os.open("/", os.O_PATH | os.O_DIRECTORY), 0
    try:
        while parts:
            part = parts.pop(0)
            if create and not _is_there(descriptor, part):
                _make_directory_at(descriptor, part, 0, 0, 0o755)
            if target := _trusted_link(descriptor, part, directory, links):
                links += 1
                parts = [p for p in target.split("/") if p] + parts
                part = "/" if target.startswith("/") else "."
            descriptor = _step(descriptor, part)
    except BaseException:
        os.close(descriptor)
        raise
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(".", flags, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _is_there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _step(descriptor: int, part: str) -> int:
    below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    os.close(descriptor)
    return below


def _trusted_link(parent: int, name: str, directory: str, followed: int) -> str:
    """Return where a link leads, an empty string if `name` is no link; refuse strangers' links and loops."""
    facts = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(facts.st_mode):
        return ""
    if facts.st_uid not in {0, os.geteuid()}:
        raise OSError(errno.ELOOP, f"{name} is a link made by uid {facts.st_uid}", directory)
    if followed == MAX_LINKS:
        raise OSError(errno.ELOOP, "too many links", directory)
    return os.readlink(name, dir_fd=parent)


def _open_last(path: str) -> int:
    """Open a file for reading: links are followed on the way, not in the last step; raises OSError."""
    directory, name = os.path.split(path)
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.open(name, _READ, dir_fd=parent)
    finally:
        os.close(parent)


def _read_at(path: str) -> bytes | None:
    try:
        with opened(path, _READ) as descriptor:
            return _content(descriptor, LIMIT)
    except FileNotFoundError:
        return None


def _content(descriptor: int, limit: int) -> bytes:
    if _regular_size(descriptor) > limit:
        raise too_large(limit)
    return _read_up_to(descriptor, limit)


def _regular_size(descriptor: int) -> int:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise not_regular()
    return facts.st_size


def not_regular() -> OSError:
    """Return the error for a directory, a FIFO, a device where a file is meant."""
    return OSError(errno.EINVAL, "it is no regular file")


def too_large(limit: int) -> OSError:
    """Return the error for a file of more than `limit` bytes."""
    return OSError(errno.EFBIG, f"it has more than {limit} bytes")


def _read_up_to(descriptor: int, limit: int) -> bytes:
    chunks, left = [], limit
    while left > 0 and (chunk := os.read(descriptor, min(left, 1 << 16))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def matches(name: str, pattern: str) -> bool:
    """Tell whether a glob means a name; as in a shell, a dot at its beginning must be written."""
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def decoded(data: bytes, path: str) -> str:
    """Return UTF-8 as text; raises HostError that names the file."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise HostError(
            f"cannot read {path}: it is not UTF-8 text", hint=f"Convert or move {path} away."
        ) from error


def _write_new(parent: int, name: str, text: str, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, mode, dir_fd=parent), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _make_directory_at(parent: int, name: str, uid: int, gid: int, mode: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        _own(descriptor, uid, gid, mode)
    finally:
        os.close(descriptor)


def _own(descriptor: int, uid: int, gid: int, mode: int) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, mode)  # after chown, which clears set-group-ID


def _require_regular(parent: int, name: str, path: str) -> None:
    if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, "it is a link or no regular file", path)


def _facts(found: os.stat_result) -> PathFacts:
    return PathFacts(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), _path_type(found.st_mode))


def _path_type(mode: int) -> PathType:
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "other"


@contextlib.contextmanager
def refusing(verb: str, path: str) -> Iterator[None]:
    """Turn an OSError inside into the HostError that says what could not be done to `path`."""
    try:
        yield
    except OSError as error:
        raise refused(verb, path, error) from error


_HINTS = {
    errno.EACCES: "Run the command as root (sudo).",
    errno.EPERM: "Run the command as root (sudo).",
    errno.EROFS: "The file system is read-only: remount it, or configure another directory.",
    errno.ENOSPC: "The disk is full: free some space (df -h) and run the command again.",
    errno.EDQUOT: "The disk quota is used up: free some space and run the command again.",
    errno.ENOENT: "A directory on that path does not exist: create it, or configure another one.",
    errno.ENOTDIR: "Something on that path is no directory: move it away, or configure another one.",
    errno.EISDIR: "There is a directory where a file should be: look at it (ls -ld) and move it away.",
    errno.EINVAL: "Look at it (ls -l) and move it away.",
    errno.EIO: "The disk reports an error: see what the kernel says (dmesg).",
    errno.EFBIG: "Look at it (ls -l): nothing of ours is that large. Move it away.",
    errno.ELOOP: "Somebody put a link there that could lead anywhere: look at it (ls -l) and remove it.",
}


def refused(verb: str, path: str, error: OSError) -> HostError:
    """Return the HostError for an OSError: what could not be done, why, and the mend."""
    why = (error.strerror or str(error)).lower()
    return HostError(
        f"cannot {verb} {path}: {why}", hint=_HINTS.get(error.errno or 0, f"Look at it (ls -ld {path}).")
    )
