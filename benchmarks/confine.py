"""What limits and isolation cost at the start of a program: keeper and launcher beside a plain exec and others.

    python benchmarks/confine.py [--rounds N] [--json]          as root

`make bench` runs it, with --json: milliseconds of all repeats. Every case starts /bin/true for the same user. They take turns in one run, in a new random order each round, so that
a busy moment of the machine hits all of them alike. The goal is 25 ms above a plain exec.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT / "src"), str(CHECKOUT)]

from shiftboss.confine import cgroup, limits  # noqa: E402
from shiftboss.confine.birth import Nursery  # noqa: E402
from shiftboss.confine.groups import settle  # noqa: E402
from shiftboss.confine.journal import Journal, Terms  # noqa: E402
from shiftboss.confine.limits import LAUNCHER_TREE as TREE  # noqa: E402
from shiftboss.core.isolation import confined  # noqa: E402
from shiftboss.core.spec import Account, Isolation, Limits, Project, Site, Worker  # noqa: E402
from shiftboss.core.wire.entry import Entry, Policy, with_revision  # noqa: E402
from shiftboss.core.wire.manifest import manifest_text  # noqa: E402
from shiftboss.keeper.runs import bounds_of, program_of, slot_of  # noqa: E402

GOAL_MS = 25
UID = 64_999
PROJECT = "benchmark"
LAUNCHER = [sys.executable, "-I", "-S", str(CHECKOUT / "src/shiftboss/launcher/main.py")]
BOUNDS = Limits(memory_bytes=256 << 20, cpu_percent=50, tasks_max=64, nofile=1024)
UNITS = {
    "user only": (Limits(), Isolation("none")),
    "limits": (BOUNDS, Isolation("none")),
    "standard": (Limits(), Isolation("standard")),
    "limits, standard": (BOUNDS, Isolation("standard")),
    "limits, strict, private network": (BOUNDS, Isolation("strict", private_network=True)),
}


def write_orders(top: Path) -> tuple[dict[str, list[str]], dict[str, Entry]]:
    """Lay out a project; return the command line of each case, and its manifest entry for the keeper's way."""
    root, logs = top / "projects" / PROJECT, top / "logs" / PROJECT
    for directory in (root / "releases/1", root / "shared", logs, top / "orders"):
        directory.mkdir(parents=True)
    (root / "current").symlink_to("releases/1")
    project = Project(PROJECT, str(root), str(logs), Account(PROJECT, UID, UID, PROJECT, str(root)))
    site = Site("", "", "", "", str(top / "projects"), str(top / "logs"), "{project}", True)
    entries, commands = [], {}
    for number, (title, (bounds, asked)) in enumerate(UNITS.items()):
        argv = ("/bin/true",)
        unit = Worker(project, f"w{number}", "custom", "supervisor", argv, limits=bounds, isolation=asked)
        plain = Entry(unit.address, argv, PROJECT, UID, UID, str(root), project.current, project.current, "")
        runs = Policy("schedule", log_path=f"{logs}/{unit.name}.log", options={"overlap": "skip"})
        entry = confined(plain, unit, site, "none", watched=False)._replace(policy=runs)
        entries.append(with_revision(entry))
        orders = [*LAUNCHER, "--orders", str(top / "orders")]
        commands[f"launcher: {title}"] = [*orders, f"{unit.address}:1"]
        commands[f"launcher, a whole run of cron: {title}"] = [*orders, "--run", f"{top}/spool", unit.address]
    (top / "orders" / f"{PROJECT}.json").write_text(manifest_text(PROJECT, tuple(entries)))
    return commands, {f"keeper: {title}": entry for title, entry in zip(UNITS, entries, strict=True)}


def peers() -> dict[str, list[str]]:
    """Return what else drops to a user and shuts in, where it is installed."""
    ids = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    found = {
        "setpriv": ["setpriv", *ids, "/bin/true"],
        "setpriv, unshare": ["unshare", "-m", "setpriv", *ids, "--no-new-privs", "/bin/true"],
        "bubblewrap": ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "true"],
    }  # fmt: skip
    return {title: [path, *argv[1:]] for title, argv in found.items() if (path := shutil.which(argv[0]))}


