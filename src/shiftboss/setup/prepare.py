"""From what is wanted to a plan: asks the machine what the backends need to know, then lets them plan."""

from collections.abc import Iterable

from msgspec.structs import replace

from shiftboss.backends.contract import Backend, Wanted
from shiftboss.backends.registry import BACKENDS
from shiftboss.core.errors import HostError
from shiftboss.core.facts import (
    AskEngine,
    AskSupervisor,
    EngineFacts,
    FindEngineAccount,
    FindGround,
    FindLauncher,
    FindRepeats,
    Query,
    ReadFile,
    ReadMatching,
    StatPath,
)
from shiftboss.core.plan import Override, Plan, UpdateGroup, merge
from shiftboss.core.spec import Project, Site, Unit
from shiftboss.host.machine import Machine
from shiftboss.setup.laravel import repeats_inside
from shiftboss.setup.unfinished import remembered

_NOTHING = Plan()
# what shows that a backend without units still has something of a project
_TELL_LEFTOVERS = ReadFile | ReadMatching | AskEngine


class Planner:
    """Plans projects one after the other; what is the same for all of them is asked only once."""

    def __init__(self, machine: Machine, site: Site) -> None:
        self._machine = machine
        self._answers: dict[Query, object] = {}
        self.site, self._no_supervisor = _located(machine, site)

    def plan(self, project: Project, units: Iterable[Unit], override: Override) -> Plan:
        """Return what brings every backend to hold exactly these units of a project.

        Raises HostError if a backend that is needed does not answer, UserError if a unit cannot be had there.
        """
        units = tuple(units)
        if self._no_supervisor and any(unit.backend == "supervisor" for unit in units):
            raise self._no_supervisor
        wanted = [(backend, self._wanted(backend, project, units)) for backend in BACKENDS.values()]
        plan = merge(
            backend.plan(what, self._ask(backend.queries(what)), override)
            for backend, what in wanted
            if self._concerned(backend, what)
        )
        return merge((plan, self.unfinished(project.name, plan)))

    def unfinished(self, project: str, plan: Plan = _NOTHING) -> Plan:
        """Return what an interrupted run left undone for this project and the plan does not do anyway."""
        planned = {action.group for action in plan.actions if isinstance(action, UpdateGroup)}
        left = remembered(self._machine.files, self.site)
        return Plan(
            actions=tuple(
                group
                for group in left
                if group.group not in planned and group.target.partition("/")[0] == project
            )
        )

    def _wanted(self, backend: Backend, project: Project, units: tuple[Unit, ...]) -> Wanted:
        return Wanted(project, tuple(unit for unit in units if backend.holds(unit)), self.site)

    def _concerned(self, backend: Backend, wanted: Wanted) -> bool:
        """A backend without units is only asked if files of this project are left there."""
        if wanted.units:
            return True
        if backend.name == "supervisor" and self._no_supervisor:
            return False
        queries = [query for query in backend.queries(wanted) if isinstance(query, _TELL_LEFTOVERS)]
        try:
            answers = self._ask(queries).values()
        except HostError:  # its directory is not even there, or we may not ask
            return False
        name = wanted.project.name
        texts = (text for answer in answers for text in _texts(answer))
        return any(backend.is_left_of(name, text) for text in texts) or any(_runs(a, name) for a in answers)

    def _ask(self, queries: Iterable[Query]) -> dict[Query, object]:
        asked = tuple(queries)
        for query in asked:
            if query not in self._answers:
                self._answers[query] = _answer(self._machine, self.site, query)
        return {query: self._answers[query] for query in asked}


def _located(machine: Machine, site: Site) -> tuple[Site, HostError | None]:
    """Fill in where Supervisor is; on a server without one, return why it was not found."""
    try:
        return replace(site, supervisor=machine.supervisors.locate(site.supervisor)), None
    except HostError as error:
        return site, error


def _answer(machine: Machine, site: Site, query: Query) -> object:
    match query:
        case ReadFile(path):
            return machine.files.read(path)
        case ReadMatching(directory, pattern):
            return machine.files.read_matching(directory, pattern)
        case StatPath(path):
            return machine.files.stat(path)
        case AskSupervisor():
            located = machine.supervisors.locate(
                site.supervisor
            )  # raises what is wrong, if it could not be found
            return machine.supervisors.connect(located).facts()
        case AskEngine():
            return machine.engines.connect(site.api_socket).facts()
        case _:
            return _found(machine, site, query)


def _found(
    machine: Machine, site: Site, query: FindGround | FindLauncher | FindEngineAccount | FindRepeats
) -> object:
    match query:
        case FindRepeats(schedule):
            return repeats_inside(machine, schedule)
        case FindGround():
            return machine.processes.ground()
        case FindLauncher():
            return machine.processes.launcher(as_root=site.system)
        case FindEngineAccount():
            return machine.accounts.engine()


def _runs(answer: object, project: str) -> bool:
    """Tell whether an engine still runs something of a project: a removal may have been interrupted."""
    units = answer.units if isinstance(answer, EngineFacts) else ()
    return any(unit.address.partition("/")[0] == project for unit in units if unit.processes)


def _texts(answer: object) -> list[str]:
    if isinstance(answer, dict):
        return [text for text in answer.values() if isinstance(text, str)]
    return [answer] if isinstance(answer, str) else []
