"""kill -9 of the capturing process at random moments: no byte is lost, doubled or moved, no line torn."""

import contextlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from capture_writer import stream

from shiftboss.core.rotation import CUT_MARK

HERE = Path(__file__).parent
KILLS = int(os.environ.get("CAPTURE_KILLS", "120"))
SECONDS = 100


class Writers:
    """Programs that write to pipes of which only the read ends are ours."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: dict[str, tuple[subprocess.Popen[bytes], int, int]] = {}

    def start(self, name: str, seed: int, pause_ms: float) -> int:
        read, write = os.pipe()
        argv = [sys.executable, "-S", HERE / "capture_writer.py", name, str(seed)]
        program = subprocess.Popen([*argv, self.directory / f"{name}.count", str(pause_ms)], stdout=write)
        os.close(write)
        self.running[name] = (program, read, seed)
        return read

    def expected(self, name: str) -> bytes:
        """Return what a writer has written, to the byte."""
        program, _, seed = self.running[name]
        assert program.wait(SECONDS) == 0
        count = int((self.directory / f"{name}.count").read_text())
        data = bytearray()
        for line in stream(name, seed):
            data += line
            if len(data) >= count:
                break
        assert len(data) == count
        return bytes(data)

    def close(self) -> None:
        for program, read, _ in self.running.values():
            program.kill()
            program.wait()
            os.close(read)


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    with contextlib.closing(Writers(tmp_path)) as writers:
        yield writers
    shutil.rmtree(tmp_path)  # pytest would keep hundreds of megabytes


def run_engines(tmp_path: Path, writers: Writers, logs: list[list[object]], **task: object) -> list[dict]:
    given = {
        "record": str(tmp_path / "takeover"),
        "logs": logs,
        "kills": KILLS,
        "least_bytes": 0,
        "seed": random.randrange(1 << 30),
        "writers": [program.pid for program, _, _ in writers.running.values()],
        **task,
    }
    result = subprocess.run(
        [sys.executable, HERE / "capture_engine.py"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        pass_fds=[log[3] for log in logs],
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def content(path: Path) -> bytes:
    """Return all that a log and its backups hold, oldest first."""
    backups = sorted(path.parent.glob(path.name + ".*"), key=lambda part: -int(part.suffix[1:]))
    return b"".join(part.read_bytes() for part in (*backups, path))


def difference(found: bytes, expected: bytes) -> str:
    at = next(
        (k for k, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]),
        min(len(found), len(expected)),
    )
    return f"{len(found)} bytes, expected {len(expected)}; at {at}: {found[at : at + 60]!r} for {expected[at : at + 60]!r}"


@pytest.mark.parametrize(("pause_ms", "longest_ms"), [(2, 30), (0, 12)])
def test_one_process_a_log_every_byte_once_and_in_order(
    tmp_path: Path, writers: Writers, pause_ms: float, longest_ms: float
) -> None:
    names, limit = ["A", "B", "C"], 300_000
    logs = [
        [f"p/{name}", 1, 1, writers.start(name, seed, pause_ms), f"{tmp_path}/{name}.log", limit, 100_000]
        for seed, name in enumerate(names)
    ]
    report = run_engines(tmp_path, writers, logs, longest_ms=longest_ms)
    for name in names:
        found, expected = content(tmp_path / f"{name}.log"), writers.expected(name)
        assert found == expected, difference(found, expected)
    assert all(not status["lost_bytes"] and not status["problem"] for status in report)


def test_rotated_files_end_with_whole_lines_and_keep_their_limit(tmp_path: Path, writers: Writers) -> None:
    logs = [["p/A", 1, 1, writers.start("A", 5, 1), f"{tmp_path}/A.log", 100_000, 100_000]]
    run_engines(tmp_path, writers, logs, longest_ms=20, least_bytes=600_000)
    backups = list(tmp_path.glob("A.log.*"))
    assert len(backups) > 3
    for part in backups:
        # a line of the writer may be 150 KB long, and lines beyond 64 KiB are split
        data = part.read_bytes()
        assert len(data) <= 100_000 + 65_536
        assert data.endswith(b"\n") or len(data) == 100_000 + 65_536


def test_several_processes_in_one_log_no_line_torn_none_lost_none_twice(
    tmp_path: Path, writers: Writers
) -> None:
    names = ["A", "B", "C", "D"]
    path = f"{tmp_path}/all.log"
    logs = [
        ["p/all", number, 1, writers.start(name, number, 2), path, 300_000, 100_000]
        for number, name in enumerate(names)
    ]
    run_engines(tmp_path, writers, logs, longest_ms=30)
    found = whole_lines_by_writer(content(Path(path)))
    for name in names:
        expected = writers.expected(name)
        assert found.pop(name) == expected, name
    assert not found


def whole_lines_by_writer(data: bytes) -> dict[str, bytes]:
    """Sort the lines of a shared log by writer and put cut ones together; fail at anything that is no line."""
    lines: dict[str, bytearray] = {}
    assert data.endswith(b"\n")
    every = data[:-1].split(b"\n")
    for number, line in enumerate(every):
        cut = line.endswith(CUT_MARK[:-1])
        text = line[: -len(CUT_MARK) + 1] if cut else line + b"\n"
        name = chr(text[0]).upper()
        sofar = lines.setdefault(name, bytearray())
        if text[:1].islower():  # more of a line that was cut
            assert not sofar.endswith(b"\n"), around(every, number)
            assert len(set(text.rstrip(b"\n"))) == 1
        else:
            assert not sofar or sofar.endswith(b"\n"), around(every, number)
            assert text[1:2] == b" ", around(every, number)
        sofar += text
    return {name: bytes(text) for name, text in lines.items()}


def around(lines: list[bytes], number: int) -> str:
    """Return the beginnings and ends of the lines around one, to see what happened."""
    near = lines[max(0, number - 5) : number + 5]
    return "\n".join(f"{line[:24]!r} {len(line)} {line[-24:]!r}" for line in near)


def test_the_checks_above_can_fail() -> None:
    good = b"".join(itertools.islice(stream("A", 1), 50))
    assert whole_lines_by_writer(good) == {"A": good}
    with pytest.raises(AssertionError):
        whole_lines_by_writer(good[:40] + b"B 00000001 b\n" + good[40:])
