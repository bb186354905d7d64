"""The api socket: who may ask, what nonsense does (nothing), and what a client does that does not read."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from engine_rig import PYTHON, EngineRig, engine_rig
from hypothesis import given, settings
from hypothesis import strategies as st
from keeper_rig import until

from shiftboss.api import calls
from shiftboss.api.client import Client
from shiftboss.core.errors import HostError, UserError


@pytest.fixture(scope="module")
def rig() -> Iterator[EngineRig]:
    with engine_rig() as made:
        made.launch(made.worker(processes=2))
        made.until_running(2)
        yield made


class Raw:
    """A client that says what it likes."""

    def __init__(self, rig: EngineRig) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(rig.socket)
        self.socket.settimeout(10)
        self.file = self.socket.makefile("rb")

    def say(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def hear(self) -> dict[str, object]:
        line = self.file.readline()
        assert line, "hung up"
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\n", "not a request"),
        (b"hello\n", "not a request"),
        (b"[]\n", "not a request"),
        (b"{}\n", "not a request"),
        (b'{"id": -1, "call": "ping"}\n', "not a request"),
        (b'{"id": 1, "call": "ping", "extra": 1}\n', "not a request"),
        (b'{"id": 1, "call": "explode"}\n', "no call 'explode'"),
        (b'{"id": 1, "call": "status", "args": {"targets": "myapp"}}\n', "wrong arguments"),
        (b'{"id": 1, "call": "status", "args": {"target": []}}\n', "wrong arguments"),
        (b'{"id": 1, "call": "status", "args": {"targets": ["../x"]}}\n', "not a project name"),
        (
            b'{"id": 1, "call": "scale", "args": {"target": "app/queue", "processes": -1}}\n',
            "wrong arguments",
        ),
        (b'{"id": 1, "call": "stop", "args": {"targets": [], "wait_seconds": 1e99}}\n', "wrong arguments"),
        (b'{"id": 1, "call": "history", "args": {"limit": 100000000}}\n', "wrong arguments"),
        (b'{"id": 1, "call": "ping", "args": ' + b"[" * 30000 + b"}\n", "not a request"),
        (b"\xff\xfe\x00\n", "not a request"),
    ],
)
def test_nonsense_gets_one_clear_line_and_the_client_stays(rig: EngineRig, line: bytes, words: str) -> None:
    with Raw(rig) as client:
        client.say(line)
        error = client.hear()["error"]
        assert isinstance(error, dict)
        assert error["kind"] == "user"
        assert words in error["message"]
        client.say(b'{"id": 7, "call": "ping"}\n')
        assert client.hear() == {"id": 7, "reply": {}}


def test_an_endless_line_is_cut_off(rig: EngineRig) -> None:
    with Raw(rig) as client, contextlib.suppress(OSError):
        for _ in range(100):
            client.say(b"x" * 65536)
        pytest.fail("it read 6 MB of one line")
    with Raw(rig) as client:
        client.say(b"x" * (calls.MAX_REQUEST + 1))
        error = client.hear()["error"]
        assert isinstance(error, dict)
        assert "longer than" in error["message"]
        assert client.file.readline() == b""


def test_one_client_cannot_listen_without_end(rig: EngineRig) -> None:
    with Raw(rig) as client:
        client.say(b"".join(b'{"id": %d, "call": "events"}\n' % number for number in range(1, 101)))
        answers = [client.hear() for _ in range(100)]
        assert sum("reply" in answer for answer in answers) == 32
        assert "too many streams" in str(answers[-1])
        client.say(b'{"id": 7, "call": "ping"}\n')
        assert client.hear() == {"id": 7, "reply": {}}


def test_many_requests_in_one_write_and_one_request_in_many(rig: EngineRig) -> None:
    with Raw(rig) as client:
        client.say(b"".join(b'{"id": %d, "call": "version"}\n' % number for number in range(1, 301)))
        assert sorted(int(str(client.hear()["id"])) for _ in range(300)) == list(range(1, 301))
        for byte in b'{"id": 5, "call": "ping"}\n':
            client.say(bytes([byte]))
        assert client.hear() == {"id": 5, "reply": {}}


def test_a_half_request_and_a_hang_up_do_nothing(rig: EngineRig) -> None:
    before = quiet(rig)
    for raw in (b"", b'{"id": 1, "call": "stop", "args": {"targets": []', b'{"id": 1, "call": "events"}\n'):
        with Raw(rig) as client:
            client.say(raw)
    assert world_of(rig) == before


def test_a_client_that_hangs_up_while_it_waits_harms_nobody(rig: EngineRig) -> None:
    with Raw(rig) as client:
        client.say(
            b'{"id": 1, "call": "restart", "args": {"targets": ["app/queue:2"], "wait_seconds": 60}}\n'
        )
    quiet(rig)


def test_the_same_id_twice_and_too_many_at_once_are_refused(rig: EngineRig) -> None:
    with Raw(rig) as client:
        client.say(b'{"id": 1, "call": "events"}\n')
        client.hear()
        for number in range(100, 100 + 40):
            client.say(
                b'{"id": %d, "call": "restart", "args": {"targets": ["app/queue"], "wait_seconds": 9}}\n'
                % number
            )
        refused = []
        while len(refused) < 1:
            answer = client.hear()
            refused += [answer] if "error" in answer else []
        assert "too many requests" in str(refused)
    rig.until_running(2)


def test_too_many_clients_are_refused_and_others_go_on(rig: EngineRig) -> None:
    crowd = [Raw(rig) for _ in range(200)]
    try:
        crowd[0].say(b'{"id": 1, "call": "ping"}\n')
        assert crowd[0].hear() == {"id": 1, "reply": {}}
        with Raw(rig) as late:
            assert "too many clients" in str(late.hear())
    finally:
        for client in crowd:
            client.__exit__()
    rig.client().close()


def test_a_listener_that_does_not_read_is_dropped(rig: EngineRig) -> None:
    with Raw(rig) as deaf, rig.client() as client:
        deaf.say(b'{"id": 1, "call": "events"}\n')
        deaf.hear()
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        until(lambda: _make_events(client) and "dropped" in rig.log, "the deaf one to be dropped", 60)
    rig.until_running(2)


def _make_events(client: Client) -> bool:
    for _ in range(300):
        client.start("app/queue")
    return True


def test_a_status_of_a_client_that_does_not_read_costs_bounded_memory(rig: EngineRig) -> None:
    with Raw(rig) as deaf:
        deaf.socket.settimeout(0.5)
        with pytest.raises(OSError, match=r"timed out|Broken pipe|reset"):  # noqa: PT012 -- fails at whichever is first
            while True:
                deaf.say(b'{"id": 1, "call": "status"}\n' * 1000)
        rig.client().close()
        status = Path(f"/proc/{rig.engine_pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        assert int(resident.split()[1]) < 150_000, resident


@pytest.mark.needs_root
def test_another_user_is_refused_with_a_clear_error(rig: EngineRig) -> None:
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({rig.socket!r}); print(s.makefile().readline())"
    done = subprocess.run(
        [PYTHON, "-c", code], user="nobody", group="nogroup", capture_output=True, text=True, check=True
    )
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "denied"
    assert "permission denied" in error["message"]
    assert error["hint"]


@pytest.mark.needs_root
def test_another_user_can_do_nothing(rig: EngineRig) -> None:
    before = quiet(rig)
    code = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({rig.socket!r})\n"
        "try:\n"
        '    s.sendall(b\'{"id": 1, "call": "stop", "args": {"targets": ["app"], "wait_seconds": 5}}\\n\' * 50)\n'
        "    print(s.makefile().read())\n"
        "except OSError as error: print(error)"
    )
    subprocess.run([PYTHON, "-c", code], user="nobody", group="nogroup", capture_output=True, check=True)
    assert world_of(rig) == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
lines = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda number, call, args: json.dumps({"id": number, "call": call, "args": args}).encode(),
        st.integers(0, 2**53 - 1) | json_values,
        st.sampled_from([*(name for name in calls.CALLS if name not in ("shutdown", "stop", "restart", "scale", "reload", "start", "events", "logs"))]) | st.text(max_size=10),
        st.fixed_dictionaries({}, optional={"targets": json_values, "limit": json_values, "since": json_values, "lines": json_values}) | json_values,
    ),
    st.builds(
        lambda call, key, value: json.dumps({"id": 1, "call": call, "args": {key: value}}).encode(),
        st.sampled_from(["stop", "restart", "scale", "start"]),
        st.sampled_from(["targets", "wait_seconds", "processes", "target", "keep"]),
        st.text(max_size=10) | st.lists(st.sampled_from(["", "x", "app/", "app/queue:0", "a b", "/", ":1"]), min_size=1, max_size=3) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
    ),
)  # fmt: skip


class World(NamedTuple):
    """What an action would change: who runs, as which run, under which engine, and what was asked of it."""

    engine: int
    processes: list[tuple[str, str, str, int, int | None]]
    wanted: list[tuple[str, int, int | None]]
    happened: list[calls.Event]


def world_of(rig: EngineRig) -> World:
    with rig.client() as client:
        units = [unit for project in client.status().projects for unit in project.units]
        happened = client.history(calls.History(limit=10_000)).events
    processes = [(u.address, p.state, p.wish, p.run, p.pid) for u in units for p in u.processes]
    return World(rig.engine_pid, processes, [(u.address, u.wanted, u.override) for u in units], [*happened])


def quiet(rig: EngineRig) -> World:
    """Wait until both processes run and nothing that an earlier test asked for is under way; return the world."""

    def found() -> World | None:
        first, second = world_of(rig), world_of(rig)
        runs = [state for _, state, *_ in second.processes] == ["RUNNING"] * 2
        return second if runs and first == second else None

    return until(found, "a quiet moment")


def test_fuzzed_lines_crash_nothing_and_do_nothing(rig: EngineRig) -> None:
    before = quiet(rig)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(lines, min_size=1, max_size=8))
    def fuzz(said: list[bytes]) -> None:
        with Raw(rig) as client:
            client.say(b"\n".join(line.replace(b"\n", b" ") for line in said) + b"\n")
            client.say(b'{"id": 4242, "call": "ping"}\n')
            while client.hear() != {"id": 4242, "reply": {}}:
                pass
        assert [(p.run, p.pid) for p in rig.processes()] == [row[3:] for row in before.processes]

    fuzz()

    assert world_of(rig) == before, "somebody did something"
    assert "started again" not in rig.log
    assert '"level": "ERROR"' not in rig.log


# ---- the client


def test_nobody_answers_where_no_engine_is(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        Client(str(tmp_path / "api.sock"))
    assert "not running" in caught.value.message
    assert "shiftboss up" in caught.value.hint


def test_a_socket_that_may_not_be_used_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        Client(str(tmp_path))
    assert caught.value.hint


def test_an_engine_that_hangs_up_is_told(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        client = Client(str(path))
        peer, _ = server.accept()
        peer.close()
        with client, pytest.raises(HostError):
            client.version()


def test_a_server_that_talks_nonsense_is_told(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        client = Client(str(path))
        peer, _ = server.accept()
        with peer, client:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(HostError, match="not understood"):
                client.version()


def test_the_client_is_quick_to_import() -> None:
    code = "import sys; import shiftboss.api.client; print(*sorted(m for m in sys.modules if m in ('asyncio', 'rich', 'click', 'psutil')))"
    source = str(Path(calls.__file__).parents[2])
    command = ["env", f"PYTHONPATH={source}", sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == ""


def test_a_refusal_is_a_user_error_with_its_hint(rig: EngineRig) -> None:
    with rig.client() as client, pytest.raises(UserError) as caught:
        client.scale("app/queue", 10_000)
    assert "at most 100" in caught.value.message
