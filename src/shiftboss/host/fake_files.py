"""Files in memory: the `Files` port with owners, modes, links and refusals, for tests and rehearsals.

The same suite runs over this and the real one (`tests/contract/test_files_port.py`). Groups are looked at as far
as the primary one; there are no ACLs, devices or hard links.
"""

import contextlib
import errno
import os
import posixpath
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from shiftboss.core.facts import PathFacts, PathType
from shiftboss.core.spec import Account
from shiftboss.host.fake_faults import Faults
from shiftboss.host.files import LIMIT, MAX_LINKS, decoded, matches, not_regular, refused, refusing, too_large
from shiftboss.host.ports import Clock

_READ, _WRITE, _SEARCH = 4, 2, 1
_ROOT = 0


class Node(Struct, frozen=True):
    """What stands at a path; `data` is the content of a file, `target` that of a link."""

    type: PathType
    uid: int = _ROOT
    gid: int = _ROOT
    mode: int = 0o644
    data: bytes = b""
    target: str = ""
    modified: float = 0.0


class FakeFiles:
    """The `Files` port in memory, used by `own` as a real program of that account would be.

    `read_only` are directories on a file system that refuses every change; `held` are locks that somebody
    else holds. Every call passes `faults` (as `files.stage`, …) with its path.
    """

    def __init__(self, own: Account, clock: Clock, faults: Faults) -> None:
        self._own = own
        self._clock = clock
        self._faults = faults
        self._nodes: dict[str, Node] = {"/": Node("directory", mode=0o755)}
        self._staged = 0
        self.read_only: set[str] = set()
        self.held: set[str] = set()

    # What is not in the port: the hand of whoever builds the world.

    def put(self, path: str, node: Node) -> None:
        """Put a node at a path as it is, its missing parents as root's directories."""
        parent = posixpath.dirname(path)
        if parent not in self._nodes:
            self.put(parent, Node("directory", mode=0o755))
        self._nodes[path] = node

    def write(
        self, path: str, text: str | bytes = "", *, uid: int = _ROOT, gid: int = _ROOT, mode: int = 0o644
    ) -> None:
        """Put a regular file there."""
        data = text.encode() if isinstance(text, str) else text
        self.put(path, Node("file", uid, gid, mode, data, modified=self._now()))

    def directory(self, path: str, *, uid: int = _ROOT, gid: int = _ROOT, mode: int = 0o755) -> None:
        """Put a directory there; what is in it stays."""
        self.put(path, Node("directory", uid, gid, mode))

    def link(self, path: str, target: str, *, uid: int = _ROOT) -> None:
        """Put a symbolic link there."""
        self.put(path, Node("link", uid, uid, 0o777, target=target))

    def append(self, path: str, data: bytes) -> None:
        """Append to a file as a program does that has it open; a missing file is created."""
        node = self._nodes.get(path) or Node("file")
        self.put(path, replace(node, data=node.data + data, modified=self._now()))

    def delete(self, path: str) -> None:
        """Take away what is there, with everything below it."""
        for found in [p for p in self._nodes if p == path or p.startswith(f"{path}/")]:
            del self._nodes[found]

    def node(self, path: str) -> Node | None:
        """Return what stands at a path, None if nothing does."""
        return self._nodes.get(path)

    def text(self, path: str) -> str:
        """Return the text of a file that must be there."""
        return self._nodes[path].data.decode()

    def snapshot(self) -> dict[str, Node]:
        """Return everything but times, to compare."""
        return {path: replace(node, modified=0.0) for path, node in self._nodes.items()}

    # The port.

    def read(self, path: str) -> str | None:
        with refusing("read", path):
            node = self._opened("read", path)
            if node is not None and len(node.data) > LIMIT:
                raise too_large(LIMIT)
        return None if node is None else decoded(node.data, path)

    def read_as(self, account: Account, path: str, *, limit: int) -> str | None:
        self._faults.reach("files.read_as", path)
        user = self._own if self._own.uid else account
        try:
            node = self._nodes[self.resolve(path, user)]
            _require(node, user, _READ)
        except OSError:
            return None
        fits = node.type == "file" and len(node.data) <= limit
        return node.data.decode(errors="replace") if fits else None

    def read_offered(self, account: Account, path: str, *, limit: int) -> str | None:
        user = self._own if self._own.uid else account
        with refusing("read", path):
            self._faults.reach("files.read_offered", path)
            directory, name = posixpath.split(path)
            try:
                node = self._nodes.get(_joined(self.resolve(directory, user), name))
            except FileNotFoundError:
                return None
            if node is None:
                return None
            if node.type == "link":
                raise _os_error(errno.ELOOP)
            _require(node, user, _READ)
            if node.type != "file":
                raise not_regular()
            if len(node.data) > limit:
                raise too_large(limit)
        return decoded(node.data, path)

    def read_matching(self, directory: str, pattern: str) -> dict[str, str]:
        found = {}
        for path in self.matching(directory, pattern):
            facts = self.stat(path)
            if facts is not None and facts.type == "file" and (text := self.read(path)) is not None:
                found[path] = text
        return found

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        with refusing("read", directory):
            self._faults.reach("files.matching", directory)
            place = self._beneath(directory)
            _require(self._nodes[place], self._own, _READ)
        names = [
            posixpath.basename(path)
            for path, node in self._nodes.items()
            if posixpath.dirname(path) == place and path != place and node.type != "directory"
        ]
        return tuple(f"{directory}/{name}" for name in sorted(names) if matches(name, pattern))

    def stat(self, path: str) -> PathFacts | None:
        self._faults.reach("files.stat", path)
        try:
            node = self._nodes[self._place(path, trusting=True)]
        except (FileNotFoundError, NotADirectoryError, KeyError):
            return None
        except OSError as error:
            raise refused("look at", path, error) from error
        return PathFacts(node.uid, node.gid, node.mode, node.type)

    def survey(self, account: Account, directory: str) -> dict[str, PathFacts]:
        user = self._own if self._own.uid else account
        try:
            place = self._beneath(directory)
            _require(self._nodes[place], user, _READ)
        except OSError:
            return {}
        inside = [path for path in self._nodes if posixpath.dirname(path) == place and path != place]
        names = {directory: place} | {f"{directory}/{posixpath.basename(path)}": path for path in inside}
        nodes = {name: self._nodes[path] for name, path in names.items()}
        return {name: PathFacts(node.uid, node.gid, node.mode, node.type) for name, node in nodes.items()}

    def modified(self, path: str) -> float | None:
        self._faults.reach("files.modified", path)
        try:
            node = self._nodes[self._place(path, trusting=True)]
        except (OSError, KeyError):
            return None
        return node.modified if node.type == "file" and node.data else None

    def real_path(self, path: str) -> str | None:
        self._faults.reach("files.real_path", path)
        try:
            return self.resolve(path, self._own)
        except OSError:
            return None

    def stage(self, path: str, text: str, mode: int) -> str:
        directory, name = posixpath.split(path)
        with refusing("write", path):
            self._faults.reach("files.stage", path)
            place = self._writable(directory)
            self._staged += 1
            staged = f".{name}.{self._staged:08x}~"
            own = self._own
            self._nodes[_joined(place, staged)] = Node(
                "file", own.uid, own.gid, mode, text.encode(), modified=self._now()
            )
        return f"{directory}/{staged}"

    def commit(self, staged: str, path: str) -> None:
        directory, name = posixpath.split(path)
        with refusing("write", path):
            self._faults.reach("files.commit", path)
            place = self._writable(directory)
            old, new = _joined(place, posixpath.basename(staged)), _joined(place, name)
            if old not in self._nodes:
                raise _os_error(errno.ENOENT)
            if new in self._nodes and self._nodes[new].type == "directory":
                raise _os_error(errno.EISDIR)
            self._nodes[new] = self._nodes.pop(old)

    def remove(self, path: str) -> None:
        directory, name = posixpath.split(path)
        with refusing("remove", path), contextlib.suppress(FileNotFoundError):
            self._faults.reach("files.remove", path)
            place = _joined(self._beneath(directory), name)
            if place not in self._nodes:
                return
            self._writable(directory)
            if self._nodes[place].type == "directory":
                raise _os_error(errno.EISDIR)
            del self._nodes[place]

    def make_directory(self, path: str, uid: int, gid: int, mode: int) -> None:
        parent, name = posixpath.split(path)
        with refusing("create", path):
            self._faults.reach("files.make_directory", path)
            self._make_at(self._beneath(parent, create=True), name, uid, gid, mode)

    def create_file(self, path: str, uid: int, gid: int, mode: int) -> None:
        directory, name = posixpath.split(path)
        with refusing("create", path):
            self._faults.reach("files.create_file", path)
            place = _joined(self._beneath(directory), name)
            if place in self._nodes:
                if self._nodes[place].type != "file":
                    raise OSError(errno.ELOOP, "it is a link or no regular file")
                return
            self._writable(directory)
            self._nodes[place] = Node("file", *self._owner(uid, gid), mode, modified=self._now())

    def change_owner(self, path: str, type: PathType, uid: int, gid: int, mode: int) -> None:
        directory, name = posixpath.split(path)
        with refusing("change the owner of", path):
            self._faults.reach("files.change_owner", path)
            place = _joined(self._beneath(directory), name)
            node = self._nodes.get(place)
            if node is None:
                raise OSError(errno.ENOENT, "no such file or directory")
            if node.type != type:
                raise OSError(errno.EINVAL, f"it is no {type}")
            owner = self._owner(uid, gid)
            self._nodes[place] = replace(node, uid=owner[0], gid=owner[1], mode=mode)

    @contextlib.contextmanager
    def lock(self, path: str, waiting: Callable[[], None]) -> Iterator[None]:
        directory, name = posixpath.split(path)
        with refusing("lock", path):
            self._faults.reach("files.lock", path)
            place = _joined(self._beneath(directory, create=True), name)
            if place not in self._nodes:
                self._writable(directory)
                self._nodes[place] = Node("file", self._own.uid, self._own.gid, 0o600)
            self._opened("lock", path)
        if path in self.held:
            waiting()
        assert path not in self.held, f"would wait for ever: nobody lets go of {path}"
        self.held.add(path)
        try:
            yield
        finally:
            self.held.discard(path)

    def tail(self, path: str, max_bytes: int) -> bytes:
        with refusing("read", path):
            node = self._opened("tail", path)
        return b"" if node is None else node.data[max(0, len(node.data) - max_bytes) :]

    def size(self, path: str) -> int:
        with refusing("read", path):
            node = self._opened("size", path)
        return 0 if node is None else len(node.data)

    # Paths and rights, by the rules of the real one.

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _opened(self, call: str, path: str) -> Node | None:
        """Return the regular file that may be read there, None if there is none; raises OSError."""
        self._faults.reach(f"files.{call}", path)
        directory, name = posixpath.split(path)
        try:
            node = self._nodes.get(_joined(self._beneath(directory), name))
        except FileNotFoundError:
            return None
        if node is None:
            return None
        if node.type == "link":
            raise _os_error(errno.ELOOP)
        _require(node, self._own, _READ)
        if node.type != "file":
            raise not_regular()
        return node

    def _writable(self, directory: str) -> str:
        place = self._beneath(directory)
        if any(place == top or place.startswith(f"{top}/") for top in self.read_only):
            raise _os_error(errno.EROFS)
        _require(self._nodes[place], self._own, _WRITE | _SEARCH)
        return place

    def _make_at(self, place: str, name: str, uid: int, gid: int, mode: int) -> None:
        path = _joined(place, name)
        if path not in self._nodes:
            self._writable(place)
            self._nodes[path] = Node("directory", *self._owner(uid, gid), mode)

    def _owner(self, uid: int, gid: int) -> tuple[int, int]:
        return (uid, gid) if self._own.uid == _ROOT else (self._own.uid, self._own.gid)

    def _place(self, path: str, *, trusting: bool) -> str:
        """Return the path of an entry whose directory is resolved; the entry itself may be absent or a link."""
        directory, name = posixpath.split(path)
        return _joined(self._walk(directory, self._own, trusting=trusting), name)

    def _beneath(self, directory: str, *, create: bool = False) -> str:
        return self._walk(directory, self._own, trusting=False, create=create)

    def resolve(self, path: str, user: Account) -> str:
        """Return where a path finally leads for a user, following every link; raises OSError."""
        directory, name = posixpath.split(path)
        for _ in range(MAX_LINKS):
            place = _joined(self._walk(directory, user, trusting=True), name)
            if place not in self._nodes:
                raise _os_error(errno.ENOENT)
            if self._nodes[place].type != "link":
                return place
            target = posixpath.join(posixpath.dirname(place), self._nodes[place].target)
            directory, name = posixpath.split(posixpath.normpath(target))
        raise _os_error(errno.ELOOP)

    def _walk(self, directory: str, user: Account, *, trusting: bool, create: bool = False) -> str:
        parts, place, links = [part for part in directory.split("/") if part], "/", 0
        while parts:
            part = parts.pop(0)
            _require(self._nodes[place], user, _SEARCH)
            if create and part != "..":
                self._make_at(place, part, _ROOT, _ROOT, 0o755)
            step = posixpath.normpath(_joined(place, part))
            node = self._nodes.get(step)
            if node is None:
                raise _os_error(errno.ENOENT)
            if node.type == "link":
                links += 1
                self._check_link(node, part, links, trusting=trusting)
                parts = [p for p in node.target.split("/") if p] + parts
                step = "/" if node.target.startswith("/") else place
            elif node.type != "directory":
                raise _os_error(errno.ENOTDIR)
            place = step
        _require(self._nodes[place], user, _SEARCH)
        return place

    def _check_link(self, node: Node, name: str, links: int, *, trusting: bool) -> None:
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, "too many links")
        if not trusting and node.uid not in {_ROOT, self._own.uid}:
            raise OSError(errno.ELOOP, f"{name} is a link made by uid {node.uid}")


def _joined(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _require(node: Node, user: Account, access: int) -> None:
    if not may(node, user, access):
        raise _os_error(errno.EACCES)


def may(node: Node, user: Account, access: int) -> bool:
    """Tell whether the mode bits give a user `access` (bits of rwx)."""
    if user.uid == _ROOT:
        return True
    shift = 6 if node.uid == user.uid else 3 if node.gid == user.gid else 0
    return (node.mode >> shift) & access == access


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def disk_full() -> OSError:
    """Return what a full disk answers: plant it at a call of the files."""
    return _os_error(errno.ENOSPC)
