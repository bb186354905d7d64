"""Workers on a real Supervisor: one program file each, and only the groups that must change are touched."""

import re
from collections.abc import Iterable

from msgspec.structs import replace

from shiftboss.backends.contract import Wanted
from shiftboss.backends.launch_orders import Launch, is_orders, orders_queries, plan_orders
from shiftboss.backends.logs import log_queries, prepare_logs
from shiftboss.backends.supervisor_conf import check, program_of, render
from shiftboss.backends.supervisor_conflicts import in_the_way, wrong_user
from shiftboss.backends.supervisor_live import addresses, number_of
from shiftboss.backends.supervisor_names import process_name, supervisor_name
from shiftboss.backends.supervisor_rules import NotReadableError, Program, read_program
from shiftboss.backends.supervisor_seen import Seen, files_query, path_of, see, workers_of
from shiftboss.core.errors import UserError
from shiftboss.core.facts import (
    Answers,
    AskSupervisor,
    ProcessFacts,
    Query,
    StatPath,
)
from shiftboss.core.managed import belongs_to, read_seal, seal
from shiftboss.core.names import address
from shiftboss.core.plan import (
    Action,
    Conflict,
    CreateFile,
    MakeDirectory,
    Override,
    Plan,
    RemoveFile,
    StartProcess,
    UpdateGroup,
    WriteFile,
    merge,
)
from shiftboss.core.spec import Unit, Worker

_MODE, _SECRET_MODE = 0o644, 0o600
_ROOT = 0
_STOP_WAIT = re.compile(r"(?m)^stopwaitsecs\s*=\s*(\d{1,6})\b")
# A program that Supervisor gave up, or that ended without a new start: nothing but a request revives it
_DOWN = frozenset({"FATAL", "EXITED"})
_ORDER = (MakeDirectory, CreateFile, WriteFile, RemoveFile, UpdateGroup, StartProcess)


def refuse_collisions(names: Iterable[tuple[str, str]]) -> None:
    """Raise UserError if two (project, unit) pairs of this server have one name in Supervisor: a_b/c, a/b_c."""
    taken: dict[str, tuple[str, str]] = {}
    for pair in names:
        other = taken.setdefault(supervisor_name(*pair), pair)
        if other != pair:
            raise UserError(
                f"{address(*other)} and {address(*pair)} would both be called {supervisor_name(*pair)}",
                hint="Give one of the two another name.",
            )


class SupervisorBackend:
    """The translator for Supervisor 4. `site.supervisor` must be located: its `conf_dir` is not empty."""

    name = "supervisor"

    def holds(self, unit: Unit) -> bool:
        """Tell whether a unit belongs here."""
        return isinstance(unit, Worker) and unit.backend == self.name

    def is_left_of(self, project: str, text: str) -> bool:
        """Tell whether a text is a file of ours for this project."""
        return belongs_to(text, project) or is_orders(text)

    def queries(self, wanted: Wanted) -> tuple[Query, ...]:
        """Name what `plan` must know: the daemon, our files, the logs. The daemon comes first."""
        workers = workers_of(wanted)
        return (
            AskSupervisor(),
            files_query(wanted),
            *orders_queries(wanted, self.name),
            *(StatPath(path_of(wanted, worker)) for worker in workers),
            *log_queries(wanted, _log_paths(workers)),
        )

    def plan(self, wanted: Wanted, answers: Answers, override: Override) -> Plan:
        """Return the actions that make Supervisor run exactly the wanted workers of this project.

        Raises UserError for a worker that Supervisor cannot be told (see `supervisor_conf.render`).
        """
        seen = see(wanted, answers, override)
        workers = workers_of(wanted)
        orders, launches = plan_orders(wanted, self.name, answers)
        logs = prepare_logs(wanted, _log_paths(workers), answers, writer="root")
        blocked = {conflict.target for conflict in logs.conflicts}
        parts = [
            _worker(seen, worker, launches.get(worker.address))
            for worker in workers
            if not blocked & {wanted.project.name, worker.address}
        ]
        removals = [_removal(seen, path, text) for path, text in sorted(seen.files.items())]
        notes = Plan(notes=_left_over(seen))
        return _ordered(merge((wrong_user(seen), logs, orders, *parts, *removals, notes)))


def _log_paths(workers: Iterable[Worker]) -> tuple[tuple[str, str], ...]:
    return tuple((worker.address, worker.log_path) for worker in workers)


def _ordered(plan: Plan) -> Plan:
    """Put all files before the daemon is told of any."""
    return replace(plan, actions=tuple(sorted(plan.actions, key=lambda action: _ORDER.index(type(action)))))


def _worker(seen: Seen, worker: Worker, launch: Launch | None) -> Plan:
    conflict = in_the_way(seen, worker)
    if conflict is not None:
        return Plan(conflicts=(conflict,))
    path = path_of(seen.wanted, worker)
    program = program_of(worker, system=seen.wanted.site.system, launch=launch)
    content = seal(render(worker, system=seen.wanted.site.system, launch=launch), worker.address, comment=";")
    before, mode = seen.files.get(path), _file_mode(worker)
    if before == content:
        return merge((_group(seen, worker), _closed(seen, worker, content, mode)))
    check(content, {worker.project.account.name, "root"}, {worker.project.logs}, meant=program)
    keep_copy = f"{seen.wanted.site.state}/adopted/{_file_name(path)}" if _is_foreign(before) else ""
    write = WriteFile(worker.address, path, content, before, mode, keep_copy=keep_copy)
    same = before is not None and _means(before) == program
    after = _group(seen, worker) if same else _changed_group(seen, worker, before)
    return merge((Plan(actions=(write,)), replace(after, untouched=())))


