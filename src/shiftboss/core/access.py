"""Who may ask the engine for what: decided by numbers (uids, gids), purely.

Root, the group `shiftboss` and the owner of an engine in user mode may do everything. Others may act on exactly the
projects that are theirs: the project's own user and its operators control it, its viewers look at it. What they may
not look at does not exist for them: neither an answer nor an error tells them about it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from shiftboss.core.errors import DeniedError, UserError
from shiftboss.core.names import parse_target, suggest
from shiftboss.core.wire.entry import Entry, Grants

Access = Literal["anyone", "read", "operate", "admin"]
"""What a call needs. `anyone`: nothing but a right on some project; `read`, `operate`: on each project that it is
about, which its arguments name as `targets` or `target`; `admin`: it is about the whole server."""
Level = Literal["none", "read", "operate"]

GROUP = "shiftboss"
OTHER_BACKENDS = "Units on Supervisor and cron are root's alone to control."
_ONLY_ROOT = "Only root and members of the group shiftboss may: use sudo, or ask whoever runs this server."


class Caller(NamedTuple):
    """Who asks, as the kernel tells it. `is_admin`: may do everything."""

    uid: int
    groups: frozenset[int] = frozenset()
    is_admin: bool = False


class Rights(NamedTuple):
    """Whose a project is: its own user, and whom root named in its file."""

    user: int
    grants: Grants = Grants()


class Projects(NamedTuple):
    """Whose all projects are, by name; `users` and `groups` have a right on at least one of them."""

    rights: Mapping[str, Rights] = {}
    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()


def projects_of(entries: Iterable[Entry]) -> Projects:
    """Return whose each project of a manifest is; all entries of a project say the same."""
    found: dict[str, Rights] = {}
    for entry in entries:
        found.setdefault(entry.project, Rights(entry.uid, entry.policy.grants))
    grants = [rights.grants for rights in found.values()]
    named = (number for grant in grants for number in (*grant.operators, *grant.viewers))
    groups = (number for grant in grants for number in (*grant.operator_groups, *grant.viewer_groups))
    return Projects(found, frozenset((*named, *(r.user for r in found.values()))), frozenset(groups))


def level(caller: Caller, rights: Rights | None) -> Level:
    """Return what a caller may do with a project (None: there is none of that name)."""
    if rights is None:
        return "none"
    grants = rights.grants
    if caller.uid == rights.user or _is_among(caller, grants.operators, grants.operator_groups):
        return "operate"
    return "read" if _is_among(caller, grants.viewers, grants.viewer_groups) else "none"


def allowed(caller: Caller, access: Access, rights: Rights | None) -> bool:
    """Tell whether a caller may make a call that needs `access`, about a project with these rights."""
    if caller.is_admin:
        return True
    found = level(caller, rights)
    return found == "operate" if access == "operate" else access != "admin" and found != "none"


def is_stranger(caller: Caller, projects: Projects) -> bool:
    """Tell whether nothing at all on this server is the caller's to look at."""
    known = caller.is_admin or caller.uid in projects.users
    return not known and caller.groups.isdisjoint(projects.groups)


def may_read(caller: Caller, target: str, projects: Projects) -> bool:
    """Tell whether a caller may hear of an address; an empty one is the backend itself."""
    return caller.is_admin or allowed(caller, "read", projects.rights.get(target.partition("/")[0]))


def narrowed(caller: Caller, access: Access, targets: tuple[str, ...], projects: Projects) -> tuple[str, ...]:
    """Return the targets that a call may be about: as they are, or all that are the caller's where none was named.

    Raises DeniedError for what the caller may see and not do, and UserError, in the words that stand for a
    project that does not exist, for what the caller may not see.
    """
    if caller.is_admin:
        return targets
    if access == "admin":
        raise DeniedError("permission denied: this is about the whole server", hint=_ONLY_ROOT)
    if not targets:
        return _all(caller, access, projects)
    for text in targets:
        _check(caller, access, parse_target(text).project, projects)
    return targets


def no_such_project(name: str, known: Iterable[str]) -> UserError:
    """Return the error for a project that does not exist, or not for the caller: nobody can tell which."""
    return UserError(
        f"no unit of project '{name}' runs here{suggest(name, known)}",
        hint=f"See what runs with: shiftboss status. {OTHER_BACKENDS}",
    )


def _all(caller: Caller, access: Access, projects: Projects) -> tuple[str, ...]:
    found = _allowed(caller, access, projects)
    if not found:
        verb = "control" if access == "operate" else "look at"
        raise DeniedError(f"permission denied: no project here is yours to {verb}", hint=_ONLY_ROOT)
    return found


def _allowed(caller: Caller, access: Access, projects: Projects) -> tuple[str, ...]:
    return tuple(sorted(name for name, rights in projects.rights.items() if allowed(caller, access, rights)))


def _check(caller: Caller, access: Access, name: str, projects: Projects) -> None:
    rights = projects.rights.get(name)
    if allowed(caller, access, rights):
        return
    if allowed(caller, "read", rights):
        raise DeniedError(
            f"permission denied: you may look at {name}, not control it",
            hint=f"Root can name you under [project] operators in the file of {name}.",
        )
    raise no_such_project(name, _allowed(caller, "read", projects))


def _is_among(caller: Caller, users: tuple[int, ...], groups: tuple[int, ...]) -> bool:
    return caller.uid in users or not caller.groups.isdisjoint(groups)
