"""Control without root: each kind of caller, as a real user at the real socket, against the whole table of calls."""

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine_rig import PYTHON, EngineRig, engine_rig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keeper_rig import until

from shiftboss.api import calls
from shiftboss.api.client import Client
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.spec import Account
from shiftboss.core.wire.entry import Entry, Grants, with_revision
from shiftboss.host.accounts import acting_as
from shiftboss.host.engine_account import engine_identity

pytestmark = pytest.mark.needs_root

GROUP_SHIFTBOSS = 53_901  # in the /etc/group that this engine sees, and nowhere else
DEVELOPERS, AUDITORS = 53_902, 53_903
DENIED = ("permission denied", "no unit of project")


def person(uid: int, *groups: int, name: str = "") -> Account:
    return Account(name or str(uid), uid, uid, str(uid), "/", groups=(uid, *groups))


CALLERS = {
    "root": person(0),
    "member of the group shiftboss": person(53_910, GROUP_SHIFTBOSS),
    "project user": person(5, name="games"),
    "operator": person(8, name="mail"),
    "operator by group": person(53_911, DEVELOPERS),
    "viewer": person(38, name="list"),
    "viewer by group": person(53_912, AUDITORS),
    "user of another project": person(9, name="news"),
    "stranger": person(65_534, 100, name="nobody"),
}
MAY = {
    "root": {"anyone", "read", "operate", "admin"},
    "member of the group shiftboss": {"anyone", "read", "operate", "admin"},
    "project user": {"anyone", "read", "operate"},
    "operator": {"anyone", "read", "operate"},
    "operator by group": {"anyone", "read", "operate"},
    "viewer": {"anyone", "read"},
    "viewer by group": {"anyone", "read"},
    "user of another project": {"anyone"},  # has a right on something here, and none on `app`
    "stranger": set(),
}
GRANTS = Grants((8,), (DEVELOPERS,), (38,), (AUDITORS,))
# how a call asks about `app/queue`; one that is not here names it in `targets` or `target` and nothing else
ARGUMENTS: dict[str, dict[str, Any]] = {
    "scale": {"processes": 2},
    "logs": {"lines": 5},
    "run_log": {"run": 1},
}
# what must succeed for who may ask it of a worker; others may have reasons of their own to refuse
ABOUT_WORKERS = {"status", "history", "events", "logs", "start", "stop", "restart", "scale"}
END_OF_EVERYTHING = {"shutdown"}


