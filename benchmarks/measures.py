"""What is measured: each function sets one program up, does one thing to it, and returns figures.

Figures are numbers or lists of numbers (repeats) by name, so that runs can be stored and pooled. Times are
seconds; a child's start is the time that the child itself takes right after its exec.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import logs_check, observe
from benchmarks.logs_check import LINE
from benchmarks.observe import now
from benchmarks.peers.contract import Peer, Program

Figures = dict[str, float | list[float]]
UP_SECONDS = 60
SETTLE_SECONDS = 3.0  # more than a second: after a run that short every program waits before it restarts
BETWEEN_KILLS = (0.03, 0.13)
FLOOD_MIB = {80: 512, 4080: 768}
CALIBRATION_MIB = 16
KEPT_UP = 0.95


class Effort(NamedTuple):
    """How much is measured."""

    many: int = 1000
    some: int = 100
    crowd: int = 200
    neighbours: int = 500
    idle_seconds: float = 12
    flood_seconds: float = 3
    rate_seconds: float = 6
    kill_share: float = 1.0
    due: tuple[int, int] = (1, 500)
    storm: int = 5000
    schedules: int = 10_000
    wait_seconds: float = 60  # cron looks once a minute
    patient: bool = True  # wait for the full minute of a cron also where that shows little


FULL = Effort()
QUICK = Effort(
    many=200,
    crowd=50,
    neighbours=100,
    idle_seconds=5,
    flood_seconds=1.5,
    rate_seconds=3,
    kill_share=0.3,
    due=(1, 100),
    storm=1000,
    wait_seconds=10,
    patient=False,
)


class Failed(Exception):  # noqa: N818
    """A program did not do what was asked in time; the text says what."""


def told_by(script: str, rounds: int) -> dict[str, float | list[float]]:
    """Return the figures of one of our scripts, which runs in a process of its own; raises Failed."""
    command = [sys.executable, str(Path(__file__).with_name(script)), "--json", "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed("".join(done.stderr.strip().splitlines()[-1:]))
    return dict(json.loads(done.stdout))


class Case:
    """One program with `count` children, in a directory that is removed afterwards."""

    def __init__(self, peer: type[Peer], tools: Path, mode: str, count: int, *words: object) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="shiftboss-bench-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.seen = observe.Occurrences(self.directory / "events")
        self.peer = peer(tools, self.directory / "work")
        self._mode, self._words = mode, [str(word) for word in words]
        self.programs = [self.program(number) for number in range(count)]
        self.begun = 0.0

    def program(self, number: int) -> Program:
        """Return the program with this number."""
        name = f"p{number}"
        probe = str(self.peer.tools / "probe")
        return Program(name, (probe, self._mode, str(self.seen.path), name, *self._words))

    def pids(self) -> list[int]:
        """Return the children that live."""
        probe = str(self.peer.tools / "probe")
        self.seen.read()
        return [pid for pid in {row.pid for row in self.seen} if observe.program_of(pid) == probe]

    def begin(self) -> None:
        """Start the program and wait until every child has started; raises Failed."""
        self.begun = now()
        self.peer.begin(self.programs)

        def over() -> bool:
            return len(self.seen.by_name) >= len(self.programs) or not observe.is_alive(self.peer.roots[-1])

        self.seen.until(over, UP_SECONDS, 0.005)
        if len(self.seen.by_name) < len(self.programs):
            said = "".join((self.peer.work / "daemon.out").read_text(errors="replace").splitlines()[-1:])[
                :200
            ]
            took = now() - self.begun
            raise Failed(
                f"{len(self.seen.by_name)} of {len(self.programs)} had started after {took:.0f} s: {said}"
            )

    def end(self) -> None:
        """Stop everything and remove the directory."""
        try:
            self.peer.end()
        finally:
            self.seen.close()
            shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def running(peer: type[Peer], tools: Path, mode: str, count: int, *words: object) -> Iterator[Case]:
    """Give a case whose children have all started."""
    case = Case(peer, tools, mode, count, *words)
    try:
        case.begin()
        yield case
    finally:
        case.end()


def crash(peer: type[Peer], tools: Path, effort: Effort) -> Figures:
    """a: kill -9 one of 20 long-running children; how long until its replacement runs."""
    took, missed = [], 0
    with running(peer, tools, "mark", 20) as case:
        time.sleep(SETTLE_SECONDS)
        for number in range(max(3, int(peer.kills * effort.kill_share))):
            name = f"p{number % 20}"
            starts = case.seen.starts(name)
            begun = now()
            os.kill(starts[-1].pid, signal.SIGKILL)
            if case.seen.until(lambda n=name, s=starts: len(case.seen.starts(n)) > len(s), 20, 0.0005):
                took.append(case.seen.starts(name)[-1].at - begun)
            else:
                missed += 1
            time.sleep(random.uniform(*BETWEEN_KILLS))
    return {"restart_s": took, "missed": missed}


def mass(peer: type[Peer], tools: Path, effort: Effort) -> Figures:
    """a: kill -9 all of many children at once; how long until the last replacement runs."""
    with running(peer, tools, "mark", effort.crowd) as case:
        time.sleep(SETTLE_SECONDS)
        pids = [case.seen.starts(program.name)[-1].pid for program in case.programs]
        before = {program.name: len(case.seen.starts(program.name)) for program in case.programs}
        begun = now()
        observe.kill(pids)
        back = case.seen.until(lambda: all(len(case.seen.starts(n)) > k for n, k in before.items()), 60)
        if not back:
            raise Failed(f"not all of {effort.crowd} were back in 60 s")
        return {"all_back_s": max(case.seen.starts(n)[k].at for n, k in before.items()) - begun}


def scale(peer: type[Peer], tools: Path, effort: Effort, count: int) -> Figures:
    """b, c, d, f: start `count`, memory, idle, status, stop."""
    with running(peer, tools, "mark", count) as case:
        found: Figures = {"start_s": max(row.at for row in case.seen) - case.begun}
        time.sleep(SETTLE_SECONDS + 2)
        own = case.peer.own()
        found |= {"pss_mb": observe.memory(own), "processes": len(own)}
        if count > 1:
            found |= idle(own, effort.idle_seconds)
        found |= status(case, count)
        return found | stop(case)


def stop(case: Case) -> Figures:
    """Return how long it takes until all children have ended, nothing if it takes too long."""
    deaths = observe.Deaths(case.pids())
    begun = now()
    with contextlib.suppress(subprocess.TimeoutExpired):
        case.peer.stop_all()
    ended = deaths.wait(UP_SECONDS)
    took = now() - begun
    deaths.close()
    return {"stop_s": took} if ended else {}


def idle(own: list[int], seconds: float) -> Figures:
    """Return what processes use while nothing happens."""
    before, begun = observe.used(own), now()
    time.sleep(seconds)
    after, share = observe.used(own), 60 / (now() - begun)
    return {
        "idle_switches": (after.switches - before.switches) * share,
        "idle_cpu_s": (after.cpu - before.cpu) * share,
    }


def status(case: Case, count: int) -> Figures:
    """Return how long a question takes, by command line and without."""
    found: Figures = {}
    if case.peer.has_status:
        took, seen = [], 0
        for _ in range(3):
            begun = now()
            seen = case.peer.status()
            took.append(now() - begun)
        if seen >= count:
            found["status_cli_s"] = took
    if case.peer.has_api:
        found["status_api_s"] = case.peer.api(11)
    return found


def flood(peer: type[Peer], tools: Path, effort: Effort, block: int) -> Figures:
    """e: one writer flat out; a short run first finds out how much this program can take in the time."""
    speed = _flood(peer, tools, CALIBRATION_MIB, block)["mb_per_s"]
    assert isinstance(speed, float)
    size = min(FLOOD_MIB[block], max(CALIBRATION_MIB, speed * effort.flood_seconds))
    return _flood(peer, tools, size, block)


def _flood(peer: type[Peer], tools: Path, mib: float, block: int) -> Figures:
    total = int(mib * (1 << 20)) // block * block
    last = total // LINE - 1
    with running(peer, tools, "flood", 1, total, LINE, block) as case:
        time.sleep(1.5)  # the program may go on starting for a while
        program, own = case.programs[0], case.peer.own()
        before, begun = observe.used(own).cpu, now()
        Path(f"{case.seen.path}.go").touch()
        end = now() + UP_SECONDS
        while logs_check.last_number(case.peer.logs_of(program)) < last:
            if now() > end:
                raise Failed(f"the last of {total} bytes was not in the log after {UP_SECONDS} s")
            time.sleep(0.004)
        took = now() - begun
        time.sleep(0.3)
        cpu = observe.used(own).cpu - before
        harm = logs_check.damage(logs_check.read_all(case.peer.logs_of(program)))
    return {
        "cpu_s_per_gib": cpu / (total / (1 << 30)),
        "mb_per_s": total / 1e6 / took,
        "lost_bytes": (harm.missing + last - harm.last) * LINE,
        "torn_lines": harm.torn,
    }


def rate(peer: type[Peer], tools: Path, effort: Effort) -> Figures:
    """e: 50 children, 1000 lines a second each: which part of a core the program needs."""
    writers, each = 50, 1000
    wanted = writers * each
    with counters() as counts, running(peer, tools, "rate", writers, each, LINE, counts) as case:
        time.sleep(1.5)
        own = case.peer.own()
        before, lines, begun = observe.used(own), sum(written(counts).values()), now()
        time.sleep(effort.rate_seconds)
        after, took = observe.used(own), now() - begun
        speed = (sum(written(counts).values()) - lines) / took
    if speed < KEPT_UP * wanted:  # writers that wait for room in their pipe make a program look cheap
        raise Failed(f"did not keep up: {speed:,.0f} of {wanted:,} lines/s")
    return {"cpu_percent": (after.cpu - before.cpu) / took * 100, "lines_per_s": speed}


@contextlib.contextmanager
def counters() -> Iterator[Path]:
    """Give a directory in which every writer counts its lines."""
    with tempfile.TemporaryDirectory(prefix="shiftboss-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def written(counts: Path) -> dict[tuple[str, int], int]:
    """Return how many lines each writer (name, pid) has written."""
    found = {}
    for path in counts.iterdir():
        name, _, pid = path.name.rpartition(".")
        found[name, int(pid)] = int.from_bytes(path.read_bytes()[:8], "little")
    return found


def more(peer: type[Peer], tools: Path, effort: Effort) -> Figures:
    """g: one program more among many; from the request until it runs, and who else was restarted."""
    with running(peer, tools, "mark", effort.neighbours) as case:
        time.sleep(SETTLE_SECONDS + 1)
        case.seen.read()
        before, took = sum(1 for _ in case.seen), []
        for extra in range(3):
            new = case.program(effort.neighbours + extra)
            case.peer.programs.append(new)
            begun = now()
            case.peer.configure()
            configured = now()
            case.peer.announce()
            if not case.seen.until(lambda n=new.name: bool(case.seen.starts(n)), 30):
                raise Failed("the new program did not start in 30 s")
            first = case.seen.starts(new.name)[0].at
            took.append(first - (configured if first > configured else begun))
            time.sleep(1)
        case.seen.read()
        return {"runs_s": took, "restarted": sum(1 for _ in case.seen) - before - len(took)}


def kill(peer: type[Peer], tools: Path, effort: Effort, victim: str) -> Figures:
    """h: kill -9 the program itself under 20 children that log; start it again; look at everything."""
    with counters() as counts, running(peer, tools, "rate", 20, 500, LINE, counts) as case:
        time.sleep(SETTLE_SECONDS)
        first = {program.name: case.seen.starts(program.name)[-1].pid for program in case.programs}
        observe.kill(case.peer.victims_of(victim))
        time.sleep(2)
        observe.reap()
        alive = set(case.pids())
        found: Figures = {
            "alive": sum(pid in alive for pid in first.values()),
            "broken": sum(row.kind == "broken" for row in case.seen),
            "logging": float(grows(case)),
        }
        if victim != "each supervisor":  # these the scanner starts again
            case.peer.start()
        time.sleep(5)
        return found | copies(case) | lost_lines(case, counts)


def grows(case: Case) -> bool:
    """Tell whether the logs grow."""

    def size() -> int:
        return sum(path.stat().st_size for p in case.programs for path in case.peer.logs_of(p))

    before = size()
    time.sleep(1)
    return size() > before


def copies(case: Case) -> Figures:
    """Return how many programs run more than once, and how many do not run."""
    alive = set(case.pids())
    counts = [sum(row.pid in alive for row in case.seen.starts(p.name)) for p in case.programs]
    return {"twice": sum(n > 1 for n in counts), "missing": sum(n < 1 for n in counts)}


def lost_lines(case: Case, counts: Path) -> Figures:
    """Stop all writers, give the program a moment to drain, and count what is not in the logs."""
    for pid in case.pids():
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1)
    wrote, logged = written(counts), dict[tuple[str, int], set[int]]()
    for program in case.programs:
        for part in logs_check.read_all(case.peer.logs_of(program)):
            for line in filter(None, map(logs_check.numbered, part.split(b"\n"))):
                logged.setdefault((line.name, line.pid), set()).add(line.number)
    lost = sum(max(0, count - len(logged.get(writer, ()))) for writer, count in wrote.items())
    return {"lines_lost": lost, "lines_written": sum(wrote.values())}
