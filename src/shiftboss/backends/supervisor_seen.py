"""The answers of the machine about one project at Supervisor, typed and grouped."""

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from shiftboss.backends.contract import Wanted
from shiftboss.backends.logs import path_facts
from shiftboss.backends.supervisor_names import supervisor_name
from shiftboss.core.facts import (
    Answers,
    AskSupervisor,
    PathFacts,
    ProcessFacts,
    ReadMatching,
    SupervisorFacts,
)
from shiftboss.core.plan import Override
from shiftboss.core.spec import Worker


class Seen(Struct, frozen=True):
    """The answers, typed.

    `files` are those of any owner whose name could be one of ours, by path; `names` says how often each name
    at Supervisor is wanted.
    """

    wanted: Wanted
    override: Override
    daemon_uid: int
    files: Mapping[str, str]
    paths: Mapping[str, PathFacts | None]
    groups: Mapping[str, tuple[ProcessFacts, ...]]
    names: Counter[str]


def see(wanted: Wanted, answers: Answers, override: Override) -> Seen:
    """Return the answers to `SupervisorBackend.queries`."""
    facts, files = answers[AskSupervisor()], answers[files_query(wanted)]
    assert isinstance(facts, SupervisorFacts)
    assert isinstance(files, dict)
    groups: dict[str, list[ProcessFacts]] = {}
    for process in facts.processes:
        groups.setdefault(process.group, []).append(process)
    workers = workers_of(wanted)
    return Seen(
        wanted,
        override,
        facts.uid,
        files,
        {path: path_facts(answers, path) for path in (path_of(wanted, worker) for worker in workers)},
        {group: tuple(processes) for group, processes in groups.items()},
        Counter(supervisor_name(wanted.project.name, worker.name) for worker in workers),
    )


def workers_of(wanted: Wanted) -> tuple[Worker, ...]:
    """Return the workers among the wanted units."""
    return tuple(unit for unit in wanted.units if isinstance(unit, Worker))


def files_query(wanted: Wanted) -> ReadMatching:
    """Return the question for all files whose name could be one of this project's."""
    return ReadMatching(wanted.site.supervisor.conf_dir, f"{wanted.project.name}_*.conf")


def path_of(wanted: Wanted, worker: Worker) -> str:
    """Return where the program file of a worker is."""
    return f"{wanted.site.supervisor.conf_dir}/{supervisor_name(worker.project.name, worker.name)}.conf"