@dataclass
class Raw:
    """A connection of somebody, line by line."""

    socket: socket.socket
    rest: bytes = b""

    def ask(self, call: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
        """Make a call and return its answer; the engine may hang up with an error instead."""
        line = json.dumps({"id": number, "call": call, "args": arguments}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            self.socket.sendall(line)
        return self.hear()

    def hear(self) -> dict[str, Any]:
        while b"\n" not in self.rest:
            part = self.socket.recv(1 << 16)
            assert part, "hung up"
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


@contextlib.contextmanager
def connected(rig: EngineRig, who: str) -> Iterator[Raw]:
    """Connect as somebody; the kernel remembers who it was (unix(7))."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(15)
        with acting_as(CALLERS[who]):
            made.connect(rig.socket)
        yield Raw(made)


@contextlib.contextmanager
def client(rig: EngineRig, who: str) -> Iterator[Client]:
    """Give our own client, as somebody."""
    with acting_as(CALLERS[who]):
        made = Client(rig.socket)
    with made:
        yield made


def entries(rig: EngineRig, grants: Grants = GRANTS) -> tuple[Entry, ...]:
    say = ("/bin/sh", "-c", "echo a line of $SHIFTBOSS_RUN; exec sleep 100000")
    made = rig.worker("queue", *say, user="games", processes=2, policy_grants=grants, processes_max=3)
    other = rig.worker("vault", *say, user="news", policy_log_path=str(rig.root / "logs/secrets/vault.log"))
    return made, with_revision(other._replace(address="secrets/vault"))


def write(rig: EngineRig, *wanted: Entry) -> None:
    rig.write(*wanted)


@pytest.fixture(scope="module")
def rig() -> Iterator[EngineRig]:
    """Give an engine with two projects, which sees a group `shiftboss` that only it sees."""
    with engine_rig() as made:
        started(made)
        yield made


def started(rig: EngineRig) -> None:
    logs = rig.root / "logs" / "secrets"
    logs.mkdir()
    os.chown(logs, *engine_identity())
    write(rig, *entries(rig))
    etc = (
        rig.root / "etc"
    )  # whole: a mount on a single file goes when useradd replaces that file for everybody
    etc.mkdir()
    for name in ("passwd", "nsswitch.conf", "ld.so.cache"):
        shutil.copy(f"/etc/{name}", etc)
    more = f"shiftboss:x:{GROUP_SHIFTBOSS}:\nshop-developers:x:{DEVELOPERS}:uucp\n"
    (etc / "group").write_text(Path("/etc/group").read_text() + more)
    script = f'mount --bind {etc} /etc && exec "$@"'
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "--")
    rig.launch_written(before=before)
    rig.until_running(3)


def pids(rig: EngineRig) -> dict[str, int | None]:
    with rig.client() as root:
        status = root.status()
    units = (unit for project in status.projects for unit in project.units)
    return {f"{unit.address}:{p.process}": p.pid for unit in units for p in unit.processes}


def put_in_order(rig: EngineRig) -> None:
    with rig.client() as root:
        root.scale("app/queue", 2, wait_seconds=30)
        root.start("app", "secrets", wait_seconds=30)
    rig.until_running(3)


def about_app(name: str) -> dict[str, Any]:
    fields = calls.CALLS[name].args.__struct_fields__
    target = {"targets": ["app/queue"]} if "targets" in fields else {}
    return {**target, **({"target": "app/queue"} if "target" in fields else {}), **ARGUMENTS.get(name, {})}


def is_denied(answer: dict[str, Any]) -> bool:
    error = answer.get("error")
    if error is None:
        return False
    denied = any(error["message"].startswith(words) for words in DENIED)
    assert error["hint"] or not denied, error
    assert denied or error["kind"] != "denied", error
    return denied


def asked_as(rig: EngineRig, who: str, name: str) -> dict[str, Any] | None:
    """Make a call about `app/queue` as somebody; None while other tests have used up what that user may change."""
    with connected(rig, who) as raw:
        answer = raw.ask(name, **about_app(name))
    return None if "too many changes" in str(answer.get("error")) else answer


def in_time(change: Callable[[], object]) -> None:
    """Make a change as soon as its user may make one again: the tests before may have used that up."""

    def made() -> bool:
        try:
            change()
        except HostError as error:
            if "too many changes" in error.message:
                return False
            raise
        return True

    until(made, "a change that is taken", 30)


@pytest.mark.parametrize("who", CALLERS)
def test_the_whole_table_of_calls(rig: EngineRig, who: str) -> None:
    """Each call is carried out for exactly those whom the table allows it; for the others nothing happens."""
    for name, call in calls.CALLS.items():
        may = call.access in MAY[who]
        if may and name in END_OF_EVERYTHING:
            continue  # tried below, on an engine of its own
        put_in_order(rig)
        before = None if may else pids(rig)
        answer = until(lambda name=name: asked_as(rig, who, name), f"an answer to {name}", 30)
        assert is_denied(answer) != may, (name, answer)
        assert "error" in answer or may, (name, answer)
        assert "error" not in answer or not may or name not in ABOUT_WORKERS, (name, answer)
        assert before is None or pids(rig) == before, name


def test_a_member_of_the_group_may_end_everything() -> None:
    with engine_rig() as made:
        started(made)
        with connected(made, "operator") as raw:
            assert is_denied(raw.ask("shutdown"))
        with connected(made, "member of the group shiftboss") as raw:
            assert raw.ask("shutdown") == {"id": 1, "reply": {}}
        assert made.process
        assert made.process.wait(30) == 0


def test_without_that_group_its_number_is_nobody() -> None:
    with engine_rig() as made:
        made.launch(made.worker())
        made.until_running(1)
        with connected(made, "member of the group shiftboss") as raw:
            assert is_denied(raw.ask("status"))


@pytest.mark.parametrize("who", ["project user", "operator by group", "viewer"])
def test_who_asks_for_everything_gets_what_is_theirs(rig: EngineRig, who: str) -> None:
    with client(rig, who) as one:
        assert [project.name for project in one.status().projects] == ["app"]
        assert {event.target for event in one.history(calls.History(limit=10_000)).events} == {"app/queue"}
        assert [log.target for log in one.logs().logs] == ["app/queue"]
        assert any("a line of" in line for line in one.logs("app/queue").logs[0].lines)


def test_who_has_more_groups_than_the_kernel_tells_at_once_is_looked_up(rig: EngineRig) -> None:
    """Python takes 1024 bytes of SO_PEERGROUPS; beyond that the group database is asked, by the user."""
    many = tuple(range(60_000, 60_300))
    for uid, may in ((10, True), (53_913, False)):  # uucp is in that group, the other one is nobody
        with socket.socket(socket.AF_UNIX) as made:
            made.settimeout(15)
            with acting_as(person(uid, *many)):
                made.connect(rig.socket)
            assert is_denied(Raw(made).ask("status")) != may, uid


def test_who_stops_everything_stops_what_is_theirs(rig: EngineRig) -> None:
    before = pids(rig)
    with client(rig, "operator") as one:
        changed = one.restart(wait_seconds=30)
    assert {process.target for process in changed.processes} == {"app/queue:1", "app/queue:2"}
    after = pids(rig)
    assert after["secrets/vault:1"] == before["secrets/vault:1"]
    assert after["app/queue:1"] != before["app/queue:1"]


def test_others_projects_are_named_nowhere(rig: EngineRig) -> None:
    """Neither in answers, errors and suggestions nor in what is subscribed to."""
    said: list[dict[str, Any]] = []
    with connected(rig, "operator") as listener, connected(rig, "operator") as follower:
        said += [listener.ask("events"), follower.ask("logs", follow=True)]
        with connected(rig, "operator") as raw:
            for name in calls.CALLS:
                if name not in ("events", "shutdown", "scale", "stop"):
                    said.append(raw.ask(name, number=len(said)))
            wrong = (["secret"], ["secrt/vau"], ["app/vaul"], ["app", "secrt"])
            for number, targets in enumerate(wrong, 100):
                said.append(raw.ask("status", number, targets=targets))
                assert "error" in said[-1], targets
        with rig.client() as root:
            root.restart("secrets/vault", wait_seconds=30)
            root.restart("app/queue:1", wait_seconds=30)
        while "RUNNING" not in str(said[-1]):  # of app/queue:1: told after all that was before it
            said.append(listener.hear())
        while "item" not in said[-1] or "lines" not in said[-1]["item"]:
            said.append(follower.hear())
    text = json.dumps(said)
    assert '"app/queue"' in text
    for word in ("secrets", "vault", "news"):
        assert word not in text, text[max(text.find(word) - 300, 0) :][:600]


@pytest.mark.parametrize("call", [name for name, c in calls.CALLS.items() if c.access in ("read", "operate")])
def test_a_project_of_others_is_as_one_that_does_not_exist(rig: EngineRig, call: str) -> None:
    def said(project: str) -> str:
        arguments = json.loads(json.dumps(about_app(call)).replace("app/queue", f"{project}/vault"))
        with connected(rig, "operator") as raw:
            error = raw.ask(call, **arguments)["error"]
        return json.dumps(error).replace(project, "NAME")

    assert said("secrets") == said("nothing")


def test_a_manifest_of_others_that_is_broken_is_not_told(rig: EngineRig) -> None:
    rig.expects_errors = True
    path = rig.manifest / "secrets.json"
    good = path.read_text()
    try:
        path.write_text("{")
        with rig.client() as root:
            assert root.reload().errors
            assert any("secrets.json" in words for words in root.status().troubles)
        with client(rig, "operator") as one:
            assert not any("secrets" in words for words in one.status().troubles)
    finally:
        path.write_text(good)
        with rig.client() as root:
            assert not root.reload().errors


def test_scaling_has_the_limit_that_root_set(rig: EngineRig) -> None:
    try:
        with client(rig, "operator") as one:
            with pytest.raises(UserError, match="at most 3 are allowed"):
                one.scale("app/queue", 4)
            one.scale("app/queue", 3, wait_seconds=30)
        assert "app/queue:3" in pids(rig)
    finally:
        with rig.client() as root:
            root.scale("app/queue", 2, wait_seconds=30)
        until(lambda: "app/queue:3" not in pids(rig), "two processes")


def test_the_history_says_who_did_it(rig: EngineRig) -> None:
    with client(rig, "operator") as one:
        in_time(lambda: one.stop("app/queue:2", wait_seconds=30))
    with client(rig, "operator by group") as two:
        in_time(lambda: two.start("app/queue:2", wait_seconds=30))
    with rig.client() as root:
        until(lambda: len(asked(root)) >= 2, "both to be stored")
        start, stop = asked(root)[:2]
    assert (stop.reason, stop.process, stop.who, stop.uid) == ("stop", 2, "mail", 8)
    assert (start.reason, start.process, start.who, start.uid) == ("start", 2, "53911", 53_911)


def asked(root: Client) -> tuple[calls.Event, ...]:
    return root.history(calls.History(kinds=("asked",), targets=("app",))).events


def test_rights_that_root_takes_are_gone_at_once_for_who_is_connected(rig: EngineRig) -> None:
    with client(rig, "viewer") as still_there, connected(rig, "viewer") as listener:
        listener.ask("events")
        still_there.status()
        try:
            write(rig, *entries(rig, Grants()))
            with rig.client() as root:
                root.reload()
                with pytest.raises(ShiftbossError, match="permission denied"):
                    still_there.status()
                root.restart("app/queue:1", wait_seconds=30)
            listener.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                listener.hear()
            with connected(rig, "viewer") as late:
                assert is_denied(late.ask("ping"))
        finally:
            write(rig, *entries(rig))
            with rig.client() as root:
                assert root.reload(wait_seconds=30).restarted == (), "rights need no restart"
        still_there.status()


def test_a_user_has_so_many_connections_and_root_still_gets_in(rig: EngineRig) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connected(rig, "viewer")) for _ in range(40)]
        answers = [one.ask("ping") for one in crowd]
        assert [("reply" in answer) for answer in answers] == [True] * 16 + [False] * 24
        assert "too many clients" in str(answers[-1])
        with client(rig, "operator") as other:
            other.status()
        rig.client().close()
    until(lambda: "reply" in ping(rig, "viewer"), "room again")


def test_a_user_who_reads_nothing_is_searched_nothing_more(rig: EngineRig) -> None:
    """Large answers that nobody reads lie in the engine's memory: two of one user, however many connections ask."""
    with (rig.logs / "queue.log").open("ab") as log:
        log.write((b"\1" * 1000 + b"\n") * 3000)  # six times as long in JSON
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connected(rig, "viewer")) for _ in range(6)]
        for one in crowd:
            one.socket.sendall(
                b'{"id": 1, "call": "logs", "args": {"targets": ["app/queue"], "lines": 10000}}\n'
            )
        answered = until(lambda: len(found := with_answers(crowd)) >= 2 and found, "the first answers")
        for one in answered[:2]:
            assert len(one.hear()["reply"]["logs"][0]["lines"]) >= 3000
        more = until(
            lambda: len(found := with_answers([o for o in crowd if o not in answered])) >= 2 and found, "more"
        )
        assert (len(answered), len(more)) == (2, 2)
        with client(rig, "operator") as other:
            other.status()


