"""Logs of backends that capture nothing: made first, never through a link, writable for who has to write."""

import pytest
from msgspec.structs import replace
from tests.small_server import ACCOUNT, SmallServer, project, site

from shiftboss.backends.contract import Wanted
from shiftboss.backends.logs import Writer, log_queries, prepare_logs
from shiftboss.core.facts import PathFacts
from shiftboss.core.plan import CreateFile, MakeDirectory, Plan
from shiftboss.core.spec import Account

PARENT = "/infra/logs/projects"
LOGS = f"{PARENT}/myapp"
LOG = f"{LOGS}/queue.log"
PATHS = (("myapp/queue", LOG),)
UID, GID = ACCOUNT.uid, ACCOUNT.gid
PARENT_OF_ROOT = PathFacts(0, 0, 0o755, "directory")


def prepared(
    directory: PathFacts | None = None,
    log: PathFacts | None = None,
    *,
    writer: Writer = "project",
    parent: PathFacts = PARENT_OF_ROOT,
    system: bool = True,
) -> Plan:
    facts = {PARENT: parent, LOGS: directory, LOG: log}
    server = SmallServer({path: fact for path, fact in facts.items() if fact is not None})
    wanted = Wanted(project(), (), site(system=system))
    return prepare_logs(wanted, PATHS, server.answers(log_queries(wanted, PATHS)), writer=writer)


def directory(uid: int, gid: int, mode: int) -> PathFacts:
    return PathFacts(uid, gid, mode, "directory")


def test_directory_of_a_system_is_roots_and_its_files_the_projects():
    assert prepared().actions == (
        MakeDirectory("myapp", LOGS, 0, GID, 0o2750),
        CreateFile("myapp/queue", LOG, UID, GID, 0o640),
    )


def test_directory_of_a_plain_user_is_that_users():
    assert prepared(system=False).actions[0] == MakeDirectory("myapp", LOGS, UID, GID, 0o750)


def test_nothing_is_asked_or_planned_without_a_log():
    wanted = Wanted(project(), (), site())
    assert log_queries(wanted, ()) == ()
    assert prepare_logs(wanted, (), {}) == Plan()


@pytest.mark.parametrize("writer", ["root", "project"])
def test_what_is_there_and_good_is_left_alone(writer: Writer):
    assert prepared(directory(0, GID, 0o2750), PathFacts(UID, GID, 0o640, "file"), writer=writer) == Plan()


@pytest.mark.parametrize("kind", ["link", "file", "other"])
@pytest.mark.parametrize("writer", ["root", "project"])
def test_something_else_in_the_place_of_the_directory_is_a_conflict(kind: str, writer: Writer):
    planned = prepared(PathFacts(UID, GID, 0o777, kind), writer=writer)  # type: ignore[arg-type]
    assert (planned.actions, [c.remedy for c in planned.conflicts]) == ((), [""])
    assert planned.conflicts[0].path == LOGS


@pytest.mark.parametrize("kind", ["link", "directory", "other"])
@pytest.mark.parametrize("writer", ["root", "project"])
def test_something_else_in_the_place_of_a_log_is_a_conflict(kind: str, writer: Writer):
    planned = prepared(directory(0, GID, 0o2750), PathFacts(UID, GID, 0o777, kind), writer=writer)  # type: ignore[arg-type]
    assert (planned.actions, [c.remedy for c in planned.conflicts]) == ((), [""])
    assert planned.conflicts[0].path == LOG


@pytest.mark.parametrize(
    ("log", "writable"),
    [
        ((UID, GID, 0o640), True),
        ((0, GID, 0o660), True),
        ((0, 0, 0o666), True),
        ((0, 0, 0o644), False),
        ((0, GID, 0o640), False),
        ((UID, GID, 0o440), False),
    ],
)
def test_a_log_must_be_writable_for_the_project_user_who_appends_but_root_needs_no_bits(
    log: tuple[int, int, int], writable: bool
):
    facts = PathFacts(*log, "file")
    assert bool(prepared(directory(0, GID, 0o2750), facts).conflicts) is not writable
    assert prepared(directory(0, GID, 0o2750), facts, writer="root").conflicts == ()


@pytest.mark.parametrize(
    ("facts", "noted"),
    [
        ((UID, GID, 0o750), True),
        ((0, GID, 0o2770), True),
        ((0, 0, 0o1777), True),
        ((0, GID, 0o2750), False),
        ((7, 7, 0o755), False),
    ],
)
def test_a_directory_in_which_links_can_be_planted_is_noted_only_where_root_writes(
    facts: tuple[int, int, int], noted: bool
):
    log = PathFacts(UID, GID, 0o640, "file")
    assert bool(prepared(directory(*facts), log, writer="root").notes) is noted
    assert prepared(directory(*facts), log, writer="root").conflicts == ()
    assert not prepared(directory(*facts), log, writer="project").notes
    assert not prepared(directory(*facts), log, writer="root", system=False).notes


@pytest.mark.parametrize(
    ("parent", "noted"),
    [((UID, GID, 0o750), True), ((UID, GID, 0o1750), True), ((0, 0, 0o777), True), ((0, 0, 0o1777), False)],
)
def test_a_directory_that_can_be_replaced_as_a_whole_is_noted(parent: tuple[int, int, int], noted: bool):
    log = PathFacts(UID, GID, 0o640, "file")
    planned = prepared(directory(0, GID, 0o2750), log, writer="root", parent=directory(*parent))
    assert bool(planned.notes) is noted


def test_a_directory_that_is_closed_to_the_project_user_is_noted_with_the_mend():
    planned = prepared(directory(0, 0, 0o700), PathFacts(UID, GID, 0o640, "file"))
    assert f"chgrp {ACCOUNT.group} {LOGS}" in planned.notes[0]
    assert not prepared(directory(0, 0, 0o700), PathFacts(UID, GID, 0o640, "file"), writer="root").notes


def test_a_project_of_root_may_write_everywhere():
    root = replace(project(), account=Account("root", 0, 0, "root", "/root"))
    wanted = Wanted(root, (), site())
    server = SmallServer(
        {PARENT: PARENT_OF_ROOT, LOGS: directory(0, 0, 0o700), LOG: PathFacts(0, 0, 0o600, "file")}
    )
    answers = server.answers(log_queries(wanted, PATHS))
    assert prepare_logs(wanted, PATHS, answers) == Plan()
    assert prepare_logs(wanted, PATHS, answers, writer="root") == Plan()
