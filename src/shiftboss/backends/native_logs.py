"""The log directory of a project whose output the native engine captures: the engine must own it or may write there.

`<logs>/<project>/` is the engine's with the project's group (2750): the engine creates and rotates, the project
reads and cannot plant links. A directory that is somebody else's is taken over only with `--adopt`; the
project keeps its access through its group then, and the engine follows no links in it.
"""

from shiftboss.backends.contract import Wanted
from shiftboss.backends.logs import may, not_a_directory, not_a_file, parent_of, path_facts
from shiftboss.core.facts import Answers, EngineAccount, FindEngineAccount, PathFacts, Query, StatPath
from shiftboss.core.plan import ChangeOwner, Conflict, MakeDirectory, Override, Plan, merge
from shiftboss.core.spec import Account, Unit

_SYSTEM_MODE, _OWN_MODE, _SHARED_MODE, _FILE_MODE = 0o2750, 0o750, 0o2770, 0o640
_OTHERS = 0o007
_WRITE, _SEARCH = 2, 1
_ROOT = 0


def native_log_queries(wanted: Wanted, units: tuple[Unit, ...]) -> tuple[Query, ...]:
    """Name what `plan_native_logs` must know."""
    directory = wanted.project.logs
    if not units:
        return ()
    paths = (directory, parent_of(directory), *(unit.log_path for unit in units))
    return (FindEngineAccount(), *(StatPath(path) for path in paths))


def plan_native_logs(wanted: Wanted, units: tuple[Unit, ...], answers: Answers, override: Override) -> Plan:
    """Plan directory and log files such that the engine can write them and nobody else's file is touched."""
    if not units:
        return Plan()
    engine = answers[FindEngineAccount()]
    assert isinstance(engine, EngineAccount)
    facts = path_facts(answers, wanted.project.logs)
    if facts is not None and facts.type != "directory":
        return Plan(conflicts=(not_a_directory(wanted, facts),))
    directory = _directory(wanted, facts, engine, override)
    files = [_file(wanted, unit, path_facts(answers, unit.log_path), engine) for unit in units]
    return merge((*files, directory))  # what stands in a log's place tells more than whose the directory is


def _directory(wanted: Wanted, facts: PathFacts | None, engine: EngineAccount, override: Override) -> Plan:
    project, group = wanted.project, wanted.project.account.gid
    if facts is None:
        uid, mode = (engine.uid, _SYSTEM_MODE) if wanted.site.system else (project.account.uid, _OWN_MODE)
        return Plan(actions=(MakeDirectory(project.name, project.logs, uid, group, mode),))
    if not wanted.site.system or facts.uid == engine.uid or may(facts, _as_account(engine), _WRITE | _SEARCH):
        return Plan()
    # as we make it for other backends, or made it for an engine with another account
    is_ours = facts.gid == group and facts.mode == _SYSTEM_MODE
    if not is_ours and not override.adopt:
        return Plan(conflicts=(_closed(wanted, facts),))
    mode = _SYSTEM_MODE if is_ours else _SHARED_MODE | (facts.mode & _OTHERS)
    return Plan(actions=(ChangeOwner(project.name, project.logs, "directory", engine.uid, group, mode),))


def _closed(wanted: Wanted, facts: PathFacts) -> Conflict:
    project = wanted.project
    owner = project.account.name if facts.uid == project.account.uid else f"uid {facts.uid}"
    return Conflict(
        project.name,
        project.logs,
        f"{project.logs} belongs to {owner}, and the engine that writes the logs cannot write there",
        f"Let shiftboss take the directory over with --adopt: what is in it stays, and {project.account.name} keeps "
        f"writing there through its group. Or give the project another one: [project] logs = … in its file.",
        "--adopt",
    )


def _file(wanted: Wanted, unit: Unit, facts: PathFacts | None, engine: EngineAccount) -> Plan:
    if facts is None or (facts.type == "file" and not wanted.site.system):
        return Plan()
    if facts.type != "file":
        return Plan(conflicts=(not_a_file(unit.address, unit.log_path, facts),))
    account = unit.project.account
    if facts.uid == engine.uid:
        return Plan()
    if facts.uid in (_ROOT, account.uid):  # written by another backend before
        own = ChangeOwner(unit.address, unit.log_path, "file", engine.uid, account.gid, _FILE_MODE)
        return Plan(actions=(own,))
    return Plan(conflicts=(_foreign_file(unit, facts),))


def _foreign_file(unit: Unit, facts: PathFacts) -> Conflict:
    return Conflict(
        unit.address,
        unit.log_path,
        f"{unit.log_path} belongs to uid {facts.uid}, and the engine cannot write there",
        "Move it away, or give the project another log directory: [project] logs = … in its file.",
    )


def _as_account(engine: EngineAccount) -> Account:
    return Account("", engine.uid, engine.gid, "", "/")