def with_answers(crowd: list[Raw]) -> list[Raw]:
    """Return those for whom something lies ready."""
    ready, _, _ = select.select([one.socket for one in crowd], [], [], 0)
    return [one for one in crowd if one.socket in ready]


def ping(rig: EngineRig, who: str) -> dict[str, Any]:
    with connected(rig, who) as raw:
        return raw.ask("ping")


def test_who_asks_for_changes_all_the_time_is_slowed_down(rig: EngineRig) -> None:
    """A history has room for so many events: one project must not drive out those of the others."""
    who = "project user"
    with client(rig, who) as one:
        for _ in range(600):  # on a slow machine some of the right to change comes back meanwhile
            try:
                one.start("app/queue:1")
            except HostError as error:
                assert "too many changes" in error.message  # noqa: PT017 -- some of them
                break
        else:
            pytest.fail("600 changes at once were taken")
        one.status()
        until(lambda: _may_start(one), "a change that is taken again", 10)


def _may_start(one: Client) -> bool:
    with contextlib.suppress(HostError):
        one.start("app/queue:1")
        return True
    return False


ANY_TARGET = st.sampled_from(["app", "app/queue", "app/queue:1", "secrets", "secrets/vault", "", "../x", "*"])
ANY_VALUE = st.one_of(
    ANY_TARGET,
    st.lists(ANY_TARGET, max_size=3),
    st.integers(-1, 3),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
)
ANY_NAME = st.sampled_from(
    sorted({name for call in calls.CALLS.values() for name in call.args.__struct_fields__})
)


