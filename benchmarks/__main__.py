"""shiftboss, other process managers, crons and the kernel's own limit on the same work, interleaved: `make bench`.

    python -m benchmarks [--quick] [--only a,b,…] [--peers NAME,…] [--rounds N] [--tools DIR] [--output DIR]
    python -m benchmarks --show DIR/results.json

Writes DIR/results.json (after each measure) and DIR/benchmarks.md; a full run also the page of the documentation.
"""

import argparse
import functools
import json
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from benchmarks import cold_start, measures, observe, on_time, page
from benchmarks.goals import LIMIT, OURS
from benchmarks.measures import Effort, Failed, Figures
from benchmarks.peers.circus import Circus
from benchmarks.peers.contract import Peer
from benchmarks.peers.limit import Limit
from benchmarks.peers.ours import Ours, OursConfined
from benchmarks.peers.pm2 import Pm2
from benchmarks.peers.scan_directory import S6, Daemontools, Runit
from benchmarks.peers.schedulers import SCHEDULERS
from benchmarks.peers.supervisor import Supervisor
from benchmarks.results import Results, Run

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = CHECKOUT / "docs/reference/benchmarks.md"
PEERS: tuple[type[Peer], ...] = (
    Limit,
    Ours,
    OursConfined,
    Supervisor,
    Circus,
    Pm2,
    Runit,
    S6,
    Daemontools,
)
LETTERS = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "cold")
Measure = Callable[[type[Peer], Path, Effort], Figures]


def plan(letters: set[str], effort: Effort) -> Iterator[tuple[str, Measure, bool]]:
    """Yield name and function of each measure, and whether a further round is worth its time."""
    if "a" in letters:
        yield "crash", measures.crash, True
        yield "mass", measures.mass, True
    if letters & set("bcdf"):
        for count in (1, effort.some, effort.many):
            yield f"scale {count}", functools.partial(measures.scale, count=count), count == effort.many
    if "e" in letters:
        yield "flood 80", functools.partial(measures.flood, block=80), True
        yield "flood 4080", functools.partial(measures.flood, block=4080), True
        yield "rate", measures.rate, True
    if "g" in letters:
        yield "more", measures.more, True


def takes_part(peer: type[Peer], name: str, number: int) -> bool:
    """Tell whether a program is measured in this round: peers once, ours and the limit in each."""
    if peer is OursConfined:
        return name == "crash"
    return number == 0 or peer.name in (LIMIT, OURS)


def measured(peer: type[Peer], measure: Callable[[], Figures]) -> Figures | str:
    """Return figures, or in words why there are none: one program's failure must not end the run."""
    try:
        return measure()
    except Failed as error:
        return str(error)
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    finally:
        observe.clear([])


def one_round(
    number: int, options: argparse.Namespace, peers: list[type[Peer]], effort: Effort
) -> Iterator[Run]:
    """Yield the results of all measures, programs taking turns within each."""
    order = random.Random(number)
    for name, measure, again in plan(options.only, effort):
        if number and not again:
            continue
        for peer in order.sample(peers, len(peers)):
            if takes_part(peer, name, number):
                yield run_one(number, name, peer, functools.partial(measure, peer, options.tools, effort))


def on_schedules(
    number: int, options: argparse.Namespace, known: Collection[str], effort: Effort
) -> Iterator[Run]:
    """Yield the results of i: programs that start what is due, taking turns."""
    order = random.Random(number)
    for name, measure, peers, again in on_time.plan(effort):
        for peer in order.sample(peers, len(peers)):
            if peer.name in known and (again or not number) and takes_part(peer, name, number):
                yield run_one(number, name, peer, functools.partial(measure, peer, options.tools, effort))
    if not number:
        maths = functools.partial(measures.told_by, "schedules.py", options.maths_rounds)
        yield run_one(number, "maths", Ours, maths)


def kills(options: argparse.Namespace, peers: list[type[Peer]], effort: Effort) -> Iterator[Run]:
    """Yield what became of the children of each program that was killed."""
    for peer in peers:
        for victim in peer.victims if takes_part(peer, "kill", 0) else ():
            act = functools.partial(measures.kill, peer, options.tools, effort, victim)
            yield run_one(0, f"kill {victim}", peer, act)


