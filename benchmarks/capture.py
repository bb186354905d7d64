"""Log capture: ours, the limit (limits.c) and a real supervisord, interleaved in one run; prints ratios.

    python benchmarks/capture.py [--rounds 3] [--directory DIR] [--supervisord PATH] [--gib 0.5] [--json FILE]

CPU is what the capturing process (all its threads) spends from the moment the writers begin until the last
line is in the file. Rotation is 10 MB x 5 everywhere. What is left of the logs is checked: no number missing
in it, none twice, no line torn.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
LINE = 80
CAPTURERS = ("limit-c", "shiftboss", "supervisor")
WORKS = ("80-byte lines", "4 KiB blocks", "50 x 1000 lines/s")
WAIT_SECONDS = 120


class Capturer:
    """One of the three, with COUNT copies of a program that wait for the file `go`."""

    def __init__(
        self, kind: str, directory: Path, count: int, program: list[str], options: argparse.Namespace
    ):
        self.directory, self.count = directory, count
        argv = getattr(self, "_" + kind.replace("-", "_"))(program, options)
        self.process = subprocess.Popen(
            argv,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )

    def _limit_c(self, program: list[str], options: argparse.Namespace) -> list[str]:
        return [options.limits, "capture", str(self.directory), str(self.count), "--", *program]

    def _shiftboss(self, program: list[str], options: argparse.Namespace) -> list[str]:
        ours = str(HERE / "capture_ours.py")
        return [sys.executable, ours, str(self.directory), str(self.count), "--", *program]

    def _supervisor(self, program: list[str], options: argparse.Namespace) -> list[str]:
        sections = "".join(
            f"[program:w{k}]\ncommand={' '.join(program)}\nstdout_logfile={self.directory}/{k}.log\n"
            "stdout_logfile_maxbytes=10000000\nstdout_logfile_backups=5\nautorestart=false\nstartsecs=0\n"
            for k in range(self.count)
        )
        user = "user=root\n" if os.geteuid() == 0 else ""
        conf = self.directory / "supervisord.conf"
        conf.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={self.directory}/supervisord.out\n"
            f"pidfile={self.directory}/pid\nchildlogdir={self.directory}\n{user}{sections}"
        )
        return [options.supervisord, "-n", "-c", str(conf)]

    def writers(self) -> list[int]:
        """Return the pids of its children that are writers."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        return [pid for pid in children if _name(pid) == "limits"]

    def cpu(self) -> float:
        """Return the CPU seconds of all its threads."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            for pid in self.writers():
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def until(condition, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {WAIT_SECONDS} s for {what}")
        time.sleep(0.005)


@contextlib.contextmanager
def capturing(
    kind: str, count: int, words: list[str], options: argparse.Namespace
) -> Iterator[tuple[Capturer, Path]]:
    directory = Path(tempfile.mkdtemp(prefix="capture-", dir=options.directory))
    go = directory / "go"
    program = [options.limits, words[0], str(go), *words[1:]]
    capturer = Capturer(kind, directory, count, program, options)
    try:
        until(lambda: len(capturer.writers()) == count, f"{kind} to start {count} writers")
        time.sleep(1.5)  # supervisord goes on starting for a while
        yield capturer, go
    finally:
        capturer.close()
        shutil.rmtree(directory)


def last_line(path: Path) -> int:
    """Return the number of the last line, also if the file was rotated just now."""
    for part in (path, path.with_name(path.name + ".1")):
        with contextlib.suppress(OSError), part.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LINE))
            line = file.read(LINE)
            if len(line) == LINE and line[:12].isdigit():
                return int(line[:12])
    return -1


def damage(path: Path) -> tuple[int, int]:
    """Return (bytes missing or doubled, lines torn) in what is left of a log."""
    parts = sorted(path.parent.glob(path.name + ".*"), key=lambda part: -int(part.suffix[1:]))
    data = b"".join(part.read_bytes() for part in (*parts, path))
    numbers, torn = [], 0
    for line in data.split(b"\n")[:-1]:
        if len(line) == LINE - 1 and line[:12].isdigit():
            numbers.append(int(line[:12]))
        else:
            torn += 1
    gaps = sum(abs(after - before - 1) for before, after in itertools.pairwise(numbers))
    return gaps * LINE, torn


def flood(kind: str, block: int, options: argparse.Namespace) -> dict:
    total = int(options.gib * (1 << 30)) // block * block
    words = ["flood", str(total), str(LINE), str(block)]
    with capturing(kind, 1, words, options) as (capturer, go):
        path = capturer.directory / "0.log"
        before, since = capturer.cpu(), time.monotonic()
        go.touch()
        last, cpu = total // LINE - 1, before
        deadline = time.monotonic() + WAIT_SECONDS
        while last_line(path) < last and capturer.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                cpu = capturer.cpu()
            time.sleep(0.002)
        took = time.monotonic() - since
        with contextlib.suppress(OSError):
            cpu = max(cpu, capturer.cpu())
        lost, torn = damage(path)
        reached = last_line(path) == last
        gib = total / (1 << 30)
        return {
            "cpu_s_gib": (cpu - before) / gib,
            "mb_s": total / 1e6 / took,
            "lost": lost,
            "torn": torn,
            "all": reached,
        }


def rate(kind: str, options: argparse.Namespace) -> dict:
    count, seconds = 50, 8
    with capturing(kind, count, ["rate", "1000", str(LINE), str(seconds + 3)], options) as (capturer, go):
        go.touch()
        time.sleep(1.5)
        before, since = capturer.cpu(), time.monotonic()
        time.sleep(seconds)
        share = (capturer.cpu() - before) / (time.monotonic() - since)
        paths = [capturer.directory / f"{k}.log" for k in range(count)]
        last = 1000 * (seconds + 3) - 1
        deadline = time.monotonic() + WAIT_SECONDS
        while any(last_line(path) < last for path in paths) and time.monotonic() < deadline:
            time.sleep(0.05)
        harm = [damage(path) for path in paths]
        reached = all(last_line(path) == last for path in paths)
        return {
            "cpu_percent": share * 100,
            "lost": sum(a for a, _ in harm),
            "torn": sum(b for _, b in harm),
            "all": reached,
        }


def show(results: dict[tuple[str, str], list[dict]]) -> list[str]:
    """Return the table: medians and ratios to the limit."""
    lines = [f"{'':34}{'limit-c':>10}{'shiftboss':>11}{'supervisor':>12}   ours/limit   ours/supervisor"]
    for work, measure in (
        ("80-byte lines", "cpu_s_gib"),
        ("80-byte lines", "mb_s"),
        ("4 KiB blocks", "cpu_s_gib"),
        ("4 KiB blocks", "mb_s"),
        ("50 x 1000 lines/s", "cpu_percent"),
    ):
        if not any(results.get((work, kind)) for kind in CAPTURERS):
            continue
        middle = {
            kind: statistics.median(row[measure] for row in results[work, kind])
            for kind in CAPTURERS
            if results.get((work, kind))
        }
        cells = "".join(f"{middle.get(kind, float('nan')):>{10 + k}.2f}" for k, kind in enumerate(CAPTURERS))
        ours = middle.get("shiftboss", float("nan"))
        to = [
            f"{ours / middle[kind]:12.2f}" if kind in middle else " " * 12
            for kind in ("limit-c", "supervisor")
        ]
        lines.append(f"{work:20}{measure:14}{cells}{to[0]} {to[1]}")
    for (work, kind), rows in results.items():
        harm = [sum(row[name] for row in rows) for name in ("lost", "torn")]
        if any(harm) or not all(row["all"] for row in rows):
            lines.append(f"{kind}, {work}: {harm[0]} bytes lost or doubled, {harm[1]} lines torn")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", default=None)
    parser.add_argument("--supervisord", default=str(Path(sys.executable).parent / "supervisord"))
    parser.add_argument("--gib", type=float, default=0.5)
    parser.add_argument("--only", default=",".join(CAPTURERS))
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    results: dict[tuple[str, str], list[dict]] = {}
    with tempfile.TemporaryDirectory(prefix="limits-") as built:
        options.limits = f"{built}/limits"
        subprocess.run(["cc", "-O2", "-o", options.limits, HERE / "limits.c"], check=True)
        for number in range(options.rounds):
            for work in options.works.split(","):
                for kind in options.only.split(","):
                    row = (
                        rate(kind, options)
                        if "50" in work
                        else flood(kind, 80 if "80" in work else 4080, options)
                    )
                    results.setdefault((work, kind), []).append(row)
                    print(f"[{number}] {work:18} {kind:11} {json.dumps(row)}", flush=True)
    print("\n".join(show(results)))
    if options.json:
        rows = [{"work": work, "capturer": kind, "rows": rows} for (work, kind), rows in results.items()]
        Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
