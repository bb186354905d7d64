"""Plans for a real Supervisor: what is done, what restarts, what stands in the way, and nothing the second time.

A case is a directory: `case.toml` says what was there and what is wanted, `plan.txt` the plan, and each
`*.conf` the text that is written. See `Case`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shiftboss.backends.contract import Wanted
from shiftboss.backends.supervisor import SupervisorBackend, refuse_collisions
from shiftboss.core.errors import UserError
from shiftboss.core.facts import (
    AskSupervisor,
    FindGround,
    FindLauncher,
    PathFacts,
    ProcessFacts,
    Query,
    ReadFile,
    ReadMatching,
    StatPath,
    SupervisorFacts,
)
from shiftboss.core.limits import Ground
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
)
from shiftboss.core.spec import (
    Account,
    Limits,
    LogPolicy,
    Project,
    Schedule,
    Site,
    StopPolicy,
    SupervisorSite,
    Worker,
)

CASES = sorted((Path(__file__).parent / "cases" / "supervisor").iterdir())
ACCOUNT = Account("myapp_user", 1007, 1008, "myapp_group", "/home/myapp")
CONF_DIR = "/etc/supervisor/conf.d"
LOGS = "/logs/myapp"
ORDERS = "/var/lib/shiftboss/launch/supervisor/myapp.json"
BACKEND = SupervisorBackend()
ROOT_DIRECTORY = PathFacts(0, 0, 0o755, "directory")


@dataclass
class Machine:
    """A machine in memory: files, paths and the processes of its Supervisor."""

    system: bool = True
    daemon_uid: int = 0
    files: dict[str, str] = field(default_factory=dict)
    paths: dict[str, PathFacts] = field(default_factory=lambda: {"/logs": ROOT_DIRECTORY})
    processes: list[ProcessFacts] = field(default_factory=list)

    @property
    def site(self) -> Site:
        places = ("/etc/shiftboss/config.toml", "/projects", "/var/lib/shiftboss", "/run/shiftboss")
        located = SupervisorSite(conf_dir=CONF_DIR, server="unix:///run/supervisor.sock")
        return Site(*places, "/srv", "/logs", "{project}_user", self.system, supervisor=located)

    def wanted(self, workers: tuple[Worker, ...]) -> Wanted:
        return Wanted(Project("myapp", "/srv/myapp", LOGS, ACCOUNT), workers, self.site)

    def answer(self, query: Query) -> object:
        match query:
            case AskSupervisor():
                return SupervisorFacts("4.2.5", self.daemon_uid, tuple(self.processes))
            case ReadMatching(directory=directory, pattern="myapp_*.conf"):
                assert directory == CONF_DIR
                return {path: text for path, text in self.files.items() if "/myapp_" in path}
            case ReadFile(path):
                return self.files.get(path)
            case FindGround():
                return Ground(v2=frozenset({"memory", "cpu", "pids", "io"}))
            case FindLauncher():
                return ("/opt/python", "-I", "-S", "/opt/launcher/main.py")
            case StatPath(path):
                plain = PathFacts(0 if self.system else ACCOUNT.uid, 0, 0o600, "file")
                return self.paths.get(path, plain if path in self.files else None)
        raise AssertionError(f"an unexpected question: {query}")

    def plan(self, workers: tuple[Worker, ...], override: Override = Override()) -> Plan:  # noqa: B008
        wanted = self.wanted(workers)
        return BACKEND.plan(
            wanted, {query: self.answer(query) for query in BACKEND.queries(wanted)}, override
        )

    def perform(self, plan: Plan, workers: tuple[Worker, ...]) -> None:
        """Do what a plan says, as Supervisor would: a group that is added starts."""
        by_group = {f"myapp_{worker.name}": worker for worker in workers}
        for action in plan.actions:
            self._perform(action, by_group)

    def _perform(self, action: Action, workers: Mapping[str, Worker]) -> None:
        match action:
            case MakeDirectory(path=path):
                self.paths[path] = PathFacts(action.uid, action.gid, action.mode, "directory")
            case CreateFile(path=path):
                self.paths[path] = PathFacts(action.uid, action.gid, action.mode, "file")
            case WriteFile(path=path):
                assert self.files.get(path) == action.before
                self.files[path] = action.content
                owner = 0 if self.system else ACCOUNT.uid
                self.paths[path] = PathFacts(owner, 0, action.mode, "file")
            case RemoveFile(path=path):
                assert self.files.pop(path) == action.before
                self.paths.pop(path, None)
            case UpdateGroup(group=group):
                self.processes = [p for p in self.processes if p.group != group]
                if action.change != "remove":
                    self.processes += running(workers[group])
            case StartProcess(name=name):
                self.set_state(name, "RUNNING")

    def set_state(self, name: str, state: str) -> None:
        """Change the state of `group:process`."""
        pid = 4000 if state in {"RUNNING", "STARTING", "STOPPING"} else 0
        assert name in {f"{p.group}:{p.name}" for p in self.processes}
        self.processes = [
            replace(p, state=state, pid=pid) if f"{p.group}:{p.name}" == name else p for p in self.processes
        ]


def running(worker: Worker) -> list[ProcessFacts]:
    group = f"myapp_{worker.name}"
    names = [group] if worker.processes == 1 else [f"{group}_{n:02d}" for n in range(worker.processes)]
    return [ProcessFacts(group, name, "RUNNING", pid=4000) for name in names]


def make_worker(name: str, table: Mapping[str, Any]) -> Worker:
    """Make a worker from a table of `case.toml`; its keys are fields of Worker."""
    stop = StopPolicy(**table.get("stop", {}))
    log = LogPolicy(**table.get("log", {}))
    limits = Limits(**table.get("limits", {}))
    apart = {"stop", "log", "argv", "environment", "limits"}
    rest = {key: value for key, value in table.items() if key not in apart}
    return Worker(
        project=Project("myapp", "/srv/myapp", LOGS, ACCOUNT),
        name=name,
        preset="custom",
        backend="supervisor",
        argv=tuple(table.get("argv", ("/usr/bin/php", "artisan", "queue:work"))),
        environment=tuple(table.get("environment", {}).items()),
        stop=stop,
        log=log,
        limits=limits,
        **rest,
    )


@dataclass
class Case:
    """What `case.toml` says.

    `was`, `now`: workers that were set up before and that are wanted. In between: `states` of processes,
    `edits` of files by hand (old text, new text), `files` of others, `gone` files, `forgotten` groups,
    `paths` (facts, or false: not there), `daemon` (processes of others: group, name).
    """

    machine: Machine
    now: tuple[Worker, ...]
    override: Override


def read_case(directory: Path) -> Case:
    told = tomllib.loads((directory / "case.toml").read_text())
    machine = Machine(told.get("system", True))
    was = tuple(make_worker(name, table) for name, table in told.get("was", {}).items())
    machine.daemon_uid = 0 if machine.system else ACCOUNT.uid
    machine.perform(machine.plan(was), was)
    machine.daemon_uid = told.get("daemon_uid", machine.daemon_uid)
    change_by_hand(machine, told)
    now = tuple(make_worker(name, table) for name, table in told.get("now", {}).items())
    return Case(machine, now, Override(**told.get("override", {})))


def change_by_hand(machine: Machine, told: Mapping[str, Any]) -> None:
    for name, state in told.get("states", {}).items():
        machine.set_state(name, state)
    for name, (old, new) in told.get("edits", {}).items():
        assert old in machine.files[f"{CONF_DIR}/{name}"]
        machine.files[f"{CONF_DIR}/{name}"] = machine.files[f"{CONF_DIR}/{name}"].replace(old, new)
    machine.files |= {f"{CONF_DIR}/{name}": text for name, text in told.get("files", {}).items()}
    for name in told.get("gone", []):
        del machine.files[f"{CONF_DIR}/{name}"]
        del machine.paths[f"{CONF_DIR}/{name}"]
    machine.processes = [p for p in machine.processes if p.group not in told.get("forgotten", [])]
    machine.processes += [ProcessFacts(**process) for process in told.get("daemon", [])]
    for path, facts in told.get("paths", {}).items():
        machine.paths[path] = PathFacts(**facts)


def described(plan: Plan) -> str:
    """Return a plan as lines of text."""
    lines = [_described_action(action) for action in plan.actions]
    lines += [_described_conflict(conflict) for conflict in plan.conflicts]
    lines += [f"note {note}" for note in plan.notes]
    lines += [f"untouched {unit}" for unit in plan.untouched]
    return "".join(f"{line}\n" for line in lines)


def _described_action(action: Action) -> str:
    match action:
        case MakeDirectory() | CreateFile():
            owner = f"{action.uid}:{action.gid} {action.mode:04o}"
            return f"{action.kind} {action.target} {action.path} {owner}"
        case WriteFile():
            how = "create" if action.before is None else "replace"
            copy = f" copy to {action.keep_copy}" if action.keep_copy else ""
            return f"{action.kind} {action.target} {action.path} {action.mode:04o} {how}{copy}"
        case RemoveFile():
            return f"{action.kind} {action.target} {action.path}"
        case UpdateGroup():
            restarts = f" restarts {' '.join(action.restarts)}" if action.restarts else ""
            wait = f"within {action.stop_wait_seconds} s"
            return f"{action.kind} {action.target} {action.change} {action.group} {wait}{restarts}"
        case StartProcess():
            return f"{action.kind} {action.target} {action.name}"


def _described_conflict(conflict: Conflict) -> str:
    remedy = f" [{conflict.remedy}]" if conflict.remedy else ""
    return f"conflict {conflict.target}{remedy} {conflict.path}: {conflict.reason}. {conflict.hint}"


@pytest.mark.parametrize("directory", CASES, ids=[case.name for case in CASES])
def test_the_plan_is_the_one_on_record(directory: Path) -> None:
    case = read_case(directory)
    plan = case.machine.plan(case.now, case.override)
    assert described(plan) == (directory / "plan.txt").read_text()
    written = {Path(a.path).name: a.content for a in plan.actions if isinstance(a, WriteFile)}
    for file in directory.glob("*.conf"):
        assert written[file.name] == file.read_text()


@pytest.mark.parametrize("directory", CASES, ids=[case.name for case in CASES])
def test_a_plan_that_was_performed_leaves_nothing_to_do(directory: Path) -> None:
    case = read_case(directory)
    plan = case.machine.plan(case.now, case.override)
    if plan.conflicts:
        return
    case.machine.perform(plan, case.now)
    again = case.machine.plan(case.now)
    assert (again.actions, again.conflicts, again.restarts) == ((), (), ())


WORKERS = st.dictionaries(
    st.sampled_from(["queue", "node", "a_b", "x-1"]),
    st.fixed_dictionaries(
        {
            "processes": st.integers(1, 4),
            "start_seconds": st.integers(1, 3),
            "argv": st.lists(st.sampled_from(["/usr/bin/php", "a ; b", "%"]), min_size=1, max_size=3),
            "environment": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "x ; y"])),
            "limits": st.sampled_from([{}, {"memory_bytes": 1 << 26}, {"memory_bytes": 1 << 27}]),
        }
    ),
    max_size=4,
).map(lambda tables: tuple(make_worker(name, table) for name, table in tables.items()))


@given(was=WORKERS, now=WORKERS, system=st.booleans(), data=st.data())
def test_any_change_is_made_by_one_plan_and_touches_nothing_else(
    was: tuple[Worker, ...], now: tuple[Worker, ...], system: bool, data: st.DataObject
) -> None:
    machine = Machine(system, daemon_uid=0 if system else ACCOUNT.uid)
    machine.perform(machine.plan(was), was)
    for process in list(machine.processes):
        machine.set_state(
            f"{process.group}:{process.name}", data.draw(st.sampled_from(["RUNNING", "FATAL", "EXITED"]))
        )
    plan = machine.plan(now)
    same = {worker.address for worker in was if worker in now}
    assert not plan.conflicts
    assert set(plan.untouched) <= same
    assert not {address.partition(":")[0] for address in plan.restarts} & same
    machine.perform(plan, now)
    assert machine.plan(now).actions == ()
    orders = [ORDERS] if any(worker.limits != Limits() for worker in now) else []
    assert sorted(machine.files) == sorted(
        [*orders, *(f"{CONF_DIR}/myapp_{worker.name}.conf" for worker in now)]
    )
    assert sorted(machine.processes, key=lambda p: p.name) == sorted(
        (p for worker in now for p in running(worker)), key=lambda p: p.name
    )


def test_files_of_other_projects_with_a_longer_name_are_left_alone() -> None:
    machine = Machine()
    other = Project("myapp_b", "/srv/myapp_b", "/logs/myapp_b", ACCOUNT)
    wanted = Wanted(other, (replace(make_worker("queue", {}), project=other),), machine.site)
    files = ReadMatching(CONF_DIR, "myapp_b_*.conf")
    answers = {query: {} if query == files else machine.answer(query) for query in BACKEND.queries(wanted)}
    plan = BACKEND.plan(wanted, answers, Override())
    machine.files = {action.path: action.content for action in plan.actions if isinstance(action, WriteFile)}
    assert list(machine.files) == [f"{CONF_DIR}/myapp_b_queue.conf"]
    assert machine.plan(()) == Plan()


def test_the_daemon_is_asked_before_anything_else() -> None:
    assert BACKEND.queries(Machine().wanted(()))[0] == AskSupervisor()


def test_only_workers_of_this_backend_belong_here() -> None:
    worker = make_worker("queue", {})
    schedule = Schedule(worker.project, "backup", "custom", "cron", "* * * * *", ("/bin/true",))
    assert [BACKEND.holds(unit) for unit in (worker, replace(worker, backend="native"), schedule)] == [
        True,
        False,
        False,
    ]


def test_two_workers_of_one_name_are_a_conflict() -> None:
    twin = make_worker("queue", {})
    plan = Machine().plan((twin, replace(twin, preset="other")))
    assert {conflict.reason for conflict in plan.conflicts} == {
        "two workers would be called myapp_queue in Supervisor"
    }
    assert not [action for action in plan.actions if isinstance(action, WriteFile | UpdateGroup)]


def test_addresses_that_give_one_name_are_refused() -> None:
    refuse_collisions([("a", "b"), ("a", "c"), ("a_b", "d"), ("a", "b")])
    with pytest.raises(UserError, match="a_b/c and a/b_c would both be called a_b_c"):
        refuse_collisions([("a_b", "c"), ("x", "y"), ("a", "b_c")])