def seconds_of(argv: list[str], null: int) -> float:
    """Run a command; return how long it took; that it succeeds is looked at."""
    actions = [(os.POSIX_SPAWN_DUP2, null, 1)]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin:/bin"}, file_actions=actions)
    status = os.waitpid(pid, 0)[1]
    taken = time.perf_counter() - started
    if status:
        sys.exit(f"error: {argv} ended with status {status}")
    return taken


class Keeper:
    """Starts programs as the keeper does: a fork of this process, which has imported everything already."""

    def __init__(self, top: Path) -> None:
        name, kinds = f"shiftboss-bench-{os.getpid()}", ("v2", "v1")
        tree = cgroup.find_tree(name, kinds)
        self.nursery = Nursery((), settle(name, kinds, tree), Journal(f"{top}/started"), ())
        self._run = 0

    def seconds_of(self, entry: Entry) -> float:
        """Run an entry; return how long it took, its cgroup's removal left out."""
        self._run += 1
        slot, terms = slot_of((entry.address, 1)), Terms(*entry.stop)
        program = program_of(entry, {})
        started = time.perf_counter()
        child = self.nursery.start(slot, self._run, "bench", program, terms, bounds_of(entry.confinement))
        status = os.waitpid(child.pid, 0)[1]
        taken = time.perf_counter() - started
        told = os.read(child.result, 65536)
        for descriptor in (child.output, child.result):
            os.close(descriptor)
        self.nursery.groups.clear(*slot, child.leaf)
        if status:
            sys.exit(f"error: {entry.address} ended with status {status}: {told!r}")
        return taken


def measure(
    commands: dict[str, list[str]], entries: dict[str, Entry], keeper: Keeper, rounds: int
) -> dict[str, list[float]]:
    """Return the milliseconds of each case, the first round left out: it compiles."""
    taken: dict[str, list[float]] = {title: [] for title in (*commands, *entries)}
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(rounds + 1):
        for title in random.sample(list(taken), len(taken)):
            entry = entries.get(title)
            seconds = keeper.seconds_of(entry) if entry else seconds_of(commands[title], null)
            if number:
                taken[title].append(seconds * 1000)
    os.close(null)
    return taken


def main() -> None:
    """Print a table of medians and best times, and whether the goal is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = options.rounds
    if os.geteuid():
        sys.exit("error: needs root")
    top = Path(tempfile.mkdtemp(prefix="shiftboss-bench-", dir="/tmp"))
    try:
        top.chmod(0o755)
        commands = {"plain exec": ["/bin/true"], "python -I -S": [sys.executable, "-I", "-S", "-c", ""]}
        keeper = Keeper(top)
        launched, entries = write_orders(top)
        taken = measure(commands | peers() | launched, entries, keeper, rounds)
        keeper.nursery.groups.remove()
    finally:
        shutil.rmtree(top)
        tree = limits.open_tree(TREE)
        for directory in tree.directories(PROJECT) if tree else []:
            cgroup.remove(directory)
    if options.json:
        print(json.dumps(taken))
    else:
        report(taken, rounds)


def report(taken: dict[str, list[float]], rounds: int) -> None:
    """Print the table."""
    plain = statistics.median(taken["plain exec"]), min(taken["plain exec"])
    print(f"{rounds} rounds, milliseconds (above a plain exec)\n")
    print(f"{'case':46}{'median':>17}{'best':>17}")
    for title, values in taken.items():
        median, best = statistics.median(values), min(values)
        print(f"{title:46}{median:8.1f} ({median - plain[0]:+5.1f}){best:8.1f} ({best - plain[1]:+5.1f})")
    slowest = max(statistics.median(v) - plain[0] for t, v in taken.items() if t.startswith("launcher"))
    print(
        f"\ngoal: at most {GOAL_MS} ms above a plain exec: {'met' if slowest <= GOAL_MS else 'missed'} ({slowest:.1f})"
    )


if __name__ == "__main__":
    main()