@given(
    st.sampled_from(["viewer", "user of another project"]),
    st.lists(
        st.tuples(st.sampled_from([*calls.CALLS]), st.dictionaries(ANY_NAME, ANY_VALUE, max_size=3)),
        min_size=5,
        max_size=15,
    ),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_asked_nothing_of_others_is_touched(
    rig: EngineRig, who: str, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    """Any request in any form, from who may only look at `app`, or has nothing to do with it."""
    before = {
        address: pid for address, pid in pids(rig).items() if who == "viewer" or address.startswith("app/")
    }
    with connected(rig, who) as raw:
        for number, (call, arguments) in enumerate(requests, 1):
            answer = raw.ask(call, number, **arguments)
            while answer.get("id") != number:
                answer = raw.hear()
            if call in ("reload", "shutdown"):
                assert "error" in answer
    now = pids(rig)
    assert {address: now.get(address) for address in before} == before


FLOOD = """
import contextlib, socket, sys, time
end, count, kept = time.monotonic() + float(sys.argv[2]), 0, []
while time.monotonic() < end or count < 1000:
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    with contextlib.suppress(OSError):
        s.connect(sys.argv[1])
        count += 1
        s.send(sys.argv[3].encode().decode("unicode_escape").encode("latin-1") * int(sys.argv[4]))
        kept.append(s)
    if len(kept) > 900:
        kept.pop(0).close()
print(count)
"""


@pytest.mark.parametrize(
    ("who", "words", "times"),
    [
        ("stranger", "", 1),
        ("stranger", "rubbish\\xff\\n", 1000),
        ("viewer", '{"id": 1, "call": "status"}\\n', 3000),
        ("viewer", '{"id": 1, "call": "history", "args": {"limit": 10000}}\\n', 500),
        ("operator", "{}\\n", 30_000),
    ],
)
def test_a_flood_hurts_nobody_else(rig: EngineRig, who: str, words: str, times: int) -> None:
    """A thousand connections and more, held open, never read: others are answered, and nothing is stopped."""
    account = CALLERS[who]
    ids = (f"--reuid={account.uid}", f"--regid={account.uid}", "--clear-groups")
    command = ["setpriv", *ids, "--", PYTHON, "-c", FLOOD, rig.socket, "2", words, str(times)]
    before, slowest, asked_for = pids(rig), 0.0, 0
    flood = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while flood.poll() is None:
            start = time.monotonic()
            with Client(rig.socket) as root:
                root.status("app")
            slowest, asked_for = max(slowest, time.monotonic() - start), asked_for + 1
    finally:
        flood.kill()
        output = flood.communicate()[0]
    print(
        f"{who}: {output.strip()} connections, {asked_for} answers to root, slowest {slowest * 1000:.0f} ms"
    )
    assert int(output) >= 1000
    assert asked_for > 1  # hundreds where the machine has time
    assert slowest < 3
    assert pids(rig) == before