def everything(
    options: argparse.Namespace, peers: list[type[Peer]], known: Collection[str], effort: Effort
) -> Iterator[Run]:
    """Yield all results that were asked for; what is measured once comes first."""
    yield from one_round(0, options, peers, effort)
    if "h" in options.only:
        yield from kills(options, peers, effort)
    if "cold" in options.only:
        commands = functools.partial(cold_start.runs, options.tools, options.cold_rounds)
        yield from all_of("cold", commands)
        yield from all_of("launch", functools.partial(cold_start.launched, 3 * options.cold_rounds))
    for number in range(options.rounds):
        if number:
            yield from one_round(number, options, peers, effort)
        if "i" in options.only:
            yield from on_schedules(number, options, known, effort)


def all_of(name: str, act: Callable[[], Iterator[Run]]) -> Iterator[Run]:
    """Yield what is measured together, or in words why there is nothing."""
    begun = time.monotonic()
    try:
        found = list(act())
    except Exception as error:  # noqa: BLE001
        found = [Run(0, name, OURS, {}, f"{type(error).__name__}: {error}")]
    finally:
        observe.clear([])
    for run in found:
        say(run, time.monotonic() - begun)
        yield run


def run_one(number: int, name: str, peer: type[Peer], act: Callable[[], Figures]) -> Run:
    """Measure once, say it, and return it."""
    begun = time.monotonic()
    found = measured(peer, act)
    figures, error = ({}, found) if isinstance(found, str) else (found, "")
    run = Run(number, name, peer.name, figures, error)
    say(run, time.monotonic() - begun)
    return run


def say(run: Run, seconds: float) -> None:
    """Print one line: what was measured, how long that took, and the figures or the reason."""
    words = run.error or "  ".join(f"{key} {page.short(value)}" for key, value in run.figures.items())
    print(f"[{run.number}] {run.measure:11} {run.program:22} {seconds:5.1f} s  {words}", flush=True)


def machine() -> str:
    """Return processor, cores and kernel."""
    rows = Path("/proc/cpuinfo").read_text().splitlines()
    model = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{model[0] if model else platform.machine()}, {cores} cores, Linux {platform.release()}"


def parse(words: list[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, smaller numbers")
    parser.add_argument("--only", default=",".join(LETTERS), help="tables, such as a,b,e,cold")
    parser.add_argument("--peers", default="", help="names; the limit and ours always take part")
    parser.add_argument("--rounds", type=int, default=0, help="of ours and the limit (3; --quick: 1)")
    parser.add_argument("--show", type=Path, help="only print the page of an earlier run")
    parser.add_argument("--tools", type=Path, default=CHECKOUT / "build/peers")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build/bench")
    options = parser.parse_args(words)
    options.only = set(options.only.split(","))
    if unknown := options.only - set(LETTERS):
        parser.error(f"there is no table {', '.join(sorted(unknown))}; there are {', '.join(LETTERS)}")
    options.full = not options.quick and options.only == set(LETTERS) and not options.peers
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.cold_rounds, options.maths_rounds = (5, 3) if options.quick else (15, 5)
    return options


def main(words: list[str]) -> None:
    """Measure, print and write."""
    options = parse(words)
    if options.show:
        print(page.write(Results.read(json.loads(options.show.read_text()))))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    observe.prepare()
    options.output.mkdir(parents=True, exist_ok=True)
    results = measure_all(options)
    text = page.write(results)
    (options.output / "benchmarks.md").write_text(text)
    if options.full:
        PAGE.write_text(text)
    print(f"\n{text}\n{options.output}/benchmarks.md" + (f", {PAGE}" if options.full else ""))


def measure_all(options: argparse.Namespace) -> Results:
    """Measure everything that was asked for; what is known so far is always in results.json."""
    found = {peer: peer.version(options.tools) for peer in (*PEERS, *SCHEDULERS)}
    wanted = {Limit.name, Ours.name, OursConfined.name, *options.peers.split(",")}
    known = [peer for peer in found if found[peer] and (not options.peers or peer.name in wanted)]
    effort = measures.QUICK if options.quick else measures.FULL
    results = Results(
        versions={peer.name: found[peer] or "" for peer in known},
        machine=machine(),
        python=platform.python_version(),
        effort=effort._asdict() | {"up_seconds": measures.UP_SECONDS},
        rounds=options.rounds,
    )
    begun = time.monotonic()
    peers = [peer for peer in known if peer in PEERS]
    for run in everything(options, peers, results.versions, effort):
        results.runs.append(run)
        results.load = os.getloadavg()[2]
        results.minutes = (time.monotonic() - begun) / 60
        (options.output / "results.json").write_text(json.dumps(results.plain()))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
