"""Findings about owners and modes of what a project has: secrets, directories, logs, code."""

import posixpath
import shlex
from collections.abc import Iterator

from shiftboss.core.doctor import WEB_USERS, Finding, Server, Tenant
from shiftboss.core.facts import PathFacts
from shiftboss.core.spec import Account

_EXAMPLES = (".example", ".dist", ".sample", ".template", ".testing")
_VARIANTS = (".env.", ".env-", ".env_", ".env~")
# tokens of package registries and clients of databases, and WordPress
_SECRETS = frozenset(
    {".env", ".envrc", ".npmrc", ".netrc", ".pgpass", ".my.cnf", "auth.json", "wp-config.php"}
)
# written at run time by design: Laravel, Symfony, and what deploy tools link in
_WRITABLE = frozenset({"storage", "bootstrap", "var", "tmp", "log", "logs", "cache", "shared"})
_NAMED = 3
_STICKY = 0o1000
_LENT = 0o6000


def path_findings(tenant: Tenant, server: Server) -> tuple[Finding, ...]:
    """Return what is wrong with the paths of a project whose account exists."""
    if not tenant.known:
        return ()
    return (
        *_secrets(tenant, server),
        *_lent(tenant),
        *_directories(tenant),
        *_logs(tenant, server),
        *_code(tenant),
    )


def is_secret(path: str) -> bool:
    """Tell whether a file holds secrets by its name: `.env` and its variants (but examples), and what tools call theirs."""
    name = posixpath.basename(path)
    return name in _SECRETS or (name.startswith(_VARIANTS) and not name.endswith(_EXAMPLES))


def _secrets(tenant: Tenant, server: Server) -> Iterator[Finding]:
    project = tenant.project
    for path, facts in sorted(tenant.entries.items()):
        if facts.type != "file" or not (path in tenant.env_files or is_secret(path)):
            continue
        if facts.mode & 0o007:
            verb = "write" if facts.mode & 0o002 else "read"
            shut = _closed_above(tenant, path)
            level, why = ("note", f"; only the mode of {shut} keeps them out") if shut else ("problem", "")
            yield Finding("note" if level == "note" else "problem", "env-open", project.name,
                          f"everybody may {verb} {path} (mode {facts.mode:04o}){why}",
                          _changing(tenant, path, facts, "o-rwx"))  # fmt: skip
        if facts.mode & 0o060 and facts.gid not in (project.account.gid, 0):
            yield _other_group(tenant, server, path, facts)


def _lent(tenant: Tenant) -> Iterator[Finding]:
    """Yield programs that lend the rights of their owner or group to whoever executes them."""
    for path, facts in sorted(tenant.entries.items()):
        if facts.type == "file" and facts.mode & _LENT and facts.mode & 0o111:
            yield Finding("problem", "setuid", tenant.project.name,
                          f"{path} gives the rights of its owner or group to whoever executes it (mode {facts.mode:04o})",
                          _changing(tenant, path, facts, "ug-s"))  # fmt: skip


def _other_group(tenant: Tenant, server: Server, path: str, facts: PathFacts) -> Finding:
    group = next((g for g in server.groups if g.gid == facts.gid), None)
    name = group.name if group else f"gid {facts.gid}"
    words = f"the group {name} may read {path} (mode {facts.mode:04o})"
    if name in WEB_USERS:
        return Finding(
            "note", "env-group", tenant.project.name, f"{words}: usual where PHP runs as that user"
        )
    mend = f"chgrp -h {tenant.project.account.gid} {shlex.quote(path)}"
    mend = "" if _may_lead_elsewhere(tenant, path, facts) else mend
    return Finding("problem", "env-group", tenant.project.name, words, mend)


def _changing(tenant: Tenant, path: str, facts: PathFacts, mode: str) -> str:
    """Return the command that changes a file's mode; as root it passes over a link that was put there meanwhile."""
    if _may_lead_elsewhere(tenant, path, facts):
        return ""
    quoted = shlex.quote(path)
    if facts.uid == tenant.project.account.uid and facts.uid:
        return _as_owner(tenant.project.account, facts, f"chmod {mode} {quoted}")
    return f"find {quoted} -maxdepth 0 -type f -exec chmod {mode} {{}} +"


def _may_lead_elsewhere(tenant: Tenant, path: str, facts: PathFacts) -> bool:
    """Tell whether root, on the way to a file of variables, could pass through a link of the project."""
    root = tenant.project.root
    looked_into = (root, f"{root}/shared", tenant.release)
    return facts.uid != tenant.project.account.uid and posixpath.dirname(path) not in looked_into


def _closed_above(tenant: Tenant, path: str) -> str:
    """Return the directory of the project that others cannot enter, on the way to a path; "" if there is none."""
    root = tenant.project.root
    known = {**tenant.places, **tenant.entries}
    while path.startswith(f"{root}/"):
        path = posixpath.dirname(path)
        facts = known.get(path)
        if facts is not None and facts.type == "directory" and not facts.mode & 0o001:
            return path
    return ""


