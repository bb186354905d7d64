"""Where the output of programs goes on backends that do not capture it: directory and files made before them.

The directory is root's and the group of the project may read it, so that nobody can plant a link in it;
the files belong to the project user, who appends to them. Nothing that exists already is changed: what
stands in the way is a conflict, what is only unwise is a note.
"""

from typing import Literal

from msgspec import Struct

from shiftboss.backends.contract import Wanted
from shiftboss.core.facts import Answers, PathFacts, Query, StatPath
from shiftboss.core.plan import Action, Conflict, CreateFile, MakeDirectory, Plan, merge
from shiftboss.core.spec import Account

# Who opens the file to append: Supervisor does it as root, the shell of a cron job as the project user.
Writer = Literal["root", "project"]
# (address of the unit, path of its log)
LogPaths = tuple[tuple[str, str], ...]

_SYSTEM_DIRECTORY_MODE = 0o2750
_OWN_DIRECTORY_MODE = 0o750
_FILE_MODE = 0o640
_READ, _WRITE, _SEARCH = 4, 2, 1
_STICKY = 0o1000
_ROOT = 0


class LogDirectory(Struct, frozen=True):
    """What is known about a project's log directory: its facts (None: absent) and those of its parent."""

    path: str
    facts: PathFacts | None
    parent: PathFacts | None

    def project_may_write(self, account: Account) -> bool:
        """Tell whether the account can create, rename and link files in it (False for an absent directory)."""
        return self.facts is not None and may(self.facts, account, _WRITE | _SEARCH)

    def project_may_replace(self, account: Account) -> bool:
        """Tell whether the account can put another directory, or a link, in its place."""
        if self.facts is None or self.parent is None or not may(self.parent, account, _WRITE | _SEARCH):
            return False
        return not self.parent.mode & _STICKY or account.uid in (self.facts.uid, self.parent.uid)


def log_queries(wanted: Wanted, log_paths: LogPaths) -> tuple[Query, ...]:
    """Name what `prepare_logs` and `log_directory` must know."""
    if not log_paths:
        return ()
    directory = wanted.project.logs
    return (StatPath(directory), StatPath(parent_of(directory)), *(StatPath(path) for _, path in log_paths))


def log_directory(wanted: Wanted, answers: Answers) -> LogDirectory:
    """Return what the answers to `log_queries` say about the project's log directory."""
    path = wanted.project.logs
    return LogDirectory(path, path_facts(answers, path), path_facts(answers, parent_of(path)))


def prepare_logs(
    wanted: Wanted, log_paths: LogPaths, answers: Answers, *, writer: Writer = "project"
) -> Plan:
    """Plan the log directory and the log files of units, made before anything writes to them.

    A system's directory is root's with the project's group (02750), a user's own is 0750; files are the
    project user's, 0640. Something else of that name, a link too, is a conflict that no option overrides;
    so is a file to which `writer` cannot append. A directory in which the project user could plant a link
    for a `writer` that is root is a note.
    """
    if not log_paths:
        return Plan()
    directory = log_directory(wanted, answers)
    if directory.facts is not None and directory.facts.type != "directory":
        return Plan(conflicts=(not_a_directory(wanted, directory.facts),))
    files = [_prepare_file(wanted, unit, path, path_facts(answers, path), writer) for unit, path in log_paths]
    return merge((_prepare_directory(wanted, directory, writer), *files))


def path_facts(answers: Answers, path: str) -> PathFacts | None:
    """Return the answer to `StatPath(path)`."""
    facts = answers[StatPath(path)]
    assert facts is None or isinstance(facts, PathFacts)
    return facts


def may(facts: PathFacts, account: Account, access: int) -> bool:
    """Tell whether the mode bits give an account `access` (bits of rwx); primary group only, no ACLs."""
    if account.uid == _ROOT:
        return True
    if facts.uid == account.uid:
        granted = facts.mode >> 6
    elif facts.gid == account.gid:
        granted = facts.mode >> 3
    else:
        granted = facts.mode
    return granted & access == access


