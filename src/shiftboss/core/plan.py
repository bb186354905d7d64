"""Plans: the ordered actions that bring a machine from what is to what is wanted, as values."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field


class MakeDirectory(Struct, frozen=True):
    """Create a directory (parents too) with this owner and mode; an existing one is left as it is."""

    target: str
    path: str
    uid: int
    gid: int
    mode: int
    kind = "make-directory"


class CreateUser(Struct, frozen=True):
    """Create a system account without a login, with a group of its own name; it must not exist yet."""

    target: str
    user: str
    home: str
    kind = "create-user"


class FurnishDirectory(Struct, frozen=True):
    """Create a directory (parents too) for an account that this plan may only just have made; see MakeDirectory.

    `group` is the account whose group it gets; `owner` is an account too, "" for root.
    """

    target: str
    path: str
    owner: str
    group: str
    mode: int
    kind = "make-directory"


class CreateFile(Struct, frozen=True):
    """Create an empty file with this owner and mode, never through a link; an existing one is left as it is."""

    target: str
    path: str
    uid: int
    gid: int
    mode: int
    kind = "create-file"


class WriteFile(Struct, frozen=True):
    """Replace (or create) a file of ours atomically.

    `before` is the text the plan was made from (None: there was no file); `keep_copy` names where the
    old text is kept first (adoption of a file that we did not write).
    """

    target: str
    path: str
    content: str
    before: str | None
    mode: int = 0o644
    restarts: tuple[str, ...] = ()
    keep_copy: str = ""
    kind = "write-file"


class RemoveFile(Struct, frozen=True):
    """Remove a file of ours; `before` is the text the plan was made from."""

    target: str
    path: str
    before: str
    kind = "remove-file"


class UpdateGroup(Struct, frozen=True):
    """Make the running Supervisor take over one group from its (re-read) files.

    `change` says what the files now hold; a changed or removed group is stopped first, which may take
    up to `stop_wait_seconds`. `restarts` are the addresses of the processes that end by it.
    """

    target: str
    group: str
    change: Literal["add", "change", "remove"]
    stop_wait_seconds: int = 10
    restarts: tuple[str, ...] = ()
    kind = "update-group"


class ChangeOwner(Struct, frozen=True):
    """Give an existing directory or regular file (never a link) this owner and mode; its content stays."""

    target: str
    path: str
    type: Literal["directory", "file"]
    uid: int
    gid: int
    mode: int
    kind = "change-owner"


class ReloadEngine(Struct, frozen=True):
    """Make the native engine go by the manifest of one project as it is then.

    `starts` are units and processes that it does not run yet, `restarts` the addresses of processes that end or restart,
    `ends` those among them that do not come back; they get up to `stop_wait_seconds`. `schedules` are those that it
    does not have yet, or otherwise.
    """

    target: str
    starts: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    restarts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    stop_wait_seconds: float = 0
    kind = "reload-engine"


class StartProcess(Struct, frozen=True):
    """Start a process that should run and does not; `name` is its name at the backend (`group:process`)."""

    target: str
    name: str
    backend: str
    kind = "start-process"


Action = (
    MakeDirectory
    | CreateUser
    | FurnishDirectory
    | CreateFile
    | ChangeOwner
    | WriteFile
    | RemoveFile
    | UpdateGroup
    | ReloadEngine
    | StartProcess
)


class Conflict(Struct, frozen=True):
    """Something we did not make, or that somebody changed, stands in the way; nothing is done about it unasked.

    `remedy` names the option that overrides it (`--force`, `--adopt`), or is empty if nothing does.
    """

    target: str
    path: str
    reason: str
    hint: str
    remedy: Literal["--force", "--adopt", ""] = ""


class Override(Struct, frozen=True):
    """What the user allowed: overwrite hand edits (`force`), take over foreign files (`adopt`)."""

    force: bool = False
    adopt: bool = False


class Plan(Struct, frozen=True):
    """Actions in the order of their performance, what stands in the way, and what the user should know."""

    actions: tuple[Action, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()
    untouched: tuple[str, ...] = field(default=())

    @property
    def restarts(self) -> tuple[str, ...]:
        """Addresses of the processes that end or restart when this plan is performed."""
        return tuple(sorted({a for action in self.actions for a in getattr(action, "restarts", ())}))


def merge(plans: Iterable[Plan]) -> Plan:
    """Put plans one after the other; an action or a note that several of them have stands there once."""
    parts = tuple(plans)
    return Plan(
        actions=tuple(dict.fromkeys(a for p in parts for a in p.actions)),
        conflicts=tuple(c for p in parts for c in p.conflicts),
        notes=tuple(dict.fromkeys(n for p in parts for n in p.notes)),
        untouched=tuple(u for p in parts for u in p.untouched),
    )


def file_diff(action: Action) -> str:
    """Return the unified diff of a file action, an empty string for any other action."""
    if isinstance(action, WriteFile):
        return _diff(action.path, action.before, action.content)
    if isinstance(action, RemoveFile):
        return _diff(action.path, action.before, None)
    return ""


def _diff(path: str, before: str | None, after: str | None) -> str:
    import difflib  # only who wants to see the differences needs it

    lines = difflib.unified_diff(
        (before or "").splitlines(keepends=True),
        (after or "").splitlines(keepends=True),
        fromfile=path if before is not None else "/dev/null",
        tofile=path if after is not None else "/dev/null",
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
