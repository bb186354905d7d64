"""What is wrong or will go wrong on a server, as findings; this page: users, groups and rights of accounts.

Facts come in, findings go out. A mend is one command line to copy; it never lets root follow a link that a
project could have planted: what a project owns is changed as its user, owners are changed with `chown -h`.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from shiftboss.core.facts import GroupFacts, PathFacts
from shiftboss.core.spec import Project

Level = Literal["problem", "caution", "note"]
WEB_USERS = frozenset({"www-data", "nginx", "apache", "http", "caddy", "lighttpd"})
# to be in one of these is to be root, or to read what only root may
_DOORS = frozenset(
    {"root", "sudo", "wheel", "admin", "docker", "lxd", "incus", "libvirt", "disk", "kmem", "shadow"}
)
_OURS = "shiftboss"  # see core/access.py: its members may do everything on the engine
_SUDO_LINE = re.compile(r"[ \t]*(?P<who>[^\s#@=][^\s=]*)[ \t]+\S+[ \t]*=")


class Finding(Struct, frozen=True):
    """One thing that was found. `code` names its rule; `mend` is a command line, "" where only a person can decide."""

    level: Level
    code: str
    target: str
    message: str
    mend: str = ""


class Tenant(Struct, frozen=True):
    """A project as it was seen. `known` is false if its account does not exist.

    `entries` are the facts of the project's own directory and of what is in it, in `shared` and in the release,
    by absolute path (links not followed); `release` is "" if there is none inside the project. `env_files`: paths
    that its units name as such; their facts are among `entries` as well. `written_users` and `written_groups` are the
    numbers that its units are started with, as it stands in what keeper and launcher read.
    """

    project: Project
    known: bool = True
    places: Mapping[str, PathFacts] = {}
    entries: Mapping[str, PathFacts] = {}
    release: str = ""
    log_writer: Literal["engine", "root", ""] = ""
    env_files: frozenset[str] = frozenset()
    written_users: frozenset[int] = frozenset()
    written_groups: frozenset[int] = frozenset()


class Server(Struct, frozen=True):
    """What is the same for all projects. `sudoers`: path to text; `system` is true where we act as root."""

    groups: tuple[GroupFacts, ...]
    engine_uid: int
    system: bool = True
    sudoers: Mapping[str, str] = {}


def account_findings(tenants: Iterable[Tenant], server: Server) -> tuple[Finding, ...]:
    """Return what is wrong with the users and groups of projects; nothing where all is one ordinary user's."""
    everyone = tuple(tenants)
    if not server.system:
        return ()
    found: list[Finding] = []
    for tenant in everyone:
        if not tenant.known:
            found.append(_missing(tenant.project))
            continue
        found += _power(tenant.project, server)
        found += _left(tenant, server)
        found += _sharing(tenant.project, [other.project for other in everyone if other.known])
        found += _strangers(tenant.project, [other.project for other in everyone], server)
    return tuple(found)


def _missing(project: Project) -> Finding:
    return Finding(
        "problem",
        "user-missing",
        project.name,
        f"its user {project.account.name} does not exist",
        f"shiftboss project add {project.name} --create-user",
    )


def _power(project: Project, server: Server) -> Iterator[Finding]:
    """Yield what makes the user of a project more than a user."""
    user = project.account.name
    if project.account.uid == 0:
        yield Finding("problem", "user-is-root", project.name, f"it runs as {user}, with all rights of root",
                      f"shiftboss project add {project.name} --user {project.name}_user --create-user")  # fmt: skip
        return
    groups = {g.name for g in server.groups if user in g.members or g.gid in project.account.groups}
    for group in sorted(groups & _DOORS):
        yield Finding("problem", "powerful-group", project.name, f"{user} is in the group {group}, which leads to root's rights",
                      _leave(user, group))  # fmt: skip
    if _OURS in groups:
        yield Finding("problem", "powerful-group", project.name, f"{user} is in the group {_OURS}, which controls the units of all projects and reads their logs",
                      _leave(user, _OURS))  # fmt: skip
    for path, text in sorted(server.sudoers.items()):
        if any(_grants(line, user, groups - _DOORS) for line in text.splitlines()):
            yield Finding("problem", "sudo", project.name, f"{user} has rights of sudo by {path}",
                          f"visudo -f {shlex.quote(path)}")  # fmt: skip


def _left(tenant: Tenant, server: Server) -> Iterator[Finding]:
    """Yield whose numbers its units still get: they were written down when its user had them, and was in these groups."""
    project, account = tenant.project, tenant.project.account
    if others := tenant.written_users - {account.uid}:
        shown = ", ".join(map(str, sorted(others)))
        yield Finding("problem", "left-user", project.name, f"its units are still started with the user id {shown}, which is not {account.name}'s: whoever has that number can stop and read them",
                      f"shiftboss apply {project.name}")  # fmt: skip
    left = tenant.written_groups - {account.gid, *account.groups}
    if left:
        names = {group.gid: group.name for group in server.groups}
        shown = ", ".join(names.get(gid, f"gid {gid}") for gid in sorted(left))
        yield Finding("problem", "left-group", project.name, f"its units are still started with the group {shown}, which {account.name} has left",
                      f"shiftboss apply {project.name}")  # fmt: skip


def _grants(line: str, user: str, groups: set[str]) -> bool:
    """Tell whether a line of sudoers(5) is about a user or one of its groups; aliases are not resolved."""
    found = _SUDO_LINE.match(line)
    names = set(found["who"].split(",")) if found else set()
    return bool(names & ({user, "ALL"} | {f"%{group}" for group in groups}))


def _sharing(project: Project, everyone: list[Project]) -> Iterator[Finding]:
    """Yield what projects have in common; each pair is told once, by the later of the two names."""
    for other in everyone:
        if other.name >= project.name:
            continue
        if other.account.uid == project.account.uid:
            yield Finding("problem", "shared-user", project.name,
                          f"it runs as {project.account.name}, as {other.name} does: each can read and stop the other",
                          f"shiftboss project add {project.name} --user {project.name}_user --create-user")  # fmt: skip
        elif other.account.gid == project.account.gid:
            yield Finding("problem", "shared-group", project.name,
                          f"its primary group {project.account.group} is also that of {other.name}",
                          f"groupadd --system {project.account.name} && usermod -g {project.account.name} {project.account.name}")  # fmt: skip


def _strangers(project: Project, everyone: list[Project], server: Server) -> Iterator[Finding]:
    """Yield who else is in the group of a project, and so may read what it lets its group read."""
    owners = {other.account.name: other for other in everyone}
    group = next((g for g in server.groups if g.gid == project.account.gid), None)
    for member in group.members if group else ():
        other = owners.get(member)
        assert group is not None
        if member == project.account.name or (other and other.account.gid == group.gid):
            continue  # the latter is told by `_sharing`
        words = f"is in the group {group.name} of {project.name}"
        if other is not None:
            yield Finding("problem", "foreign-project-user", project.name,
                          f"{member}, the user of {other.name}, {words}", _leave(member, group.name))  # fmt: skip
        elif member in WEB_USERS:
            yield Finding("note", "web-user", project.name, f"{member} {words}: usual where a web server reads its files")  # fmt: skip
        else:
            yield Finding("caution", "foreign-user", project.name, f"{member} {words} and may read its files",
                          _leave(member, group.name))  # fmt: skip


def _leave(user: str, group: str) -> str:
    return f"gpasswd -d {shlex.quote(user)} {shlex.quote(group)}"