def _prepare_directory(wanted: Wanted, directory: LogDirectory, writer: Writer) -> Plan:
    if directory.facts is None:
        return Plan(actions=(_make_directory(wanted),))
    return Plan(notes=(*_planting(wanted, directory, writer), *_closed(wanted, directory.facts, writer)))


def _make_directory(wanted: Wanted) -> Action:
    project = wanted.project
    if wanted.site.system:
        return MakeDirectory(project.name, project.logs, _ROOT, project.account.gid, _SYSTEM_DIRECTORY_MODE)
    return MakeDirectory(
        project.name, project.logs, project.account.uid, project.account.gid, _OWN_DIRECTORY_MODE
    )


def _prepare_file(wanted: Wanted, unit: str, path: str, facts: PathFacts | None, writer: Writer) -> Plan:
    account = wanted.project.account
    if facts is None:
        return Plan(actions=(CreateFile(unit, path, account.uid, account.gid, _FILE_MODE),))
    if facts.type != "file":
        return Plan(conflicts=(not_a_file(unit, path, facts),))
    if writer == "project" and not may(facts, account, _WRITE):
        return Plan(conflicts=(_not_writable(unit, path, facts, account),))
    return Plan()


def _planting(wanted: Wanted, directory: LogDirectory, writer: Writer) -> tuple[str, ...]:
    """Warn when root appends to a file whose name the project user can turn into a link."""
    account = wanted.project.account
    if writer != "root" or not wanted.site.system or account.uid == _ROOT:
        return ()
    if not (directory.project_may_write(account) or directory.project_may_replace(account)):
        return ()
    return (
        f"{account.name} can replace files in {directory.path}, and root writes logs there: a planted link would "
        f"make root write elsewhere. To close this: chown root:{account.group} {directory.path} && "
        f"chmod 2750 {directory.path}",
    )


def _closed(wanted: Wanted, facts: PathFacts, writer: Writer) -> tuple[str, ...]:
    """Warn when the project user may not reach its logs; another group of the user may still allow it."""
    account = wanted.project.account
    if writer != "project" or may(facts, account, _SEARCH):
        return ()
    return (
        f"{account.name} seems to have no access to {wanted.project.logs}, and a job whose log cannot be opened "
        f"does not run. To open it: chgrp {account.group} {wanted.project.logs} && chmod g+rx {wanted.project.logs}",
    )


def not_a_directory(wanted: Wanted, facts: PathFacts) -> Conflict:
    """Return the conflict with what stands where the log directory belongs."""
    path = wanted.project.logs
    return Conflict(
        wanted.project.name,
        path,
        f"the log directory {path} is {_described(facts)}",
        f"Look at it (ls -ld {path}) and move it away; shiftboss then makes the directory itself.",
    )


def not_a_file(unit: str, path: str, facts: PathFacts) -> Conflict:
    """Return the conflict with what stands where the log of a unit belongs."""
    return Conflict(
        unit,
        path,
        f"the log file {path} is {_described(facts)}",
        f"Look at it (ls -ld {path}) and move it away; shiftboss then makes the file itself.",
    )


def _not_writable(unit: str, path: str, facts: PathFacts, account: Account) -> Conflict:
    return Conflict(
        unit,
        path,
        f"{account.name} cannot append to {path} (owner uid {facts.uid}, mode {facts.mode:04o}), so its jobs would not run",
        f"Run: chown {account.name}:{account.group} {path} && chmod 640 {path}",
    )


def _described(facts: PathFacts) -> str:
    kinds = {
        "directory": "a directory",
        "file": "a file",
        "link": "a symbolic link",
        "other": "a special file",
    }
    return f"{kinds[facts.type]} of uid {facts.uid}"


def parent_of(path: str) -> str:
    """Return the directory that a path is in."""
    return path.rstrip("/").rpartition("/")[0] or "/"