def _file_mode(worker: Worker) -> int:
    """Hide a file with variables of the user, or a hash of them: they may be secrets."""
    return _SECRET_MODE if worker.environment or worker.project.environment else _MODE


def _closed(seen: Seen, worker: Worker, content: str, mode: int) -> Plan:
    """Plan for a file that says the right thing: has it the right owner, and no more permissions than it should?"""
    path = path_of(seen.wanted, worker)
    owner = _ROOT if seen.wanted.site.system else worker.project.account.uid
    facts = seen.paths[path]
    if facts is None or (facts.uid == owner and not facts.mode & ~mode):
        return Plan()
    note = f"{path} had owner uid {facts.uid} and mode {facts.mode:04o}; it becomes ours again, {mode:04o}"
    return Plan(actions=(WriteFile(worker.address, path, content, content, mode),), notes=(note,))


def _is_foreign(text: str | None) -> bool:
    return text is not None and read_seal(text) is None


def _means(text: str) -> Program | None:
    try:
        return read_program(text)
    except NotReadableError:
        return None


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _changed_group(seen: Seen, worker: Worker, before: str | None) -> Plan:
    """Plan the update of a group whose file changes; Supervisor restarts all of its processes, always."""
    group = supervisor_name(worker.project.name, worker.name)
    processes = seen.groups.get(group, ())
    if not processes:
        return Plan(actions=(UpdateGroup(worker.address, group, "add", worker.stop.wait_seconds),))
    update = UpdateGroup(
        worker.address,
        group,
        "change",
        max(worker.stop.wait_seconds, _stop_wait(before)),
        addresses(worker.project.name, worker.name, processes),
    )
    stopped = any(process.state == "STOPPED" for process in processes)
    notes = (f"{worker.address} is stopped; the change starts it again",) if stopped else ()
    return Plan(actions=(update,), notes=notes)


def _stop_wait(text: str | None) -> int:
    """Return the stop wait that the daemon still goes by: the one of the old file."""
    found = _STOP_WAIT.search(text or "")
    return int(found[1]) if found else 0


def _group(seen: Seen, worker: Worker) -> Plan:
    """Plan for a file that stays as it is: does the daemon run what it says?"""
    group = supervisor_name(worker.project.name, worker.name)
    processes = seen.groups.get(group, ())
    if {p.name for p in processes} != set(program_of(worker, system=False).processes):
        return _changed_group(seen, worker, seen.files[path_of(seen.wanted, worker)])
    starts = tuple(_start(worker, process) for process in processes if process.state in _DOWN)
    return Plan(
        actions=starts, notes=_stopped(worker, processes), untouched=() if starts else (worker.address,)
    )


def _start(worker: Worker, process: ProcessFacts) -> Action:
    number = number_of(process)
    assert number is not None, "the names of the group were compared before"
    target = address(worker.project.name, worker.name, number)
    return StartProcess(target, process_name(worker, number), worker.backend)


def _stopped(worker: Worker, processes: tuple[ProcessFacts, ...]) -> tuple[str, ...]:
    stopped = [process for process in processes if process.state == "STOPPED"]
    targets = (
        [worker.address]
        if len(stopped) == len(processes)
        else [address(worker.project.name, worker.name, number_of(process)) for process in stopped]
    )
    return tuple(
        f"{target} is stopped by hand; start it with: shiftboss start {target}" for target in targets
    )


def _removal(seen: Seen, path: str, text: str) -> Plan:
    """Plan for a file that no wanted worker has: gone if it is ours."""
    found = read_seal(text)
    project, _, unit = (found.address if found else "").partition("/")
    if found is None or path in seen.paths or project != seen.wanted.project.name:
        return Plan()
    if not found.intact and not seen.override.force:
        reason = f"{path} was changed by hand since shiftboss wrote it"
        hint = "Remove it with --force if the hand edit is not needed any more."
        return Plan(conflicts=(Conflict(found.address, path, reason, hint, "--force"),))
    remove = RemoveFile(found.address, path, text)
    group = supervisor_name(project, unit)
    if group not in seen.groups or group in seen.names:
        return Plan(actions=(remove,))
    restarts = addresses(project, unit, seen.groups[group])
    return Plan(actions=(remove, UpdateGroup(found.address, group, "remove", _stop_wait(text), restarts)))


def _left_over(seen: Seen) -> tuple[str, ...]:
    """Name programs that look like the project's and have no file: of an interrupted removal, or not ours."""
    prefix, conf_dir = supervisor_name(seen.wanted.project.name, ""), seen.wanted.site.supervisor.conf_dir
    return tuple(
        f"Supervisor also runs {group}, which has no file {conf_dir}/{group}.conf; if it is left over from "
        f"something that was removed: supervisorctl update {group}"
        for group in sorted(seen.groups)
        if group.startswith(prefix)
        and group not in seen.names
        and f"{conf_dir}/{group}.conf" not in seen.files
    )