def _as_owner(account: Account, facts: PathFacts, command: str) -> str:
    """Return a command that runs as the project where the project could put a link under root's hands."""
    return f"runuser -u {account.name} -- {command}" if facts.uid == account.uid and account.uid else command


def _directories(tenant: Tenant) -> Iterator[Finding]:
    """Yield directories of the project, and those above them, that somebody else can write."""
    account = tenant.project.account
    shown = {path: facts for path, facts in tenant.places.items() if path != tenant.project.logs}
    shown |= {f: tenant.entries[f] for name in ("releases", "shared")
              if (f := f"{tenant.project.root}/{name}") in tenant.entries}  # fmt: skip
    for path, facts in sorted(shown.items()):
        if facts.type != "directory" or (facts.mode & _STICKY and not path.startswith(tenant.project.root)):
            continue
        for bits, who in _writers(facts, account):
            yield Finding("problem", "open-directory", tenant.project.name,
                          f"{who} may write {path} (mode {facts.mode:04o}), and so exchange what is in it",
                          _as_owner(account, facts, f"chmod {bits} {shlex.quote(path)}"))  # fmt: skip
        if path == tenant.project.root and facts.uid not in (0, account.uid):
            yield Finding("caution", "foreign-owner", tenant.project.name,
                          f"{path} belongs to uid {facts.uid}, neither root nor {account.name}",
                          f"chown -h root:{account.gid} {shlex.quote(path)}")  # fmt: skip


def _writers(facts: PathFacts, account: Account) -> Iterator[tuple[str, str]]:
    if facts.mode & 0o002:
        yield "o-w", "everybody"
    if facts.mode & 0o020 and facts.gid not in (0, account.gid):
        yield "g-w", f"the group with gid {facts.gid}"


def _logs(tenant: Tenant, server: Server) -> Iterator[Finding]:
    """Yield what is wrong with the log directory for whoever writes there."""
    project, path = tenant.project, tenant.project.logs
    facts = tenant.places.get(path)
    if facts is None or not tenant.log_writer or not server.system:
        return
    name, quoted = project.name, shlex.quote(path)
    if facts.type != "directory":
        yield Finding(
            "problem",
            "logs-no-directory",
            name,
            f"{path} is a {facts.type}, no directory",
            f"ls -ld {quoted}",
        )
        return
    mend = f"chown -h root:{project.account.gid} {quoted} && chmod 2750 {quoted}"
    if tenant.log_writer == "engine" and facts.uid != server.engine_uid:
        yield Finding("problem", "logs-owner", name, f"{path} belongs to uid {facts.uid}, and the engine that writes there has uid {server.engine_uid}",
                      f"shiftboss apply {name} --adopt")  # fmt: skip
    elif tenant.log_writer == "root" and facts.uid not in (0, server.engine_uid):
        yield Finding("problem", "logs-owner", name, f"{path} belongs to uid {facts.uid}: who owns it can plant links where root writes",
                      mend)  # fmt: skip
    if facts.mode & 0o007:
        yield Finding("caution", "logs-open", name, f"everybody may enter {path} (mode {facts.mode:04o}): logs hold what users did",
                      f"chmod o-rwx {quoted}" if facts.uid in (0, server.engine_uid) else mend)  # fmt: skip
    if facts.gid != project.account.gid and facts.uid != project.account.uid and not facts.mode & 0o005:
        yield Finding("caution", "logs-group", name, f"{project.account.name} cannot read its own logs in {path}",
                      f"chgrp -h {project.account.gid} {quoted}")  # fmt: skip


def _code(tenant: Tenant) -> Iterator[Finding]:
    """Yield one caution if the workers may change the code that they run."""
    account, release = tenant.project.account, tenant.release
    if not release or account.uid == 0:
        return
    below = {p: f for p, f in tenant.entries.items() if p == release or posixpath.dirname(p) == release}
    changed = [p for p, f in sorted(below.items())
               if posixpath.basename(p) not in _WRITABLE and f.type != "link" and _may_write(f, account)]  # fmt: skip
    if changed:
        shown = ", ".join(changed[:_NAMED]) + (
            f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        )
        quoted = shlex.quote(release)
        kept = " -o ".join(
            f"-path {shlex.quote(f'{release}/{name}')}" for name in ("storage", "bootstrap/cache", "var")
        )
        yield Finding("caution", "code-writable", tenant.project.name,
                      f"{account.name} may change the code that it runs ({shown}): who takes over the application stays in it",
                      f"find {quoted} -xdev \\( {kept} \\) -prune -o -user {account.uid} -exec chown -h root:{account.gid} {{}} +")  # fmt: skip


def _may_write(facts: PathFacts, account: Account) -> bool:
    if facts.uid == account.uid:
        return bool(facts.mode & 0o200)
    return bool(facts.mode & (0o020 if facts.gid in (account.gid, *account.groups) else 0o002))
